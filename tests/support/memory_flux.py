"""A Flux in memory: the client's connector, coupled to sessions of the simulator, no socket."""

import asyncio
from collections import deque
from typing import Any, Final
from urllib.parse import urlsplit

from wyoming_flux.errors import ConnectionLost
from wyoming_flux.flux import Connector, Endpoint, Message
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import parse
from wyoming_flux.flux.refusal import refusal
from wyoming_flux.simulator import Close, FluxSession, LocalFlux, Refusal, UpgradeRequest

from .coded import CodedRecognizer

ON_THE_WAY: Final = 64
"""So many frames a network and its buffers hold; then sending waits."""


class MemoryConnection:
    """The client's end of a connection in memory, in the shape of a FluxConnection.

    There is no task: whatever the client does, or the session's deadline, moves the frames on.
    """

    def __init__(self, session: FluxSession, *, close_seconds: float) -> None:
        self.headers: dict[str, str] = {}
        self.connect_ms = 0.0
        self.attempts = 1
        self.dropped: tuple[str, ...] = ()
        self.facts = Facts()
        self._session = session
        self._close_seconds = close_seconds
        self._loop = asyncio.get_running_loop()
        self._there: deque[str | bytes] = deque()
        self._here: deque[str | bytes] = deque()
        self._end: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[asyncio.Future[None]] = []
        session.start(self._loop.time())
        self._move()

    @property
    def closed(self) -> bool:
        """Whether the connection is over."""
        return self._end is not None

    async def send_audio(self, pcm: bytes) -> None:
        assert pcm
        assert len(pcm) % 2 == 0
        await self._send(pcm)

    async def send_control(self, message: str) -> None:
        await self._send(message)

    async def receive(self) -> Message:
        while not self._here:
            if self._end is not None:
                raise ConnectionLost(f"closed with {self._end}", close_code=self._end)
            await self._moved()
        return parse(self._here.popleft())

    async def close(self) -> None:
        """Close; it takes its time where the other side does, as the real one's second does."""
        if self._end is None:
            self._session.hurry = True
            self._move()
            if self._close_seconds:
                await asyncio.sleep(self._close_seconds)
        if self._end is None:
            self._session.lost(1000)
            self._over(1000)

    async def _send(self, frame: str | bytes) -> None:
        while len(self._there) >= ON_THE_WAY and self._end is None:
            await self._moved()
        if self._end is not None:
            raise ConnectionLost(f"closed with {self._end}", close_code=self._end)
        self._there.append(frame)
        self._move()

    async def _moved(self) -> None:
        future = self._loop.create_future()
        self._waiting.append(future)
        await future

    def _move(self, deadline: float = 0.0) -> None:
        """Carry frames both ways, as far as they go now.

        The loop calls a little before a ``deadline``, by its clock's resolution.
        """
        session, now = self._session, max(deadline, self._loop.time())
        while self._end is None:
            if self._there and session.room:
                session.receive(self._there.popleft(), now)
            frame = session.next_to_send(now)
            if isinstance(frame, Close):
                self._over(frame.code)
            elif frame is not None:
                self._here.append(frame)
            elif not (self._there and session.room):
                break
        self._wake()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due := session.deadline) is not None and self._end is None:
            self._timer = self._loop.call_at(due, self._move, due)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _over(self, code: int) -> None:
        self._end = code
        self._there.clear()
        self._session.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()


class MemoryConnector(Connector):
    """A connector to a simulator in memory: the real rules, no socket."""

    def __init__(
        self, service: LocalFlux, *, route: str = "workers-ai", close_seconds: float = 0.0
    ) -> None:
        super().__init__(
            Endpoint.from_url("ws://127.0.0.1", route=route),
            clock=lambda: asyncio.get_running_loop().time(),
        )
        self.service = service
        self.opened: list[MemoryConnection] = []
        self._close_seconds = close_seconds

    async def _open(self, url: str) -> MemoryConnection:  # type: ignore[override]  # a stand-in
        parts = urlsplit(url)
        headers = self.endpoint.request_headers().items()
        request = UpgradeRequest(
            f"{parts.path}?{parts.query}", {name.lower(): value for name, value in headers}
        )
        upgrade, answer = self.service.open(request)
        await asyncio.sleep(upgrade.answer_delay)
        if isinstance(answer, Refusal):
            named = {name.lower(): value for name, value in answer.headers.items()}
            raise refusal(answer.status, named, answer.body, self.endpoint.host)
        opened = MemoryConnection(answer, close_seconds=self._close_seconds)
        self.opened.append(opened)
        return opened


def memory_connector(
    *, route: str = "workers-ai", close_seconds: float = 0.0, **flux: Any
) -> MemoryConnector:
    """Make a connector to a simulator in memory; other arguments are those of LocalFlux.

    ``recognizer="coded"`` is the tests' own ear. ``close_seconds``: how long closing takes.
    """
    if flux.get("recognizer") == "coded":
        flux["recognizer"] = CodedRecognizer
    return MemoryConnector(LocalFlux(**flux), route=route, close_seconds=close_seconds)
