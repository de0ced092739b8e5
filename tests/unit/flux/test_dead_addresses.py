"""Names that lead to dead addresses, and resolvers that take their time; on real sockets."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from wyoming_flux.errors import EndpointError
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.settings import FluxSettings
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import parse

DEAD = "127.0.0.2"
GOOD = "127.0.0.1"


@contextlib.contextmanager
def swallowing(port: int, host: str = DEAD) -> Iterator[None]:
    """Be an address that answers no packet: its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect((host, port))
        yield


class Resolver:
    """Stands in for the system's: counts its look-ups, and can be slow."""

    def __init__(self, *addresses: str, seconds: float = 0.0) -> None:
        self.addresses = addresses
        self.seconds = seconds
        self.asked = 0

    async def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        await asyncio.sleep(self.seconds)  # a resolver that takes its time
        if host != "flux.test":
            # The loop asks for the addresses that it was given, too.
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in self.addresses]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Resolver]:
    """Make the running loop ask a stand-in for the system's resolver."""

    def make(*addresses: str, seconds: float = 0.0) -> Resolver:
        made = Resolver(*addresses, seconds=seconds)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", made)
        return made

    return make


def connector_to(port: int) -> Connector:
    """Return the way to a name that the stand-in for the resolver knows."""
    return Connector(Endpoint.from_url(f"ws://flux.test:{port}", route="workers-ai"))


def port_of(simulator: Simulator) -> int:
    """Return where a simulator listens."""
    return int(simulator.url.rpartition(":")[2])


async def test_a_dead_address_before_a_good_one(resolver: Callable[..., Resolver]) -> None:
    """The good address is used on the first attempt, and is the first to be tried afterwards."""
    resolver(DEAD, GOOD)
    async with Simulator() as simulator:
        with swallowing(port_of(simulator)):
            connector = connector_to(port_of(simulator))
            took = []
            for _ in range(2):
                started = time.monotonic()
                await (await connector.connect(FluxSettings())).close()
                took.append(time.monotonic() - started)
        assert len(simulator.connections) == 2
    assert 0.25 <= took[0] < 1.5
    assert took[1] < 0.25


async def test_a_refused_address_is_not_waited_for(resolver: Callable[..., Resolver]) -> None:
    """An address where nobody listens costs nothing: the next one is tried at once."""
    resolver("127.0.0.3", "127.0.0.4", GOOD)
    async with Simulator() as simulator:
        started = time.monotonic()
        await (await connector_to(port_of(simulator)).connect(FluxSettings())).close()
        assert time.monotonic() - started < 0.25


async def test_dead_addresses_alone(resolver: Callable[..., Resolver]) -> None:
    """Where nothing answers, the time that was given is the bound."""
    resolver(DEAD)
    async with Simulator() as simulator:
        with swallowing(port_of(simulator)), pytest.raises(EndpointError) as caught:
            await connector_to(port_of(simulator)).connect(FluxSettings(), timeout=0.3)
    assert caught.value.code == "timeout"


async def test_all_addresses_refuse(resolver: Callable[..., Resolver]) -> None:
    """Where nobody listens on any address, the reason is that of the first."""
    resolver("127.0.0.3", "127.0.0.4")
    with socket.socket() as unused:
        unused.bind((GOOD, 0))
        port = unused.getsockname()[1]
        with pytest.raises(EndpointError, match="cannot be reached: Connection refused"):
            await connector_to(port).connect(FluxSettings())


async def test_no_address_at_all(resolver: Callable[..., Resolver]) -> None:
    """A name that leads nowhere is a fault with its reason, not an exception of ours."""
    resolver()
    with pytest.raises(EndpointError, match="leads to no address"):
        await connector_to(9).connect(FluxSettings())


async def test_a_look_up_outlives_an_attempt(resolver: Callable[..., Resolver]) -> None:
    """An attempt that is given up takes no look-up from the one beside it."""
    asked = resolver(GOOD, seconds=0.4)
    async with Simulator() as simulator:
        connector = connector_to(port_of(simulator))
        started = time.monotonic()
        first = asyncio.create_task(connector.connect(FluxSettings()))
        await asyncio.sleep(0.2)  # what the clock says is what is tested
        second = asyncio.create_task(connector.connect(FluxSettings()))
        await asyncio.sleep(0.1)
        first.cancel()
        await (await second).close()
        assert time.monotonic() - started < 0.55
        assert asked.asked == 1
        assert first.cancelled()
        # Not kept: the next attempt asks anew.
        await (await connector.connect(FluxSettings())).close()
        assert asked.asked == 2


@pytest.mark.slow
async def test_a_slow_look_up_is_waited_for(resolver: Callable[..., Resolver]) -> None:
    """A resolver that takes three seconds costs three seconds, not the sentence."""
    resolver(GOOD, seconds=3.0)
    async with Simulator() as simulator:
        connection = await connector_to(port_of(simulator)).connect(FluxSettings())
        assert 3000 <= connection.connect_ms < 4000
        await connection.close()


async def test_a_look_up_that_nobody_waits_for_ends(resolver: Callable[..., Resolver]) -> None:
    """The last attempt that is given up takes its look-up along: no task is left over."""
    resolver(GOOD, seconds=60.0)
    connector = connector_to(9)
    attempts = [asyncio.create_task(connector.connect(FluxSettings())) for _ in range(2)]
    await asyncio.sleep(0)
    before = asyncio.all_tasks()
    for attempt in attempts:
        attempt.cancel()
    await asyncio.wait(attempts)
    await asyncio.sleep(0)
    assert not {one for one in before | asyncio.all_tasks() if not one.done()} - {
        asyncio.current_task()
    }


@pytest.mark.slow
async def test_a_slow_handshake_is_waited_for() -> None:
    """An endpoint that takes three seconds to open a stream opens it."""
    async with Simulator(faults=[parse("connect-late:seconds=3")]) as simulator:
        connection = await Connector(Endpoint.from_url(simulator.url, route="workers-ai")).connect(
            FluxSettings()
        )
        assert connection.connect_ms >= 3000
        await connection.close()
