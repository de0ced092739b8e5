"""Serve Wyoming on the network: the server of the library, run by an entry."""

import asyncio
import contextlib
import logging
from typing import Final

from homeassistant.core import HomeAssistant

from wyoming_flux.errors import InvalidSetting
from wyoming_flux.server import Server
from wyoming_flux.settings import ServerSettings

from . import issues
from . import options as opt
from .const import CONF_EXTERNAL_VAD, CONF_HOME_NAMES, CONF_SERVE_PORT
from .data import FluxConfigEntry

_LOGGER: Final = logging.getLogger(__name__)

RETRY: Final = 60.0
"""Seconds until a port that was in use is tried again."""
GRACE: Final = 2.0
"""Seconds that running turns may take to end when the entry is unloaded."""


class NetworkServer:
    """Listens while the entry is loaded; a port in use is said once and tried again."""

    def __init__(self, hass: HomeAssistant, entry: FluxConfigEntry) -> None:
        """Take the entry whose endpoint, options, names and minutes are shared."""
        self._hass = hass
        self._entry = entry
        self._server: Server | None = None
        self._retrying: asyncio.Task[None] | None = None

    async def async_start(self) -> None:
        """Listen now, or as soon as the port is free."""
        if not await self._listen():
            self._retrying = self._entry.async_create_background_task(
                self._hass, self._retry(), f"{self._entry.title} waits for its port"
            )

    async def async_stop(self) -> None:
        """Listen no longer: running turns may end, what remains is answered with an error."""
        if self._retrying is not None:
            self._retrying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._retrying
            self._retrying = None
        server, self._server = self._server, None
        if server is not None:
            await server.stop(GRACE)

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(RETRY)
            if await self._listen():
                return

    async def _listen(self) -> bool:
        data = self._entry.runtime_data
        known = opt.complete(self._entry.options)
        port = known[CONF_SERVE_PORT]
        names = data.names
        server = Server(
            data.connector,
            opt.flux_settings(known, opt.keyterms(known).terms),
            data.turn,
            ServerSettings(
                uri=f"tcp://0.0.0.0:{port}", external_vad=bool(known[CONF_EXTERNAL_VAD])
            ),
            fallbacks=data.fallbacks,
            minutes=data.usage,
            keyterms=(lambda: names.names) if known[CONF_HOME_NAMES] else None,
            on_report=data.health.reported,
            capture=data.capture,
        )
        try:
            await server.start()
        except InvalidSetting as err:
            _LOGGER.warning("%s: %s", self._entry.title, err)
            issues.create(
                self._hass, self._entry, issues.PORT_IN_USE, port=str(port), reason=str(err)
            )
            return False
        issues.clear(self._hass, self._entry, issues.PORT_IN_USE)
        self._server = server
        _LOGGER.debug("%s serves Wyoming at %s", self._entry.title, server.uri)
        return True
