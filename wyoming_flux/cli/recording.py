"""Where the audio of ``transcribe`` comes from: a file of any kind, or standard input."""

import asyncio
import codecs
import os
import stat
import sys
from contextlib import AsyncExitStack
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final, Self

from wyoming_flux.audio import AudioFormat, PcmReader, is_wav, name_of
from wyoming_flux.audio.wav import RIFF_HEADER
from wyoming_flux.errors import InvalidAudio

from . import decode
from .decode import ReadBytes

STDIN: Final = "-"
_READ: Final = 64 * 1024
# arecord and sox announce about 2 GiB when they write into a pipe: they do not know the length.
_OPEN_END: Final = 0x7FFF0000

_MOMENT: Final = 0.3
"""Seconds in which a microphone shows its pace."""
_SPOKEN: Final = 1.0
"""Audio that no microphone records within a moment."""


class Recording:
    """One stream of PCM. Made by :func:`open_recording`."""

    def __init__(self, name: str, read_bytes: ReadBytes, bare: AudioFormat | None) -> None:
        """Read bytes with *read_bytes*, which returns ``b""`` at the end."""
        self.name = name
        self.live = False
        """Whether this is a microphone: it has no end, and its own pace."""
        self.seconds: float | None = None
        """Length, where it is known."""
        self.cut_off = 0.0
        """Seconds that its header tells and that were not there, once it was read to its end."""
        self._read_bytes = read_bytes
        self._reader = PcmReader(bare)
        self._ready = b""
        self._given = 0

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
                raise InvalidAudio("There is no audio in it.")
        if self._announced is not None:
            self.seconds = self._announced / self.format.bytes_per_second
        return self

    @property
    def _announced(self) -> int | None:
        """Bytes that the header tells, where it knows."""
        announced = self._reader.announced
        return None if announced is None or announced >= _OPEN_END else announced

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
                ready = self._reader.finish()
                if self._announced is not None:
                    lacking = self._announced - self._given
                    self.cut_off = lacking / self.format.bytes_per_second
                break
            ready = self._reader.feed(data)
        self._given += len(ready)
        return ready


async def open_recording(name: str, raw: AudioFormat | None, stack: AsyncExitStack) -> Recording:
    """Open the file *name*, or standard input for ``-``; *stack* closes it.

    A WAV tells its own format; other audio is what ffmpeg makes of it; what is neither is *raw*,
    where that was given. Raises :class:`InvalidAudio` for all else, ``OSError`` for what cannot be
    read.
    """
    waits = False
    path: str | None = None
    if name == STDIN:
        mode = os.fstat(sys.stdin.fileno()).st_mode
        waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(sys.stdin.fileno())
        # The loop can wait for these alone; a file, or /dev/null, never keeps anybody waiting.
        read_bytes = await _from_pipe(stack) if waits else _from_file(sys.stdin.buffer)
    else:
        file = stack.enter_context(await asyncio.to_thread(_open, name))
        read_bytes = _from_file(file)
        # What was read of a pipe with a name (bash's <(…), too), nobody reads again.
        path = name if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    source = _Source(read_bytes)
    head = await source.head()
    recording = await _plain(source, head, name, raw)
    source.settle(again=recording is None)
    if recording is None:
        decoder = await decode.decode(path or source.read, stack)
        try:
            recording = await Recording(name, decoder.read_bytes, decode.FORMAT).begin()
        except decode.NoSound as error:
            if is_wav(head) or name_of(head):
                raise
            raise InvalidAudio(f"{error}; raw samples need --raw RATE:BITS:CHANNELS") from None
        recording.seconds = await decoder.seconds()
    recording.live = recording.seconds is None and waits and not await recording.comes_fast()
    return recording


class _Source:
    """Bytes that can be read once more from the beginning, until it is settled what they are."""

    def __init__(self, read_bytes: ReadBytes) -> None:
        self.ended = False
        self._read_bytes = read_bytes
        self._ahead = b""
        self._kept: bytearray | None = bytearray()

    async def head(self) -> bytes:
        """Return the first bytes, which are read again afterwards."""
        head = b""
        while len(head) < RIFF_HEADER and (data := await self.read()):
            head += data
        self._ahead = head
        return head

    async def read(self) -> bytes:
        """Return the next bytes, ``b""`` at the end."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        data = await self._read_bytes()
        self.ended = not data
        if self._kept is not None:
            self._kept += data
        return data

    def settle(self, *, again: bool) -> None:
        """Keep no more; *again*: begin from the beginning for the last time."""
        if again and self._kept is not None:
            self._ahead = bytes(self._kept)
        self._kept = None


async def _plain(
    source: _Source, head: bytes, name: str, raw: AudioFormat | None
) -> Recording | None:
    """Return what needs no ffmpeg; None: it is ffmpeg's. Raises :class:`InvalidAudio`."""
    reason = name_of(head)
    if is_wav(head):
        try:
            return await Recording(name, source.read, None).begin()
        except InvalidAudio as error:
            if source.ended:
                raise  # cut off: that is nothing to decode
            reason = str(error)
    elif reason is None:
        if not head:
            raise InvalidAudio("There is no audio in it: it is empty.")
        if raw is not None:
            return await Recording(name, source.read, raw).begin()
        if _is_text(head):
            raise InvalidAudio("This is text, not audio.")
        if name == STDIN:
            raise InvalidAudio(
                "This is no audio file that is known; raw samples need --raw RATE:BITS:CHANNELS."
            )
    if not decode.is_installed():
        what = reason or "no audio file that is known"
        what = what if what.endswith(".") else f"This is {what}."
        raise InvalidAudio(f"{what} To read it, install ffmpeg: sudo apt install ffmpeg")
    return None


def _is_text(head: bytes) -> bool:
    try:
        # The last character may be cut off.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)


def parse_raw_format(text: str) -> AudioFormat:
    """Read ``RATE:BITS:CHANNELS``. Raises :class:`InvalidAudio`, or ValueError."""
    try:
        rate, bits, channels = (int(part) for part in text.split(":"))
    except ValueError:
        raise ValueError(f"a format looks like 16000:16:1, not {text!r}") from None
    if bits % 8:
        raise ValueError(f"samples have 8, 16, 24 or 32 bit, not {bits}")
    return AudioFormat(rate, bits // 8, channels)


def _open(name: str) -> FileIO:
    # Unbuffered: closing would wait for a thread that is reading.
    return Path(name).open("rb", buffering=0)


def _from_file(file: BinaryIO | FileIO) -> ReadBytes:
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
