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
from typing import BinaryIO, Final

from wyoming_flux import __version__
from wyoming_flux.errors import os_reason
from wyoming_flux.settings import FluxSettings, UtteranceSettings

from .record import Recorder

MOST: Final = 50
"""Utterances that are kept."""
MEGABYTES: Final = 100.0
"""What they may take together, and one alone."""
_MOST_WAITING: Final = 32 * 1024 * 1024
"""Bytes that may wait for a slow disk before a record is given up."""
_STALE: Final = 3600.0
"""Seconds after which what a stopped process left half written is removed."""
_OURS: Final = re.compile(r"(flux-\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{4})\.(jsonl|wav)(\.part)?")
_PART: Final = ".part"
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
        self._warned = False
        self._lock = threading.Lock()
        self._waiting = 0
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
        began = datetime.fromtimestamp(self._clock(), UTC)
        stamp = began.strftime("%Y%m%dT%H%M%S.") + f"{began.microsecond // 1000:03}Z"
        name = f"flux-{stamp}-{secrets.token_hex(2)}"
        about = {
            "began": began.isoformat(timespec="milliseconds"),
            "version": __version__,
            "python": platform.python_version(),
            "audio": f"{name}.wav" if self._audio else None,
        }
        sink = _File(self, name, flux.sample_rate if self._audio else None)
        return Recorder(settings, flux, endpoints, now, sink=sink, about=about)

    def close(self) -> None:
        """Wait until all is written; blocks."""
        self._thread.shutdown()

    def run(self, task: Callable[[], None], size: int) -> bool:
        """Do *task* in the thread that writes; False where too much waits already."""
        with self._lock:
            if self._waiting + size > _MOST_WAITING:
                return False
            self._waiting += size
        try:
            self._thread.submit(self._guarded, task, size)
        except RuntimeError:
            # Closed: an utterance outlived the server's patience.
            return False
        return True

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

    def look_around(self) -> None:
        """Take note of what earlier runs have left; only of files whose names are ours."""
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
                (self.folder / f"{oldest}.{kind}").unlink(missing_ok=True)


class _File:
    """The files of one utterance; all but ``write`` and ``finish`` runs in the thread."""

    def __init__(self, capture: Capture, name: str, rate: int | None) -> None:
        self._capture = capture
        self._name = name
        self._paths = {"jsonl": capture.folder / f"{name}.jsonl"}
        if rate is not None:
            self._paths["wav"] = capture.folder / f"{name}.wav"
        self._rate = rate or 0
        self._files: dict[str, BinaryIO] = {}
        self._size = 0
        self._samples = 0
        self._failed = False

    def write(self, lines: str, pcm: bytes) -> bool:
        text = lines.encode("utf-8", "replace")
        if self._rate == 0:
            pcm = b""
        self._size += len(text) + len(pcm)
        full = self._size > self._capture.bytes
        if full or not self._capture.run(lambda: self._append(text, pcm), len(text) + len(pcm)):
            self._capture.run(self._discard, 0)
            return False
        return True

    def finish(self) -> None:
        self._capture.run(self._complete, 0)

    def _append(self, text: bytes, pcm: bytes) -> None:
        if self._failed:
            return
        try:
            if not self._files:
                self._open()
            self._files["jsonl"].write(text)
            if pcm:
                self._files["wav"].write(pcm)
                self._samples += len(pcm) // 2
        except OSError:
            self._discard()
            raise

    def _open(self) -> None:
        self._capture.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._capture.look_around()
        for kind, path in self._paths.items():
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            self._files[kind] = os.fdopen(os.open(f"{path}{_PART}", flags, 0o600), "wb")
        if "wav" in self._files:
            self._files["wav"].write(wav_header(self._rate, 0))

    def _complete(self) -> None:
        if self._failed or not self._files:
            return
        try:
            if (wav := self._files.get("wav")) is not None:
                wav.seek(0)
                wav.write(wav_header(self._rate, self._samples))
            for file in self._files.values():
                file.close()
            # The record last: where it stands its audio is there.
            for path in reversed(self._paths.values()):
                Path(f"{path}{_PART}").rename(path)
        except OSError:
            self._discard()
            raise
        self._capture.keep(self._name, self._size)

    def _discard(self) -> None:
        self._failed = True
        for file in self._files.values():
            # A full disk fails once more when the rest is written.
            with suppress(OSError):
                file.close()
        for path in self._paths.values():
            with suppress(OSError):
                Path(f"{path}{_PART}").unlink(missing_ok=True)


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
