"""What all tests share: hypothesis profiles, virtual time, and Flux in memory."""

import asyncio
import logging
import os
import selectors
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import hypothesis
import pytest

from tests.support import memory_flux
from wyoming_flux.flux import Endpoint

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile(
    "fast",
    deadline=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    max_examples=40,
)
hypothesis.settings.register_profile(
    "mutate",
    deadline=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    derandomize=True,
    database=None,
    max_examples=40,
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a timeout, moves the loop's clock to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.jump: tuple[float, float] | None = None
        """When the process stands still, and for how long."""

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: nothing is scheduled and nothing can happen")
        if not ready and timeout is not None:
            self.now += timeout
        if self.jump is not None and self.now >= self.jump[0]:
            self.now, self.jump = self.now + self.jump[1], None
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


@pytest.fixture
def memory_connector() -> Callable[..., memory_flux.MemoryConnector]:
    """Make a connector to a simulator in memory."""
    return memory_flux.memory_connector


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
