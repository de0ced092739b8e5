"""How many minutes were sent to Flux today, and whether there may be more.

The port has no password and spends money, so what can be spent in a day has a limit. Counting knows
no file: :class:`UsageFile` keeps it across restarts for the command line, Home Assistant uses its
own storage.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeGuard

from wyoming_flux.errors import InvalidSetting, QuotaExceeded

_LOGGER = logging.getLogger(__name__)

SAVE_INTERVAL: Final = 30.0
"""Seconds between two writes of a changed count: what a crash can lose."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class DailyMinutes:
    """Counts seconds of audio per UTC day, with or without a limit.

    ``minutes`` is the limit, None for none; ``option`` is how the user knows it, for the message.
    Raises :class:`InvalidSetting` (``daily_minutes``) for a limit that is not a positive number.
    """

    def __init__(
        self,
        minutes: float | None,
        *,
        option: str = "--daily-minutes",
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Begin with nothing used."""
        check_minutes(minutes)
        self.minutes: Final = minutes
        self._option = option
        self._now = now
        self._day = self._today()
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of audio sent since 00:00 UTC."""
        self._turn_page()
        return self._seconds

    @property
    def exhausted(self) -> bool:
        """Whether the limit is reached."""
        return self.minutes is not None and self.seconds >= self.minutes * 60

    def add(self, seconds: float) -> None:
        """Count *seconds* of audio."""
        self._turn_page()
        self._seconds += seconds

    def check(self) -> None:
        """Raise :class:`QuotaExceeded` when the limit is reached."""
        if self.exhausted:
            raise QuotaExceeded(
                f"The limit of {self.minutes:g} minutes a day ({self._option}) is used up;"
                " it is renewed at 00:00 UTC."
            )

    def snapshot(self) -> dict[str, Any]:
        """Return what :meth:`restore` takes, as JSON can hold it."""
        self._turn_page()
        return {"day": self._day, "seconds": round(self._seconds, 3)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Add what was counted earlier today; what was saved on another day no longer counts.

        Raises :class:`ValueError` for what :meth:`snapshot` cannot have made.
        """
        day, seconds = saved.get("day"), saved.get("seconds")
        if not isinstance(day, str) or not _is_number(seconds) or not 0 <= seconds < math.inf:
            raise ValueError("not a count of seconds")
        self._turn_page()
        if day == self._day:
            self._seconds += seconds

    def _turn_page(self) -> None:
        today = self._today()
        if today != self._day:
            self._day = today
            self._seconds = 0.0

    def _today(self) -> str:
        return self._now().astimezone(UTC).date().isoformat()


def check_minutes(minutes: float | None) -> None:
    """Raise :class:`InvalidSetting` (``daily_minutes``) unless this can be a limit."""
    if minutes is not None and not (_is_number(minutes) and 0 < minutes < math.inf):
        raise InvalidSetting("daily_minutes", f"daily_minutes must be above 0, not {minutes!r}")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class UsageFile:
    """Keeps a count in a small file, as an asynchronous context manager.

    The file is read when entered, and written, each time as a whole, when the count has changed:
    every ``interval`` seconds and at the end. What goes wrong with the file is logged and never
    raised: a full disk is no reason to stop listening.
    """

    def __init__(
        self, usage: DailyMinutes, path: str | Path, *, interval: float = SAVE_INTERVAL
    ) -> None:
        """Remember what to keep, and where."""
        self._usage = usage
        self._path = Path(path)
        self._interval = interval
        self._saved: dict[str, Any] | None = None
        self._failed = False
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Read the file, and begin to keep it up to date."""
        try:
            saved = await asyncio.to_thread(_read, self._path)
            if saved is not None:
                self._usage.restore(saved)
        except (OSError, ValueError) as error:
            _LOGGER.warning("The minutes used today cannot be read from %s: %s", self._path, error)
        self._saved = self._usage.snapshot()
        self._task = asyncio.create_task(self._keep(), name="wyoming-flux usage file")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what has not been written yet."""
        self._leaving.set()
        if self._task is not None:
            await self._task

    async def _keep(self) -> None:
        # Never cancelled: an older write that ends after a newer one would undo it.
        leaving = False
        while not leaving:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    leaving = await self._leaving.wait()
            await self._save()

    async def _save(self) -> None:
        current = self._usage.snapshot()
        if current == self._saved:
            return
        try:
            await asyncio.to_thread(_write, self._path, current)
        except OSError as error:
            if not self._failed:
                _LOGGER.warning(
                    "The minutes used today cannot be kept in %s: %s", self._path, error
                )
            self._failed = True
        else:
            self._saved = current
            self._failed = False


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        saved = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except RecursionError:
        raise ValueError("not a count of seconds") from None
    if not isinstance(saved, dict):
        raise ValueError("not a count of seconds")  # noqa: TRY004 - the file is wrong, not a call
    return saved


def _write(path: Path, saved: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(saved, file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
