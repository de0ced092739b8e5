"""The client's audio: waiting to be sent, and kept for as long as it may have to be sent again."""

from typing import Final

_WIDTH: Final = 2
# Deleting from the front moves all that follows, so it is done for a lot at once.
_FORGET_BYTES: Final = 64 * 1024


class AudioBuffer:
    """Linear16 mono audio of one utterance; places are seconds from its start."""

    def __init__(self, sample_rate: int) -> None:
        """Begin empty."""
        self._per_second = sample_rate * _WIDTH
        self._data = bytearray()
        self._start = 0
        self._cursor = 0

    @property
    def pending(self) -> float:
        """Seconds of whole samples that were not taken yet."""
        return (self._end - self._cursor) // _WIDTH * _WIDTH / self._per_second

    def append(self, pcm: bytes) -> None:
        """Add audio of any length, odd lengths included."""
        self._data += pcm

    def take(self, size: int, *, partial: bool) -> bytes:
        """Take the next ``size`` bytes; fewer, but whole samples, only if ``partial``."""
        size -= size % _WIDTH
        here = self._cursor - self._start
        waiting = len(self._data) - here
        if waiting < size:
            if not partial:
                return b""
            size = waiting - waiting % _WIDTH
        self._cursor += size
        return bytes(self._data[here : here + size])

    def rewind(self, seconds: float) -> None:
        """Take from ``seconds`` on again, or from the oldest audio that is still there."""
        position = int(seconds * self._per_second)
        position -= position % _WIDTH
        self._cursor = min(max(position, self._start), self._end)

    def forget(self, seconds: float) -> None:
        """Audio before ``seconds`` will not be rewound to."""
        position = min(int(seconds * self._per_second), self._cursor)
        position -= position % _WIDTH
        if position - self._start >= _FORGET_BYTES:
            del self._data[: position - self._start]
            self._start = position

    def drop_pending(self) -> None:
        """Throw away what was not taken yet."""
        del self._data[self._cursor - self._start :]

    def clear(self) -> None:
        """Throw away everything: none of it will be sent any more."""
        self._start = self._cursor = self._end
        self._data = bytearray()

    @property
    def _end(self) -> int:
        return self._start + len(self._data)
