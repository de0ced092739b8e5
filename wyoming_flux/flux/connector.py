"""Opens connections to one endpoint, and remembers what the endpoint refused."""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import Final

from wyoming_flux.errors import EndpointError, Refused
from wyoming_flux.settings import DEFAULT_SAMPLE_RATE, FluxSettings

from .connection import WORKER_HEADER, FluxConnection, open_connection
from .endpoint import Endpoint, Route, optional_parameters
from .learnt import Learnt
from .messages import CLOSE_STREAM

ATTEMPT_TIMEOUT: Final = 2.5
"""Seconds that one attempt to connect may take."""
REMEMBER_REFUSAL: Final = 3600.0
"""Seconds for which refused parameters are not offered again."""

_LOGGER: Final = logging.getLogger(__name__)


class Connector:
    """The way to one endpoint, shared by all turns of a process."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take an endpoint; without ``ssl_context`` the system's trusted authorities are used."""
        self.endpoint = endpoint
        self.plain: bool | None = None
        """Whether it is a Worker that ignores parameters; None until a connection has told."""
        self.learnt = Learnt((CLOSE_STREAM,))
        self._ssl_context = ssl_context
        self._clock = clock
        self._dropped: tuple[str, ...] = ()
        self._dropped_until = float("-inf")

    @property
    def name(self) -> str:
        """Where it connects to, for messages."""
        return self.endpoint.host

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the parameters that the endpoint refused within the last hour."""
        return self._dropped if self._clock() < self._dropped_until else ()

    async def connect(
        self,
        settings: FluxSettings,
        *,
        timeout: float = ATTEMPT_TIMEOUT,
    ) -> FluxConnection:
        """Open a stream; once more with the minimal parameters where parameters were refused.

        ``timeout`` is in seconds, for each attempt. Raises :class:`InvalidSetting` for settings
        that the route cannot carry, otherwise subclasses of :class:`EndpointError` alone.
        """
        self.endpoint.check(settings)
        minimal = bool(self.dropped)
        try:
            connection = await self._open(settings, timeout, minimal=minimal)
        except Refused as err:
            if not err.parameters or minimal:
                raise
            connection = await self._without_options(settings, err, timeout)
        else:
            if minimal:
                connection.dropped = self.dropped
        connection.facts = self.learnt.facts(self._clock())
        try:
            self._check_plain(connection, settings)
        except EndpointError:
            await connection.close()
            raise
        return connection

    async def _without_options(
        self, settings: FluxSettings, refused: Refused, seconds: float
    ) -> FluxConnection:
        try:
            connection = await self._open(settings, seconds, minimal=True)
        except Refused as err:
            # What is left cannot be dropped, so the first answer names the real fault.
            raise refused from err
        names = dict.fromkeys(
            name for name, _ in optional_parameters(settings, self.endpoint.route)
        )
        self._dropped = tuple(names)
        self._dropped_until = self._clock() + REMEMBER_REFUSAL
        _LOGGER.warning("%s; going on for an hour without %s", refused, ", ".join(self._dropped))
        connection.dropped = self._dropped
        connection.attempts = 2
        return connection

    async def _open(
        self, settings: FluxSettings, seconds: float, *, minimal: bool
    ) -> FluxConnection:
        if self.endpoint.secure and self._ssl_context is None:
            # Reading the authorities takes some 20 ms of disk and CPU: not in the loop.
            self._ssl_context = await asyncio.to_thread(ssl.create_default_context)
        return await open_connection(
            self.endpoint,
            self.endpoint.request_url(settings, minimal=minimal),
            ssl_context=self._ssl_context,
            timeout=seconds,
        )

    def _check_plain(self, connection: FluxConnection, settings: FluxSettings) -> None:
        plain = self.endpoint.route is Route.WORKER and WORKER_HEADER not in connection.headers
        first, self.plain = self.plain is not plain, plain
        if not plain:
            return
        host = self.endpoint.host
        if settings.mip_opt_out:
            raise Refused(
                f"the Worker {host} ignores parameters, so mip_opt_out would be lost: deploy the"
                " Worker of wyoming-flux, or turn mip_opt_out off"
            )
        if settings.sample_rate != DEFAULT_SAMPLE_RATE:
            raise Refused(
                f"the Worker {host} ignores parameters and takes {DEFAULT_SAMPLE_RATE} Hz alone:"
                f" deploy the Worker of wyoming-flux, or set the sample rate to"
                f" {DEFAULT_SAMPLE_RATE}"
            )
        if first:
            _LOGGER.warning(
                "the Worker %s is not that of wyoming-flux and ignores parameters: key terms and"
                " thresholds have no effect",
                host,
            )
