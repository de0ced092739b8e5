"""Plays a recording: chunk by chunk, in real time as a microphone would, or as fast as possible."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from wyoming_flux.audio import FRAME_MS, AudioFormat, Level

from .recording import Recording

CHUNK_MS: Final = 10
"""What satellites send at a time."""
_PAUSE: Final = 2.0
"""Seconds without input after which some silence is given: 3 s of none at all are taken for the end
(``docs/turns.md``, rule 1)."""


class Player:
    """Gives the chunks of one recording, and knows when in it somebody spoke last."""

    def __init__(
        self,
        recording: Recording,
        *,
        real_time: bool,
    ) -> None:
        """Prepare to play in *real_time*; a live recording has its own pace."""
        self.seconds = 0.0
        """Audio given so far, silence included."""
        self._recording = recording
        self._real_time = real_time and not recording.live
        self._began = 0.0
        self._loop = asyncio.get_running_loop()
        self._level: Level | None = None
        if real_time or recording.live:
            self._level = Level(recording.format)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the recording, each chunk when a microphone would have it."""
        if not self._real_time:
            async for pcm in self._arriving():
                # Whoever waits for an answer must get a turn between two chunks.
                await asyncio.sleep(0)
                yield self._given(pcm)
            return
        size = cut_bytes(self._recording.format, CHUNK_MS)
        waiting = b""
        async for pcm in self._arriving():
            waiting += pcm
            whole = len(waiting) - len(waiting) % size
            for at in range(0, whole, size):
                yield await self._in_time(waiting[at : at + size])
            waiting = waiting[whole:]
        if waiting:
            yield await self._in_time(waiting)

    async def _arriving(self) -> AsyncIterator[bytes]:
        """Give the recording as it comes; one that pauses has not ended, and says so by silence."""
        recording = self._recording
        frame = recording.format.frame_bytes
        rest = b""
        while True:
            reading = asyncio.ensure_future(recording.read())
            try:
                while not recording.live and not (await asyncio.wait([reading], timeout=_PAUSE))[0]:
                    yield self._quiet(FRAME_MS)
                pcm = await reading
            finally:
                reading.cancel()
            if not pcm:
                break
            # Silence must not come between the halves of a sample.
            rest += pcm
            whole = len(rest) - len(rest) % frame
            if whole:
                yield rest[:whole]
            rest = rest[whole:]
        if rest:
            yield rest

    async def silence(self, seconds: float) -> AsyncIterator[bytes]:
        """Go on as a microphone in a silent room, in real time from now on."""
        chunk = self._quiet(CHUNK_MS)
        until = self.seconds + seconds
        if not self._real_time:
            self._began = self._loop.time() - self.seconds
        while self.seconds < until:
            yield await self._in_time(chunk)

    def _quiet(self, milliseconds: int) -> bytes:
        source = self._recording.format
        # 8-bit samples are unsigned.
        return (b"\x80" if source.width == 1 else b"\x00") * cut_bytes(source, milliseconds)

    @property
    def after_speech_ms(self) -> float | None:
        """Milliseconds from the end of the last speech until now; None when not in real time."""
        if self._level is None or self._level.spoke_at is None:
            return None
        return (self._loop.time() - self._level.spoke_at) * 1000

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
        if self._level is not None:
            # When it was due: our own lateness is no later word.
            self._level.feed(chunk, self._began + self.seconds)
        return chunk


def cut_bytes(source: AudioFormat, milliseconds: int) -> int:
    """Return the bytes of so much audio, in whole samples."""
    return source.rate * milliseconds // 1000 * source.frame_bytes


def slices(pcm: bytes, source: AudioFormat) -> list[bytes]:
    """Cut *pcm* into pieces of at most 80 ms, each of whole samples but for the last."""
    size = cut_bytes(source, FRAME_MS)
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]
