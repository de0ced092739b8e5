"""The client's audio: kept for as long as it may have to be sent, or sent again."""

from typing import Final

WIDTH: Final = 2
"""Bytes of a sample."""

# Deleting from the front moves all that follows, so it is done for a lot at once.
_FORGET: Final = 32 * 1024


class Tape:
    """Linear16 mono audio of one utterance; places are whole samples from its start."""

    __slots__ = ("_data", "end", "start")

    def __init__(self) -> None:
        """Begin empty."""
        self._data = bytearray()
        self.start = 0
        """Place of the oldest sample that is still there."""
        self.end = 0
        """Place behind the last whole sample."""

    def append(self, pcm: bytes) -> None:
        """Add audio of any length; half a sample waits for its other half."""
        self._data += pcm
        self.end = self.start + len(self._data) // WIDTH

    def read(self, at: int, samples: int) -> bytes:
        """Return up to *samples* from *at* on, which must not have been forgotten."""
        here = (at - self.start) * WIDTH
        if here < 0:
            raise ValueError(f"audio before {self.start} was forgotten, {at} was asked for")
        last = min(at + samples, self.end) - self.start
        return bytes(self._data[here : last * WIDTH])

    def forget(self, before: int) -> None:
        """Audio before this place will not be asked for again."""
        samples = min(before, self.end) - self.start
        if samples >= _FORGET:
            self._let_go(samples * WIDTH)
            self.start += samples

    def clear(self) -> None:
        """Throw away all of it: not left to the garbage collector, which may come late."""
        self.start = self.end
        self._let_go(len(self._data))

    def _let_go(self, size: int) -> None:
        del self._data[:size]
