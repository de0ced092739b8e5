"""Audio minutes of the day in Home Assistant's own storage, so that a restart forgets nothing.

A day is a day in UTC, because Cloudflare renews its daily allowance at 00:00 UTC.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, override

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.storage import Store
from homeassistant.util import dt as dt_util

from wyoming_flux.minutes import DailyMinutes

from .const import DOMAIN

_LOGGER: Final = logging.getLogger(__name__)

_VERSION: Final = 1
_SAVE_DELAY: Final = 30.0


class DailyUsage(DailyMinutes):
    """Seconds of audio sent to Flux today by one entry, whoever spoke, and the user's own limit."""

    def __init__(self, hass: HomeAssistant, entry_id: str, limit_minutes: float | None) -> None:
        """Take where to keep it, and the limit if there is one."""
        super().__init__(limit_minutes, option="daily minutes", now=dt_util.utcnow)
        self._store = store(hass, entry_id)
        self._listeners: list[Callable[[], None]] = []

    async def async_load(self) -> None:
        """Take up what was counted before a restart, if that was today."""
        stored = await self._store.async_load()
        if stored is not None:
            try:
                self.restore(stored)
            except ValueError as err:
                _LOGGER.warning("The minutes used today cannot be read: %s", err)

    @override
    def add(self, seconds: float) -> None:
        """Count audio that was sent."""
        super().add(seconds)
        self._store.async_delay_save(self.snapshot, _SAVE_DELAY)
        self._tell()

    @callback
    def async_listen(self, listener: Callable[[], None]) -> CALLBACK_TYPE:
        """Tell somebody when the count changes; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @callback
    def new_day(self, _now: datetime) -> None:
        """Tell at 00:00 UTC: the count is another without anybody having spoken."""
        self._tell()

    async def async_save(self) -> None:
        """Write now: the entry is unloaded."""
        await self._store.async_save(self.snapshot())

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()


def store(hass: HomeAssistant, entry_id: str) -> Store[dict[str, Any]]:
    """Return the file in which an entry keeps its count."""
    return Store(hass, _VERSION, f"{DOMAIN}.{entry_id}")
