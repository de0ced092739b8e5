"""Keeps the minutes of the day in a file, so that a restart forgets nothing."""

import asyncio
import contextlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from wyoming_flux.minutes import DailyMinutes

_LOGGER = logging.getLogger(__name__)

SAVE_INTERVAL: Final = 30.0
"""Seconds between two writes of a changed count: what a crash can lose."""


def path_for(uri: str) -> Path | None:
    """Return where the minutes of the server at *uri* are kept; None: there is no such place.

    systemd names a folder of the service; others follow the XDG base directories. One file per
    port: two servers have two limits.
    """
    folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if not folder:
        try:
            home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        except RuntimeError:
            # A container whose user has no name and no HOME.
            _LOGGER.warning(
                "The minutes used today are forgotten at a restart: there is no home folder;"
                " name one in XDG_STATE_HOME"
            )
            return None
        folder = str(Path(home) / "wyoming-flux")
    name = re.sub(r"[^a-z0-9.]+", "-", uri.lower()).strip("-")
    return Path(folder) / f"minutes-{name}.json"


class MinutesFile:
    """Keeps a count in a small file, as an asynchronous context manager.

    The file is read when entered, and written, each time as a whole, when the count has changed:
    every ``interval`` seconds and at the end. What goes wrong with the file is logged and never
    raised: a full disk is no reason to stop listening.
    """

    def __init__(
        self, minutes: DailyMinutes, path: str | Path, *, interval: float = SAVE_INTERVAL
    ) -> None:
        """Remember what to keep, and where."""
        self._minutes = minutes
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
                self._minutes.restore(saved)
        except (OSError, ValueError) as error:
            _LOGGER.warning("The minutes used today cannot be read from %s: %s", self._path, error)
        self._saved = self._minutes.snapshot()
        self._task = asyncio.create_task(self._keep(), name="wyoming-flux minutes file")
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
        current = self._minutes.snapshot()
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
            file.flush()
            # Or a loss of power leaves an empty file under the new name.
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
