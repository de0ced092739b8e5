"""The last utterances in a folder: one record and, unless left out, one WAV of each.

All that touches the disk happens in one thread of its own. Where it fails there is one warning and
no record; an utterance does not notice.
"""

import logging
import os
import platform
import re
import secrets
import struct
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from wyoming_flux import __version__
from wyoming_flux.errors import os_reason
from wyoming_flux.settings import FluxSettings, UtteranceSettings

from .recorder import Recorder

MOST: Final = 50
"""Utterances that are kept."""
MEGABYTES: Final = 100.0
"""What they may take together, and one alone."""
_MOST_WAITING: Final = 32 * 1024 * 1024
"""Bytes that may wait for a slow disk before a record is given up."""
_GATHER: Final = 1.0
"""Seconds for which what is to be written is gathered."""
_STALE: Final = 3600.0
"""Seconds after which what a stopped process left half written is removed."""
_OURS: Final = re.compile(r"(flux-\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{4})\.(jsonl|wav)(\.part)?")
_PART: Final = ".part"
_PYTHON: Final = platform.python_version()
_HEADER: Final = "<4sI4s4sIHHIIHH4sI"

_LOGGER: Final = logging.getLogger(__name__)


class Capture:
    """Keeps the last utterances; ``close()`` waits for the disk."""

    def __init__(
        self,
        folder: Path,
        *,
        audio: bool = True,
        most: int = MOST,
        megabytes: float = MEGABYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take where, whether with audio, and how many; *clock* is the wall's, in seconds."""
        self.folder: Final = folder
        self._audio = audio
        self._most = most
        self.bytes: Final = int(megabytes * 1_000_000)
        """What all files may take together."""
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wyoming-flux capture")
        # Where another process keeps its own there, too, their names differ.
        self._number = secrets.randbelow(0x10000)
        self._warned = False
        self._lock = threading.Lock()
        self._tasks: list[tuple[Callable[[], None], int]] = []
        self._waiting = 0
        self._closing = threading.Event()
        self._kept: dict[str, int] | None = None
        """Bytes of each record in the folder; None: not looked at yet."""

    def machine(
        self,
        settings: UtteranceSettings,
        flux: FluxSettings,
        endpoints: Sequence[str],
        now: float,
    ) -> Recorder:
        """Return a machine whose inputs and decisions are kept."""
        began = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        stamp = began[:23].replace("-", "").replace(":", "")
        self._number = (self._number + 1) % 0x10000
        name = f"flux-{stamp}Z-{self._number:04x}"
        about = {
            "began": began,
            "version": __version__,
            "python": _PYTHON,
            "audio": f"{name}.wav" if self._audio else None,
        }
        sink = _File(self, name, flux.sample_rate if self._audio else None)
        return Recorder(settings, flux, endpoints, now, sink=sink, about=about)

    def close(self) -> None:
        """Wait until all is written; blocks."""
        self._closing.set()
        self._thread.shutdown()

    def run(self, task: Callable[[], None], size: int) -> bool:
        """Do *task* in the thread that writes; False where too much waits already."""
        with self._lock:
            if self._waiting + size > _MOST_WAITING:
                return False
            self._waiting += size
            self._tasks.append((task, size))
            if len(self._tasks) > 1:
                return True
        try:
            self._thread.submit(self._work)
        except RuntimeError:
            # Closed: an utterance outlived the server's patience.
            return False
        return True

    def _work(self) -> None:
        # A change of threads costs as much as a file: one for all that ends within a second.
        self._closing.wait(_GATHER)
        with self._lock:
            tasks, self._tasks = self._tasks, []
        for task, size in tasks:
            self._guarded(task, size)

    def _guarded(self, task: Callable[[], None], size: int) -> None:
        try:
            task()
        except OSError as error:
            if not self._warned:
                self._warned = True
                _LOGGER.warning(
                    "Utterances cannot be kept in %s: %s", self.folder, os_reason(error)
                )
        except Exception:
            _LOGGER.exception("Utterances cannot be kept in %s", self.folder)
        finally:
            with self._lock:
                self._waiting -= size

    def path(self, name: str, kind: str) -> str:
        """Return where a file of a record stands."""
        return f"{self.folder}/{name}.{kind}"

    def prepare(self) -> None:
        """Make the folder, and take note of what earlier runs have left there under our names."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._kept is not None:
            return
        self._kept = {}
        for path in sorted(self.folder.iterdir()):
            if (match := _OURS.fullmatch(path.name)) is None:
                continue
            status = path.stat()
            if not match[3]:
                self._kept[match[1]] = self._kept.get(match[1], 0) + status.st_size
            elif self._clock() - status.st_mtime >= _STALE:
                path.unlink(missing_ok=True)

    def keep(self, name: str, size: int) -> None:
        """Count a record that is complete, and remove the oldest beyond the bounds."""
        kept = self._kept = self._kept or {}
        kept[name] = size
        while len(kept) > 1 and (len(kept) > self._most or sum(kept.values()) > self.bytes):
            oldest = min(kept)
            del kept[oldest]
            for kind in ("jsonl", "wav"):
                with suppress(FileNotFoundError):
                    os.unlink(self.path(oldest, kind))  # noqa: PTH108 - at a third of its time


class _File:
    """The files of one utterance; all but ``write`` runs in the thread."""

    def __init__(self, capture: Capture, name: str, rate: int | None) -> None:
        self._capture = capture
        self._name = name
        self._rate = rate
        # The audio first: where the record stands, it is there.
        self._kinds = ("jsonl",) if rate is None else ("wav", "jsonl")
        self._open: dict[str, int] = {}
        self._size = 0
        self._samples = 0
        self._failed = False

    def write(self, lines: str, pcm: Sequence[bytes | bytearray], *, last: bool) -> bool:
        text = lines.encode("utf-8", "replace")
        size = len(text)
        if self._rate is not None:
            size += sum(map(len, pcm))
        self._size += size
        full = self._size > self._capture.bytes
        if full or not self._capture.run(lambda: self._append(text, pcm, last), size):
            self._capture.run(self._discard, 0)
            return False
        return True

    def _append(self, text: bytes, pcm: Sequence[bytes | bytearray], last: bool) -> None:
        if self._failed:
            return
        try:
            fresh = not self._open
            if fresh:
                self._capture.prepare()
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
                self._open = {kind: os.open(self._part(kind), flags, 0o600) for kind in self._kinds}
            _write(self._open["jsonl"], text)
            if self._rate is not None:
                self._samples += sum(map(len, pcm)) // 2
                head = (wav_header(self._rate, self._samples),)
                _write(self._open["wav"], b"".join((*head, *pcm) if fresh else pcm))
                if last and not fresh:
                    os.pwrite(self._open["wav"], *head, 0)
            if last:
                self._complete()
        except OSError:
            self._discard()
            raise

    def _complete(self) -> None:
        for kind in self._kinds:
            os.close(self._open.pop(kind))
            path = self._capture.path(self._name, kind)
            os.rename(path + _PART, path)  # noqa: PTH104 - at a third of its time
        self._capture.keep(self._name, self._size)

    def _part(self, kind: str) -> str:
        return self._capture.path(self._name, kind) + _PART

    def _discard(self) -> None:
        self._failed = True
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
        for kind in self._kinds:
            for path in (self._part(kind), self._capture.path(self._name, kind)):
                with suppress(OSError):
                    Path(path).unlink()


def _write(fd: int, data: bytes) -> None:
    # A full disk takes a part, and refuses the next.
    while data := data[os.write(fd, data) :]:
        pass


def wav_header(rate: int, samples: int) -> bytes:
    """Return the header of a WAV with linear16 mono audio."""
    size = min(samples * 2, 0xFFFFFFFF - 36)
    return struct.pack(
        _HEADER,
        b"RIFF",
        36 + size,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        rate,
        rate * 2,
        2,
        16,
        b"data",
        size,
    )
