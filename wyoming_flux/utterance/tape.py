"""The client's audio: kept for as long as it may have to be sent, or sent again."""

from typing import Final

WIDTH: Final = 2
"""Bytes of a sample."""

# Deleting from the front moves all that follows, so it is done for a lot at once.
_FORGET: Final = 32 * 1024


class Tape:
    """Linear16 mono audio of one utterance; places are whole samples from its start."""

    __slots__ = ("_data", "_start")

    def __init__(self) -> None:
        """Begin empty."""
        self._data = bytearray()
        self._start = 0

    @property
    def start(self) -> int:
        """Place of the oldest sample that is still there."""
        return self._start

    @property
    def end(self) -> int:
        """Place behind the last whole sample."""
        return self._start + len(self._data) // WIDTH

    def append(self, pcm: bytes) -> None:
        """Add audio of any length; half a sample waits for its other half."""
        self._data += pcm

    def read(self, at: int, samples: int) -> bytes:
        """Return up to *samples* from *at* on, which must not have been forgotten."""
        here = (at - self._start) * WIDTH
        if here < 0:
            raise ValueError(f"audio before {self._start} was forgotten, {at} was asked for")
        last = min(here + samples * WIDTH, len(self._data) // WIDTH * WIDTH)
        return bytes(self._data[here:last])

    def forget(self, before: int) -> None:
        """Audio before this place will not be asked for again."""
        samples = min(before, self.end) - self._start
        if samples >= _FORGET:
            self._let_go(samples * WIDTH)
            self._start += samples

    def clear(self) -> None:
        """Throw away all of it: not left to the garbage collector, which may come late."""
        self._start = self.end
        self._let_go(len(self._data))

    def _let_go(self, size: int) -> None:
        del self._data[:size]
