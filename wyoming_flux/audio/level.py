"""When did somebody speak last? Estimated from loudness, for response times alone.

Flux does not tell (its messages need no word times), and while a microphone stays open the last
audio always came just now.
"""

from typing import Final

from .format import AudioFormat

LOOK_MS: Final = 20
"""Length of what is judged at once."""
FLOOR: Final = 300
"""Peak of 16-bit samples (about -41 dBFS) below which nothing is speech."""
RELATIVE: Final = 10
"""What has one tenth (-20 dB) of the loudest peak so far still counts as speech."""
_EACH: Final = 7
"""Of so many samples one is looked at: all of them cost a fifth of what a stream costs at all."""
_TOGETHER: Final = 10
"""So many pieces are looked at in one go: at each chunk it would cost four times as much."""

_PAUSE: Final = 0.2
"""Seconds without audio that are a pause."""

# 8-bit samples are unsigned: as signed ones.
_SIGNED: Final = bytes(value ^ 0x80 for value in range(256))


class Level:
    """Remembers when the last loud piece of the audio was spoken.

    How the audio is cut into chunks makes no difference.
    """

    def __init__(self, source: AudioFormat) -> None:
        """Take the format of the audio."""
        self._source = source
        self._size = source.rate * LOOK_MS // 1000 * source.frame_bytes
        self._waiting = bytearray()
        self._now = 0.0
        self._loudest = FLOOR
        self._spoke_at: float | None = None

    def feed(self, pcm: bytes, now: float) -> None:
        """Take the next audio, of any length, the last of which was spoken *now*."""
        # Before a pause: what waits was spoken before it.
        if len(self._waiting) >= self._size * _TOGETHER or now - self._now > _PAUSE:
            self._look()
        self._waiting += pcm
        self._now = now

    @property
    def spoke_at(self) -> float | None:
        """When, in seconds of the clock that `feed` is told; None until somebody spoke."""
        self._look()
        return self._spoke_at

    def _look(self) -> None:
        whole = len(self._waiting) - len(self._waiting) % self._size
        for at in range(0, whole, self._size):
            peak = _peak(self._waiting[at : at + self._size], self._source.width)
            self._loudest = max(self._loudest, peak)
            if peak > max(FLOOR, self._loudest // RELATIVE):
                after = (len(self._waiting) - at - self._size) / self._source.bytes_per_second
                self._spoke_at = self._now - after
        del self._waiting[:whole]


def _peak(pcm: bytearray, width: int) -> int:
    """Return the largest of some samples, whatever their sign, as of 16 bit."""
    if width == 2:
        upper = pcm
    else:
        upper = bytearray(2 * (len(pcm) // width))
        upper[1::2] = pcm.translate(_SIGNED) if width == 1 else pcm[width - 1 :: width]
        if width != 1:
            upper[0::2] = pcm[width - 2 :: width]
    return max(map(abs, memoryview(upper).cast("h")[::_EACH].tolist()))
