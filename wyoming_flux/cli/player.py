"""Plays a recording: chunk by chunk, in real time as a microphone would, or as fast as possible."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable
from operator import mul
from typing import Final

from wyoming_flux.audio import FRAME_MS, AudioFormat, Converter, prepare

from .recording import Recording

CHUNK_MS: Final = 10
"""What satellites send at a time."""

_METER_RATE: Final = 16000
_METER_FRAME: Final = _METER_RATE // 50
# -40 dBFS: below is what microphones and rooms make by themselves.
_SPEECH_POWER: Final = (32768 / 100) ** 2


class Player:
    """Gives the chunks of one recording, and knows when in it somebody spoke last."""

    def __init__(
        self,
        recording: Recording,
        *,
        real_time: bool,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Prepare to play in *real_time*; a live recording has its own pace."""
        self.seconds = 0.0
        """Audio given so far, silence included."""
        self._recording = recording
        self._real_time = real_time
        self._on_progress = on_progress
        self._timed = real_time or recording.live
        self._meter: SpeechMeter | None = None
        self._began = 0.0
        self._loop = asyncio.get_running_loop()

    async def prepare(self) -> None:
        """Load what will be needed, so that it does not delay the audio."""
        source = self._recording.format
        if self._timed:
            if not source.matches(_METER_RATE):
                await asyncio.to_thread(prepare)
            self._meter = SpeechMeter(source)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the recording, each chunk when a microphone would have it."""
        recording = self._recording
        if not self._real_time or recording.live:
            while pcm := await recording.read():
                # Whoever waits for an answer must get a turn between two chunks.
                await asyncio.sleep(0)
                yield self._given(pcm)
            return
        size = _chunk_bytes(recording.format)
        waiting = b""
        while pcm := await recording.read():
            waiting += pcm
            whole = len(waiting) - len(waiting) % size
            for at in range(0, whole, size):
                yield await self._in_time(waiting[at : at + size])
            waiting = waiting[whole:]
        if waiting:
            yield await self._in_time(waiting)

    async def silence(self, seconds: float) -> AsyncIterator[bytes]:
        """Go on as a microphone in a silent room, in real time."""
        source = self._recording.format
        # 8-bit samples are unsigned.
        chunk = (b"\x80" if source.width == 1 else b"\x00") * _chunk_bytes(source)
        until = self.seconds + seconds
        while self.seconds < until:
            yield await self._in_time(chunk)

    @property
    def after_speech_ms(self) -> float | None:
        """Milliseconds from the end of the last speech until now; None when not in real time."""
        if self._meter is None or self._meter.end is None:
            return None
        return (self._loop.time() - self._began - self._meter.end) * 1000

    async def _in_time(self, chunk: bytes) -> bytes:
        now = self._loop.time()
        if not self.seconds:
            self._began = now
        # The end of the chunk is when a microphone would have it; lateness does not add up.
        due = self._began + self.seconds + len(chunk) / self._recording.format.bytes_per_second
        await asyncio.sleep(max(0.0, due - now))
        return self._given(chunk)

    def _given(self, chunk: bytes) -> bytes:
        self.seconds += len(chunk) / self._recording.format.bytes_per_second
        if self._recording.live:
            self._began = self._loop.time() - self.seconds
        if self._meter is not None:
            self._meter.feed(chunk)
        if self._on_progress is not None:
            self._on_progress(self.seconds)
        return chunk


class SpeechMeter:
    """Finds the end of the last speech: the last 20 ms above -40 dBFS."""

    def __init__(self, source: AudioFormat) -> None:
        """Measure audio of this format."""
        self.end: float | None = None
        """Seconds from the start to the end of the last speech; None: there was none."""
        self._converter = Converter(source, _METER_RATE)
        self._samples = array("h")
        self._frames = 0

    def feed(self, pcm: bytes) -> None:
        """Take audio."""
        self._samples.frombytes(self._converter.convert(pcm))
        whole = len(self._samples) - len(self._samples) % _METER_FRAME
        for at in range(0, whole, _METER_FRAME):
            self._frames += 1
            frame = self._samples[at : at + _METER_FRAME]
            if sum(map(mul, frame, frame)) > _SPEECH_POWER * _METER_FRAME:
                self.end = self._frames * _METER_FRAME / _METER_RATE
        del self._samples[:whole]


def _chunk_bytes(source: AudioFormat) -> int:
    return source.rate * CHUNK_MS // 1000 * source.frame_bytes


def slices(pcm: bytes, source: AudioFormat) -> list[bytes]:
    """Cut *pcm* into pieces of at most 80 ms, each of whole samples but for the last."""
    size = source.rate * FRAME_MS // 1000 * source.frame_bytes
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]
