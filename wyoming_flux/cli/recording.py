"""Where the audio of ``transcribe`` comes from: a WAV file, or standard input as WAV or raw."""

import asyncio
import os
import stat
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import BinaryIO, Final, Self

from wyoming_flux.audio import AudioFormat, PcmReader
from wyoming_flux.errors import InvalidAudio

STDIN: Final = "-"
_READ: Final = 64 * 1024
# arecord and sox announce about 2 GiB when they write into a pipe: they do not know the length.
_OPEN_END: Final = 0x7FFF0000

_MOMENT: Final = 0.3
"""Seconds in which a microphone shows its pace."""
_SPOKEN: Final = 1.0
"""Audio that no microphone records within a moment."""

ReadBytes = Callable[[], Awaitable[bytes]]


class Recording:
    """One stream of PCM. Made by :func:`open_recording`."""

    def __init__(self, name: str, read_bytes: ReadBytes, bare: AudioFormat | None) -> None:
        """Read bytes with *read_bytes*, which returns ``b""`` at the end."""
        self.name = name
        self.live = False
        """Whether this is a microphone: it has no end, and its own pace."""
        self.seconds: float | None = None
        """Length, where it is known."""
        self._read_bytes = read_bytes
        self._reader = PcmReader(bare)
        self._ready = b""

    @property
    def format(self) -> AudioFormat:
        """What the audio is."""
        if self._reader.format is None:
            raise RuntimeError("the recording was not begun")
        return self._reader.format

    async def begin(self) -> Self:
        """Find out what the audio is. Raises :class:`InvalidAudio`, :class:`OSError`."""
        while self._reader.format is None:
            data = await self._read_bytes()
            self._ready = self._reader.feed(data) if data else self._reader.finish()
            if not data and self._reader.format is None:
                raise InvalidAudio("There was no audio on standard input.")
        announced = self._reader.announced
        if announced is not None and announced < _OPEN_END:
            self.seconds = announced / self.format.bytes_per_second
        return self

    async def comes_fast(self) -> bool:
        """Tell whether audio comes faster than anybody speaks: then it is no microphone.

        Reads ahead for a moment; nothing is lost. Raises :class:`InvalidAudio`, ``OSError``.
        """
        enough = int(_SPOKEN * self.format.bytes_per_second)
        try:
            async with asyncio.timeout(_MOMENT):
                while len(self._ready) < enough:
                    data = await self._read_bytes()
                    if not data:
                        return True
                    self._ready += self._reader.feed(data)
        except TimeoutError:
            return False
        return True

    async def read(self) -> bytes:
        """Return the next PCM, ``b""`` at the end. Raises :class:`InvalidAudio`, ``OSError``."""
        ready, self._ready = self._ready, b""
        while not ready and not self._reader.complete:
            data = await self._read_bytes()
            if not data:
                return self._reader.finish()
            ready = self._reader.feed(data)
        return ready


async def open_recording(name: str, raw: AudioFormat, stack: AsyncExitStack) -> Recording:
    """Open the file *name*, or standard input for ``-``; *stack* closes it.

    Raw audio is taken from standard input alone, and is *raw* then. Raises :class:`InvalidAudio`
    for what is no WAV, ``OSError`` for what cannot be read.
    """
    if name != STDIN:
        file = stack.enter_context(await asyncio.to_thread(_open, name))
        return await Recording(name, _from_file(file), None).begin()
    mode = os.fstat(sys.stdin.fileno()).st_mode
    waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(sys.stdin.fileno())
    # The loop can wait for these alone; a file, or /dev/null, never keeps anybody waiting.
    read_bytes = await _from_pipe(stack) if waits else _from_file(sys.stdin.buffer)
    recording = await Recording(name, read_bytes, raw).begin()
    recording.live = recording.seconds is None and waits and not await recording.comes_fast()
    return recording


def parse_raw_format(text: str) -> AudioFormat:
    """Read ``RATE:BITS:CHANNELS``. Raises :class:`InvalidAudio`, or ValueError."""
    try:
        rate, bits, channels = (int(part) for part in text.split(":"))
    except ValueError:
        raise ValueError(f"a format looks like 16000:16:1, not {text!r}") from None
    if bits % 8:
        raise ValueError(f"samples have 8, 16, 24 or 32 bit, not {bits}")
    return AudioFormat(rate, bits // 8, channels)


def _open(name: str) -> BinaryIO:
    return Path(name).open("rb")


def _from_file(file: BinaryIO) -> ReadBytes:
    async def read_bytes() -> bytes:
        return await asyncio.to_thread(file.read, _READ)

    return read_bytes


async def _from_pipe(stack: AsyncExitStack) -> ReadBytes:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    stack.callback(transport.close)

    async def read_bytes() -> bytes:
        return await reader.read(_READ)

    return read_bytes
