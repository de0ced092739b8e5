"""When did the person stop speaking? Estimated from loudness, for the response time alone.

Flux does not tell (its messages need no word times), and while a microphone stays open the last
audio always came just now.
"""

import time
from collections.abc import Callable
from typing import Final

_FLOOR: Final = 300
"""Peak of 16-bit samples (about -41 dBFS) below which nothing is speech."""
_RELATIVE: Final = 10
"""A chunk still counts as speech at one tenth (-20 dB) of the loudest peak so far."""


class SpeechMeter:
    """Remembers when the last loud chunk came."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock in seconds."""
        self._clock = clock
        self._loudest = _FLOOR
        self._last: float | None = None

    def feed(self, pcm: bytes) -> None:
        """Look at whole 16-bit samples in the machine's byte order; an odd byte is left out."""
        samples = memoryview(pcm)[: len(pcm) // 2 * 2].cast("h")
        if not samples:
            return
        peak = max(abs(max(samples)), abs(min(samples)))
        self._loudest = max(self._loudest, peak)
        if peak > max(_FLOOR, self._loudest // _RELATIVE):
            self._last = self._clock()

    @property
    def since_speech_ms(self) -> float | None:
        """Milliseconds since the last loud chunk; None if there was none."""
        return None if self._last is None else (self._clock() - self._last) * 1000
