"""Reads WAV from a stream of bytes, so that files, pipes and uploads need no seeking.

Sans-I/O: bytes in, PCM out. Written after Microsoft's "Multimedia Programming Interface and Data
Specifications 1.0" (RIFF, WAVE) and "Multiple channel audio data and WAVE files" (the extensible
format); the standard library's ``wave`` needs a file, and knows neither pipes nor 2 GB headers.
"""

import struct
from collections.abc import Callable
from typing import Final

from wyoming_flux.errors import InvalidAudio

from .format import AudioFormat

RIFF_HEADER: Final = 12
"""Bytes that tell a WAV from anything else: ``RIFF``, a length, ``WAVE``."""

_PCM: Final = 0x0001
_EXTENSIBLE: Final = 0xFFFE
_ENCODINGS: Final = {
    0x0002: "ADPCM",
    0x0003: "floating point",
    0x0006: "A-law",
    0x0007: "µ-law",
    0x0011: "ADPCM",
    0x0031: "GSM",
    0x0050: "MPEG",
    0x0055: "MP3",
    0x00FF: "AAC",
}
# The end of an extensible format's GUID; its first two bytes are a format tag as above.
_GUID_TAIL: Final = bytes.fromhex("000000001000800000aa00389b71")
# Lengths that mean "not known yet": of writers that could not go back, as into a pipe.
_OPEN_LENGTHS: Final = (0, 0xFFFFFFFF)
_FMT_BYTES: Final = 40
"""As much of a ``fmt`` chunk as is looked at; longer ones are for encodings other than PCM."""

_OTHERS: Final = {
    b"#!AMR": "an AMR file",
    b"OggS": "an Ogg file",
    b"fLaC": "a FLAC file",
    b"ID3": "an MP3 file",
    b"FORM": "an AIFF file",
    b".snd": "an AU file",
    b"0&\xb2u": "a WMA file",
    b"RIFX": "a big-endian WAV",
    b"RF64": "an RF64 file (a WAV over 4 GB)",
    b"\x1aE\xdf\xa3": "a WebM or Matroska file",
}


def is_wav(head: bytes | bytearray) -> bool | None:
    """Tell from the first bytes of a stream whether it is a WAV; None: twelve bytes are needed."""
    if len(head) >= RIFF_HEADER:
        return head[:4] == b"RIFF" and head[8:12] == b"WAVE"
    same = b"RIFF".startswith(head[:4]) and b"WAVE".startswith(head[8:12])
    return None if same else False


def name_of(head: bytes | bytearray) -> str | None:
    """Name what the first twelve bytes of another kind of audio file tell; None: they do not."""
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            return name
    if head[4:8] == b"ftyp":
        return "an MP4 file"
    return "an MP3 file" if _is_mpeg_frame(bytes(head[:3])) else None


def _is_mpeg_frame(head: bytes) -> bool:
    """Sync, Layer III, and a version, a bit rate and a sample rate (ISO/IEC 11172-3, 2.4.1.3)."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2 or head[1] & 0x18 == 0x08:
        return False
    return 0 < head[2] >> 4 < 15 and head[2] & 0x0C != 0x0C


class WavReader:
    """One WAV from its first byte on; any split of the bytes gives the same audio.

    ``feed`` until the end, then ``finish``. Both raise :class:`InvalidAudio` only, one sentence
    that says what came and what is possible; after that the reader is of no more use. A file that
    is cut off, or whose length is not known (0, 0xFFFFFFFF), is read as far as it goes; what
    follows the audio is ignored. At most a header's worth of bytes is kept.
    """

    def __init__(self) -> None:
        """Wait for the first byte."""
        # None until the audio begins.
        self.format: AudioFormat | None = None
        # Bytes of audio announced in the header; None until then, and where it is not known.
        self.announced: int | None = None
        # Bytes of audio given so far.
        self.given = 0
        # What the `fmt` chunk said; becomes `format` when the audio begins.
        self._said: AudioFormat | None = None
        # The header's parts come one after the other: first `_skip` bytes that do not matter, then
        # `_wanted` bytes for `_part`.
        self._skip = 0
        self._wanted = RIFF_HEADER
        self._part: Callable[[bytes], None] = self._riff
        self._after_fmt = 0
        self._buffer = bytearray()
        self._empty = True

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return the PCM in them; ``format`` is known when there is any."""
        if data:
            self._empty = False
        if self.format is None:
            data = self._header(data)
        if self.announced is not None:
            data = data[: self.announced - self.given]
        self.given += len(data)
        return data

    def finish(self) -> None:
        """Check, at the end of the bytes, that there was audio in them."""
        if self._empty:
            raise InvalidAudio("The audio is empty; a WAV was expected.")
        if self._part == self._riff and is_wav(self._buffer) is False:
            raise InvalidAudio(_not_wav(bytes(self._buffer)))
        if self.format is None:
            raise InvalidAudio("The WAV ends before its audio begins; it may have been cut off.")
        if self.given < self.format.frame_bytes:
            raise InvalidAudio("The WAV holds no audio: there is a header, but not one sample.")

    def _header(self, data: bytes) -> bytes:
        """Take the header's parts that are complete; return what is beyond them, audio then."""
        self._buffer += data
        while (part := self._next_part()) is not None:
            self._part(part)
        if self.format is None:
            return b""
        audio = bytes(self._buffer)
        self._buffer.clear()
        return audio

    def _next_part(self) -> bytes | None:
        skipped = min(self._skip, len(self._buffer))
        del self._buffer[:skipped]
        self._skip -= skipped
        if self.format is not None or self._skip or len(self._buffer) < self._wanted:
            return None
        part = bytes(self._buffer[: self._wanted])
        del self._buffer[: self._wanted]
        return part

    def _riff(self, part: bytes) -> None:
        if not is_wav(part):
            raise InvalidAudio(_not_wav(part))
        self._expect(8, self._chunk)

    def _chunk(self, part: bytes) -> None:
        name, length = struct.unpack("<4sI", part)
        if name == b"data":
            if self._said is None:
                raise InvalidAudio("The WAV does not say what format its audio has (no fmt chunk).")
            self.announced = None if length in _OPEN_LENGTHS else length
            self.format = self._said
            return
        # Chunks of odd length are followed by one byte of padding.
        padded = length + length % 2
        if name == b"fmt ":
            looked_at = min(length, _FMT_BYTES)
            self._expect(looked_at, self._fmt)
            self._after_fmt = padded - looked_at
        else:
            self._skip = padded

    def _fmt(self, part: bytes) -> None:
        self._said = _format(part)
        self._skip = self._after_fmt
        self._expect(8, self._chunk)

    def _expect(self, wanted: int, part: Callable[[bytes], None]) -> None:
        self._wanted = wanted
        self._part = part


def _format(fmt: bytes) -> AudioFormat:
    if len(fmt) < 16:
        raise InvalidAudio(f"The WAV has a format chunk of {len(fmt)} bytes; 16 are the least.")
    tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == _EXTENSIBLE:
        if len(fmt) < _FMT_BYTES or fmt[26:] != _GUID_TAIL:
            raise InvalidAudio(
                "The WAV has an extensible format without a known encoding;"
                " 8, 16, 24 and 32 bit integer PCM are possible."
            )
        (tag,) = struct.unpack_from("<H", fmt, 24)
    if tag != _PCM:
        encoding = _ENCODINGS.get(tag, f"0x{tag:04x}-encoded")
        raise InvalidAudio(
            f"The WAV holds {bits} bit {encoding} audio;"
            " 8, 16, 24 and 32 bit integer PCM are possible."
        )
    # 12 bit come in two bytes, 20 in three: in their upper bits, so as if they were 16 and 24.
    width = (bits + 7) // 8
    said = AudioFormat(rate, width, channels)
    if align != said.frame_bytes:
        raise InvalidAudio(
            f"The header of the WAV contradicts itself: {channels} channels of {bits} bit"
            f" take {said.frame_bytes} bytes, not {align}."
        )
    return said


def _not_wav(head: bytes) -> str:
    if (name := name_of(head)) is not None:
        return f"This is {name}; a WAV with integer PCM was expected."
    return "This is not a WAV (it does not begin with RIFF and WAVE)."
