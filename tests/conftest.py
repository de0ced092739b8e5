"""What all tests share: hypothesis profiles, virtual time, and Flux in memory."""

import asyncio
import logging
import os
import selectors
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest

from wyoming_flux.errors import ConnectionLost, EndpointError
from wyoming_flux.flux import Connector, Endpoint, Message
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import parse
from wyoming_flux.flux.refusal import refusal
from wyoming_flux.simulator.handshake import Refusal, Request
from wyoming_flux.simulator.service import Service
from wyoming_flux.simulator.transport import MemoryTransport, TransportClosed, memory_pair

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile(
    "fast", deadline=None, phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate]
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a timeout, moves the loop's clock to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: nothing is scheduled and nothing can happen")
        if not ready and timeout is not None:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time; for parts without sockets and threads."""

    def __init__(self) -> None:
        self.jumping = _JumpingSelector()
        self.faults: list[dict[str, Any]] = []
        super().__init__(self.jumping)
        self.set_exception_handler(lambda _, context: self.faults.append(context))

    def time(self) -> float:
        # Rounded up a little, as the loop's own clock resolution does: a timer that was set for
        # now + d is due when d has passed.
        return self.jumping.now


async def _check_nothing_left(main: Callable[[], Awaitable[Any]]) -> Any:
    result = await main()
    # Callbacks of tasks that have just ended run in the next round.
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left over: {left}"
    return result


def _run_virtual(main: Callable[[], Awaitable[Any]]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        result = runner.run(_check_nothing_left(main))
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        assert not loop.faults, loop.faults
    return result


@pytest.fixture
def run_virtual() -> Callable[[Callable[[], Awaitable[Any]]], Any]:
    """Run a coroutine function in virtual time; fails on a deadlock, a left task, a lost error."""
    return _run_virtual


class MemoryConnection:
    """The client's end of a connection in memory, in the shape of a FluxConnection."""

    def __init__(self, transport: MemoryTransport, headers: Mapping[str, str]) -> None:
        self._transport = transport
        self.headers = headers
        self.connect_ms = 0.0
        self.attempts = 1
        self.dropped: tuple[str, ...] = ()
        self.facts = Facts()
        self.session: asyncio.Task[None] | None = None

    async def send_audio(self, pcm: bytes) -> None:
        assert pcm
        assert len(pcm) % 2 == 0
        await self._send(pcm)

    async def send_control(self, message: str) -> None:
        await self._send(message)

    async def receive(self) -> Message:
        try:
            return parse(await self._transport.receive())
        except TransportClosed as end:
            raise ConnectionLost(f"closed with {end.code}", close_code=end.code) from end

    async def close(self) -> None:
        await self._transport.close()
        if self.session is not None:
            # Bounded like the real one, which aborts its socket after a second.
            await asyncio.wait([self.session], timeout=1.0)
            self.session.cancel()
            await asyncio.wait([self.session])

    async def _send(self, frame: str | bytes) -> None:
        try:
            await self._transport.send(frame)
        except TransportClosed as end:
            raise ConnectionLost(f"closed with {end.code}", close_code=end.code) from end


class MemoryConnector(Connector):
    """A connector to a simulator in memory: the real rules, no socket."""

    def __init__(self, service: Service, *, route: str = "workers-ai") -> None:
        super().__init__(
            Endpoint.from_url("ws://127.0.0.1", route=route),
            clock=lambda: asyncio.get_running_loop().time(),
        )
        self.service = service
        self.opened: list[MemoryConnection] = []

    async def _open(self, url: str) -> MemoryConnection:  # type: ignore[override]  # a stand-in
        parts = urlsplit(url)
        request = Request(
            f"{parts.path}?{parts.query}",
            {name.lower(): value for name, value in self.endpoint.request_headers().items()},
        )
        connection, answer = await self.service.open(request)
        if isinstance(answer, Refusal):
            raise self._refused(answer)
        here, there = memory_pair(limit=64)
        opened = MemoryConnection(here, {})
        opened.session = asyncio.create_task(self.service.serve(connection, there))
        self.opened.append(opened)
        return opened

    def _refused(self, answer: Refusal) -> EndpointError:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return refusal(answer.status, headers, answer.body, self.endpoint.host)


@pytest.fixture
def memory_connector() -> Callable[..., MemoryConnector]:
    """Make a connector to a simulator in memory; arguments are those of Service, and route."""

    def make(*, route: str = "workers-ai", **service: Any) -> MemoryConnector:
        return MemoryConnector(Service(**service), route=route)

    return make


def tone(seconds: float, *, rate: int = 16000) -> bytes:
    """Return audio that the simulator takes for voice."""
    half = rate // 400
    period = b"\x00\x20" * half + b"\x00\xe0" * half
    size = int(seconds * rate) * 2
    return (period * (size // len(period) + 1))[:size]


def silence(seconds: float, *, rate: int = 16000) -> bytes:
    """Return silence."""
    return bytes(int(seconds * rate) * 2)


@pytest.fixture
def spoken() -> Callable[..., bytes]:
    """Make audio of alternating voice and silence, in seconds: ``spoken(0.3, 1.5, 0.5)``.

    The first length is silence, the second voice, and so on.
    """

    def make(*lengths: float, rate: int = 16000) -> bytes:
        kinds: Sequence[Callable[..., bytes]] = (silence, tone)
        return b"".join(kinds[i % 2](length, rate=rate) for i, length in enumerate(lengths))

    return make


class _SecretsWatch(logging.Handler):
    """Looks for tokens and headers of endpoints in all that is logged."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.secrets: set[str] = set()
        self.told: list[str] = []

    def learn(self, endpoint: Endpoint) -> None:
        """Remember what must not be seen; too short a secret is a word like any other."""
        secrets = {one for one in (endpoint.token, *endpoint.headers.values()) if one}
        self.secrets |= {one for one in secrets if len(one) >= 8}
        self.look(repr(endpoint), str(endpoint))

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "websockets.server":
            # The tests' own far ends print the requests that they get; our client has a logger
            # of its own.
            return
        self.look(logging.Formatter().format(record), repr(record.args))

    def look(self, *texts: str) -> None:
        """Take note of a text that tells a secret."""
        self.told += [text for text in texts for secret in self.secrets if secret in text]


@pytest.fixture(scope="session", autouse=True)
def secrets_watch() -> Iterator[_SecretsWatch]:
    """Fail at the end of the run if a log line, or an endpoint's repr, held a test's secret."""
    watch = _SecretsWatch()
    original = Endpoint.from_url.__func__  # type: ignore[attr-defined]  # of a classmethod

    def from_url(cls: type[Endpoint], *arguments: Any, **options: Any) -> Endpoint:
        endpoint: Endpoint = original(cls, *arguments, **options)
        watch.learn(endpoint)
        return endpoint

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Endpoint, "from_url", classmethod(from_url))
        logging.getLogger().addHandler(watch)
        yield watch
        logging.getLogger().removeHandler(watch)
    assert not watch.told, f"a secret was told: {watch.told}"
