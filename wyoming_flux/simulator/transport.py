"""What carries frames to and from a session, so that it runs over a socket or in memory."""

import asyncio
from typing import Protocol

from .profiles import ABORTED, NO_CODE

Frame = str | bytes


class TransportClosed(Exception):
    """The other side is gone; ``code`` is the WebSocket's (1005: none given, 1006: no close)."""

    def __init__(self, code: int, reason: str = "") -> None:
        """Remember how it was closed."""
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


class Transport(Protocol):
    """One side of a connection of text (str) and binary (bytes) frames."""

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""

    async def receive(self) -> Frame:
        """Return the next frame; raises :class:`TransportClosed`."""

    async def send(self, frame: Frame) -> None:
        """Send one frame; raises :class:`TransportClosed`."""

    async def wait_closed(self) -> None:
        """Wait until nothing can be sent any more."""

    async def close(self, code: int, reason: str = "") -> None:
        """Close: 1005 sends a close frame without a code, 1006 none. Bounded, never raises."""


class MemoryTransport:
    """One end of a connection in memory; :func:`memory_pair` makes two.

    At most ``limit`` frames are on the way in one direction; then :meth:`send` waits.
    """

    def __init__(self, limit: int) -> None:
        """Use :func:`memory_pair`."""
        self._incoming: asyncio.Queue[Frame | TransportClosed] = asyncio.Queue()
        self._room = asyncio.Semaphore(limit)
        self._peer: MemoryTransport = self
        self._end: TransportClosed | None = None
        self._over = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether one side has closed."""
        return self._over.is_set()

    async def receive(self) -> Frame:
        """Return the next frame, also those sent before the other side closed."""
        if self._end is not None:
            raise self._end
        frame = await self._incoming.get()
        if isinstance(frame, TransportClosed):
            self._end = frame
            raise frame
        self._room.release()
        return frame

    async def send(self, frame: Frame) -> None:
        """Send one frame; waits while too many are on the way."""
        await self._peer._room.acquire()
        if self.closed:
            self._peer._room.release()
            raise self._end or TransportClosed(ABORTED)
        self._peer._incoming.put_nowait(frame)

    async def wait_closed(self) -> None:
        """Wait until one side has closed."""
        await self._over.wait()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close both directions; the other side sees ``code`` after what was sent before."""
        if self._end is not None:
            return
        end = TransportClosed(code, reason if code not in (NO_CODE, ABORTED) else "")
        self._end = end
        for side in (self, self._peer):
            side._incoming.put_nowait(end)
            side._over.set()
            side._room.release()


def memory_pair(limit: int = 16) -> tuple[MemoryTransport, MemoryTransport]:
    """Return two connected ends; what one sends the other receives."""
    one, other = MemoryTransport(limit), MemoryTransport(limit)
    one._peer, other._peer = other, one
    return one, other
