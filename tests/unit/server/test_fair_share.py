"""What one client may take of each round of the loop, and when it is too much."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from wyoming.event import Event

from tests.unit.faults.stage import Wire
from wyoming_flux.flux import Endpoint
from wyoming_flux.minutes import DailyMinutes
from wyoming_flux.server import Limits
from wyoming_flux.server.client import SHARE, Client
from wyoming_flux.server.events import encode
from wyoming_flux.server.shared import Shared
from wyoming_flux.server.standing import Standing
from wyoming_flux.settings import FluxSettings, UtteranceSettings

from .conftest import FakeTranscriber

FORM = {"rate": 16000, "width": 2, "channels": 1}
PING = Event("ping", {"text": "?"})
CHUNK = Event("audio-chunk", FORM, bytes(32))
TINY = Event("audio-chunk", FORM, bytes(2))
START = Event("audio-start", FORM)
STOP = Event("audio-stop")
UTTERANCE = [Event("transcribe"), START, CHUNK]


class Door:
    """Lets everybody in."""

    def opened(self, client: Client) -> None: ...

    def closed(self, client: Client) -> None: ...


class Peer:
    """A client in memory, whose bytes arrive when the test says so."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.shared = Shared(
            flux=FluxSettings(),
            utterance=UtteranceSettings(),
            languages=("en",),
            host="flux.example",
            standing=Standing("flux", Endpoint.from_url("ws://127.0.0.1:1")),
            transcriber=FakeTranscriber,
            minutes=DailyMinutes(None),
            limits=Limits(),
        )
        self.wire = Wire(self.heard.append)
        self.client = Client(self.shared, b"", Door())
        self.client.connection_made(self.wire)

    def feed(self, data: bytes) -> bytes:
        """Let one read of the socket happen; return what did not fit into it."""
        buffer = self.client.get_buffer(-1)
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        self.client.buffer_updated(size)
        return data[size:]

    async def say(self, *events: Event) -> None:
        """Send events as fast as they are read, until all were, or the server has had enough."""
        rest = b"".join(encode(event) for event in events)
        while rest and not self.client.closing:
            await self.wire.readable()
            rest = self.feed(rest)
        for _ in range(1000):
            await asyncio.sleep(0)

    @property
    def error(self) -> str | None:
        """Text of the last event, where it is an error with the code for a flood."""
        last = self.heard[-1].data if self.heard else {}
        return last["text"] if last.get("code") == "invalid-event" else None

    async def leave(self) -> None:
        """Go away."""
        self.client.connection_lost(None)
        await asyncio.sleep(0)


@pytest.fixture
def peer(run_virtual: Any) -> Callable[[Callable[[Peer], Any]], None]:
    """Run a coroutine function with a client in memory, in virtual time."""

    def run(play: Callable[[Peer], Any]) -> None:
        async def main() -> None:
            one = Peer()
            await play(one)
            await one.leave()
            while tasks := one.shared.tasks:
                await asyncio.wait(set(tasks))

        run_virtual(main)

    return run


def test_a_round_of_the_loop_has_64_events_of_a_client(peer: Any) -> None:
    """What came beyond waits, unread input as well, and all of it is answered in the end."""

    async def play(one: Peer) -> None:
        count = 5 * SHARE
        rest = one.feed(encode(PING) * count)
        assert rest == b""
        for taken in range(1, 6):
            assert len(one.heard) == taken * SHARE
            assert one.wire.is_read == (taken == 5)
            await asyncio.sleep(0)
        assert len(one.heard) == count

    peer(play)


def test_one_read_takes_32_kib(peer: Any) -> None:
    """However much has arrived."""

    async def play(one: Peer) -> None:
        assert len(one.client.get_buffer(1 << 20)) == 32 * 1024

    peer(play)


FLOODS = {
    "pings": ([PING] * 2001, "2000 events"),
    "unknown events": ([Event("x")] * 2001, "2000 events"),
    "chunks that hold no audio": ([START, *[TINY] * 2000], "2000 events"),
    "ends": ([STOP] * 2001, "2000 events"),
    "beginnings": ([START] * 11, "10 utterances"),
    "wishes": ([Event("transcribe")] * 11, "10 utterances"),
}


@pytest.mark.parametrize(("events", "says"), FLOODS.values(), ids=FLOODS)
def test_a_flood_is_closed_with_a_reason(peer: Any, events: list[Event], says: str) -> None:
    """One event less is fine; with it, an error says which limit it was."""

    async def play(one: Peer) -> None:
        await one.say(*events[:-1])
        assert one.error is None
        assert not one.client.closing
        await one.say(events[-1])
        assert one.error is not None
        assert says in one.error
        assert one.client.closing

    peer(play)


MANNERS = {
    "a file in chunks of 1 ms": [*UTTERANCE, *[CHUNK] * 20_000],
    "ten utterances at once": UTTERANCE * 10,
}


@pytest.mark.parametrize("events", MANNERS.values(), ids=MANNERS)
def test_what_is_no_flood(peer: Any, events: list[Event]) -> None:
    """Audio may come as fast as it is read."""

    async def play(one: Peer) -> None:
        await one.say(*events)
        assert one.error is None
        assert not one.client.closing

    peer(play)


def test_a_second_later_there_is_a_new_allowance(peer: Any) -> None:
    """Many events over a long time are no flood."""

    async def play(one: Peer) -> None:
        for _ in range(5):
            await one.say(*[PING] * 1900, *UTTERANCE * 9)
            await asyncio.sleep(1)
        assert not one.client.closing

    peer(play)


def test_a_slow_round_gives_no_new_allowance(peer: Any) -> None:
    """Who fills each read is ahead of us, and is not taken for slow because we are."""

    async def play(one: Peer) -> None:
        block = (encode(PING) * 1000)[: 32 * 1024]
        for _ in range(10):
            if not one.client.closing:
                await one.wire.readable()
                one.feed(block)
                await asyncio.sleep(2)
        assert one.client.closing

    peer(play)
