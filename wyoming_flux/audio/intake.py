"""The one door for PCM: bytes of any kind in, linear16 mono at the stream's rate out."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from .convert import Converter
from .format import AudioFormat
from .wav import WavReader, is_wav


class Run(Protocol):
    """Calls what computes away from the event loop: ``asyncio.to_thread`` and its like."""

    def __call__(
        self,
        function: Callable[[AudioFormat, int], Converter],
        source: AudioFormat,
        sample_rate: int,
        /,
    ) -> Awaitable[Converter]:
        """Return what the function returns."""


class PcmReader:
    """Audio out of bytes, without I/O: a WAV tells its format, all else is bare samples.

    ``feed`` until the end, then ``finish``; any split of the bytes gives the same audio. Both raise
    :class:`wyoming_flux.errors.InvalidAudio` for a WAV that cannot be read.
    """

    def __init__(self, bare: AudioFormat | None) -> None:
        """Take the format of bare samples; None: nothing but a WAV will do."""
        # None until the first audio.
        self.format: AudioFormat | None = None
        self._bare = bare
        self._head = b""
        self._wav = WavReader() if bare is None else None

    @property
    def announced(self) -> int | None:
        """Bytes of audio that the header promises; None for bare samples, and where it does not."""
        return self._wav.announced if self._wav is not None else None

    @property
    def complete(self) -> bool:
        """Whether all that the header promises was given."""
        return self._wav is not None and self._wav.given == self._wav.announced

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return the audio in them, maybe none."""
        if self._wav is not None:
            pcm = self._wav.feed(data)
            self.format = self._wav.format
            return pcm
        if self.format is not None:
            return data
        self._head += data
        found = is_wav(self._head)
        if found is None:
            return b""
        if not found:
            return self._begin_bare()
        head, self._head = self._head, b""
        self._wav = WavReader()
        return self.feed(head)

    def finish(self) -> bytes:
        """Return what was held back, at the end: what is shorter than a header is audio."""
        if self._wav is not None:
            self._wav.finish()
            return b""
        return self._begin_bare() if self._head else b""

    def _begin_bare(self) -> bytes:
        self.format = self._bare
        head, self._head = self._head, b""
        return head


class Intake:
    """Turns the bytes of one client into linear16 mono at ``sample_rate`` Hz.

    Bare samples are of the format ``bare``; where a RIFF header comes first, the header wins. numpy
    is imported and the filter of a ratio designed by ``run``, away from the event loop (tenths of a
    second and some ms). Raises :class:`wyoming_flux.errors.InvalidAudio`.
    """

    def __init__(
        self, sample_rate: int, bare: AudioFormat, *, run: Run = asyncio.to_thread
    ) -> None:
        """Take the wanted rate in Hz, what bare samples are, and how to compute elsewhere."""
        self._sample_rate = sample_rate
        self._reader = PcmReader(bare)
        self._run = run
        self._converter: Converter | None = None

    async def feed(self, data: bytes) -> bytes:
        """Take the next bytes, of any length; return what is ready, maybe nothing."""
        return await self._convert(self._reader.feed(data))

    async def finish(self) -> bytes:
        """Return what was held back, at the end of the audio."""
        rest = await self._convert(self._reader.finish())
        return rest + self._converter.flush() if self._converter is not None else rest

    async def _convert(self, pcm: bytes) -> bytes:
        source = self._reader.format
        if source is None:
            return b""
        if self._converter is None:
            if source.matches(self._sample_rate):
                self._converter = Converter(source, self._sample_rate)
            else:
                self._converter = await self._run(Converter, source, self._sample_rate)
        return self._converter.convert(pcm)
