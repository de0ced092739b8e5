"""The port has no password: no input makes the server raise, leak, or forget other clients."""

import asyncio
import itertools
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wyoming.event import Event

from wyoming_flux.errors import FluxTimeout
from wyoming_flux.server import Limits
from wyoming_flux.server.events import encode

from .conftest import tasks

few = settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

nonsense = (
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.sampled_from([16000, 44100, 2, 1, 10**25, -(10**25), 1e308, "en", "de", "x" * 300])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.lists(st.text("ab", max_size=3) | st.integers(), max_size=3)
    | st.dictionaries(st.text("ab", max_size=2), st.integers(), max_size=2)
)
FIELDS = (
    "rate width channels timestamp language name vad_sensitivity transcript_names transcript_terms"
    " text context"
).split()
TYPES = "transcribe audio-start audio-chunk audio-stop describe ping transcript error x".split()
GOOD = {"rate": 16000, "width": 2, "channels": 1}

odd_events = st.builds(
    Event,
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(FIELDS), nonsense, max_size=4),
    st.none() | st.binary(max_size=4000),
)
good_events = st.sampled_from(
    [
        Event("transcribe", {"language": "en"}),
        Event("audio-start", GOOD),
        Event("audio-chunk", GOOD, bytes(3200)),
        Event("audio-chunk", {"rate": 44100, "width": 3, "channels": 2}, bytes(20_000)),
        Event("audio-stop"),
        Event("describe"),
        Event("ping", {"text": "x"}),
    ]
)
malformed = st.binary(max_size=40) | st.sampled_from(
    [
        b"\n",
        b"{}\n",
        b"[" * 70_000,
        b'{"type": "x", "payload_length": -1}\n',
        b'{"type": "x", "payload_length": 1e9}\n',
        b'{"type": "audio-chunk", "payload_length": 1000000}\nx',
        b'{"type": "x", "data": {"n": NaN}}\n',
        b'{"type": "\xff"}\n',
        b'{"type": "x", "data_length": 200000}\n' + b"[" * 200_000,
    ]
)


@few
@given(
    script=st.lists(st.one_of(good_events, odd_events, malformed), max_size=12),
    cuts=st.lists(st.integers(0, 10**6), max_size=4),
    reactions=st.lists(st.sampled_from(["hear", "say", "fail", "wait"]), max_size=6),
    reset=st.booleans(),
)
async def test_any_bytes_in_any_order(
    serve: Any, script: list[Any], cuts: list[int], reactions: list[str], reset: bool
) -> None:
    """Whatever one client sends and whatever Flux makes of it, another client's turn is right.

    The fixture sees to it that nothing was raised, logged with a traceback, or left behind.
    """
    one = await serve()
    client, other = await one.connect(), await one.connect()
    data = b"".join(encode(part) if isinstance(part, Event) else part for part in script)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        client.writer.write(data[start:end])
        await other.alive()
        react(one.utterances, reactions)
    await other.send(
        Event("transcribe", {"transcript_names": ["mine"]}),
        Event("audio-start", GOOD),
        Event("audio-chunk", GOOD, b"\5\6" * 1600),
        Event("audio-stop"),
    )
    if reset:
        client.writer.transport.abort()
    number = one.utterances.index(await one.utterance_for("mine")) + 1
    utterance = await one.answers(other, "my own words", number)
    assert bytes(utterance.received) == b"\5\6" * 1600
    await one.shut()
    assert tasks() == []


def react(utterances: list[Any], reactions: list[str]) -> None:
    """Let Flux answer, say something, fail, or leave the client waiting."""
    for utterance, reaction in zip(utterances, reactions, strict=False):
        if utterance.done:
            continue
        if reaction == "hear":
            utterance.hear("something")
        elif reaction == "say":
            utterance.partial("some")
        elif reaction == "fail":
            utterance.fail(FluxTimeout("too late"))


async def test_thousands_of_connections(speaking: Any) -> None:
    """A crowd that connects and says nothing does not keep a speaker from being answered."""
    one, speaker, utterance = await speaking(max_connections=16)
    for _ in range(20):
        crowd = [await one.connect() for _ in range(100)]
        assert one.server.connections <= 16
        for stranger in crowd:
            stranger.close()
        one.clients.clear()
    utterance.hear("still here")
    assert await speaker.read_answer() == "still here"
    await speaker.alive()
    speaker.close()


async def test_a_slow_drip_costs_its_size(serve: Any) -> None:
    """The largest event, byte by byte in effect, is not copied at each drop nor held twice."""
    one = await serve()
    client = await one.connect()
    await client.send(json.dumps({"type": "x", "payload_length": 2**20}).encode() + b"\n")
    await client.send(b"x" * 1000)
    other = await one.connect()
    await other.alive()
    tracemalloc.start()
    try:
        for _ in range(1000):
            await client.send(b"x" * 1000)
        await other.alive()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2 * 2**20
    await client.send(b"x" * (2**20 - 1_001_000))
    await client.alive()


async def test_memory_of_a_client_that_sends_and_never_ends(speaking: Any) -> None:
    """Audio that the transcriber does not take is bounded in the server, however much is sent."""
    one, client, utterance = await speaking(limits=Limits(tick=0.02, unsent_audio=100_000))
    await utterance.heard(3200)
    utterance.room.clear()
    other = await one.connect()
    tracemalloc.start()
    try:
        chunk = encode(Event("audio-chunk", GOOD, bytes(20_000)))
        sending = asyncio.create_task(client.send(*[chunk] * 1500))
        await client.stuck(other)
        ours = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(inclusive=True, filename_pattern="*/wyoming_flux/server/*")]
        )
        held = sum(trace.size for trace in ours.traces)
    finally:
        tracemalloc.stop()
    assert held < 500_000
    client.writer.transport.abort()
    await asyncio.gather(sending, return_exceptions=True)


async def test_many_utterances_at_once_are_taken_one_by_one(serve: Any) -> None:
    """A hundred in one write make one transcriber after the other, not a hundred."""
    one = await serve(limits=Limits(utterances_per_second=100))
    client = await one.connect()
    await client.send(*[Event("audio-start", GOOD), Event("audio-stop")] * 100)
    for number in range(1, 101):
        await one.utterance(number)
        assert len(one.utterances) == number
        assert len(tasks()) <= 3
        await one.answers(client, str(number), number)
    await client.alive()


async def test_utterances_that_replace_each_other_leave_nothing(serve: Any) -> None:
    """Hundreds of transcribes in one write: only the last is heard, all others are closed."""
    one = await serve(limits=Limits(utterances_per_second=1000))
    client = await one.connect()
    await client.send(*[Event("transcribe"), Event("audio-start", GOOD)] * 900, Event("audio-stop"))
    await client.alive()
    utterance = one.utterances[-1]
    await utterance.ended.wait()
    utterance.hear("the last")
    assert await client.read_answer() == "the last"
    assert all(former.closed.is_set() for former in one.utterances)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
async def test_audio_formats_from_hell(serve: Any, width: int) -> None:
    """The largest chunk of the widest audio is converted, while another client is answered."""
    one = await serve()
    form = {"rate": 8000 if width == 1 else 192_000, "width": width, "channels": 8}
    client, other = await one.connect(), await one.connect()
    await client.send(Event("audio-start", form), *[Event("audio-chunk", form, bytes(2**20))] * 3)
    await other.alive()
    await client.send(Event("audio-stop"))
    utterance = await one.utterance()
    await utterance.ended.wait()
    seconds = 3 * 2**20 / (form["rate"] * width * 8)
    assert len(utterance.received) == pytest.approx(seconds * 32_000, abs=4)
