"""The whole path over real sockets: wyoming client, server, transcriber, Flux simulator."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event

from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import parse

TEXT = "turn on the living room light"
Spoken = Callable[..., bytes]


@pytest.fixture
async def flux(serve: Any) -> AsyncIterator[Callable[..., Awaitable[tuple[Any, Simulator]]]]:
    """Start a simulator as fast as the audio comes, and a server on it."""
    simulators: list[Simulator] = []

    async def start(
        *,
        faults: tuple[str, ...] = (),
        token: str | None = None,
        profile: str = "workers-ai",
        **options: Any,
    ) -> tuple[Any, Simulator]:
        simulator = Simulator(
            ingest_rate=0,
            faults=[parse(fault) for fault in faults],
            token=token,
            profile=profile,
        )
        await simulator.__aenter__()
        simulators.append(simulator)
        return await serve(real=True, endpoint=simulator.url, **options), simulator

    yield start
    for simulator in simulators:
        await simulator.__aexit__(None, None, None)


def events(
    pcm: bytes, *, stop: bool, form: tuple[int, int, int] = (16000, 2, 1), **fields: Any
) -> list[Event]:
    """Return the events of an utterance, in chunks of 10 ms."""
    rate, width, channels = form
    size = rate * width * channels // 100
    return [
        Transcribe(**fields).event(),
        AudioStart(rate, width, channels).event(),
        *(
            AudioChunk(rate, width, channels, pcm[at : at + size]).event()
            for at in range(0, len(pcm), size)
        ),
        *([AudioStop().event()] if stop else []),
    ]


async def until(one: Any, true: Callable[[], Any]) -> None:
    """Wait for something at Flux's end, while the server goes on answering others."""
    other = await one.connect()
    async with asyncio.timeout(10):
        while not true():
            await other.alive()
    other.close()


async def gone(one: Any, simulator: Simulator) -> None:
    """Wait until Flux knows that its connections are closed."""
    await until(one, lambda: all(each.close_code for each in simulator.connections))


async def test_early_answer_with_partial_text(flux: Any, spoken: Spoken) -> None:
    """The answer comes on Flux's word, without audio-stop; Flux is then closed."""
    one, simulator = await flux()
    client = await one.connect()
    await client.send(*events(spoken(0.2, 2.0, 1.0), stop=False, language="en"))
    assert (await client.read_any()).type == "transcript-start"
    text = ""
    while (event := await client.read_any()).type == "transcript-chunk":
        text += event.data["text"]
    assert (event.type, event.data["text"], text) == ("transcript", TEXT, TEXT)
    await client.read_type("transcript-stop")
    report = await one.report()
    assert (report.trigger, report.attempts) == ("end-of-turn", 1)
    assert report.after_audio_ms is not None
    assert report.connect_ms is not None
    await gone(one, simulator)
    await client.send(*events(spoken(0.2), stop=True)[2:])
    await client.alive()
    assert one.server.minutes.seconds == pytest.approx(report.audio_seconds)


async def test_a_whole_file_at_once_then_another(flux: Any, spoken: Spoken) -> None:
    """Two turns on one connection, each ended by the client; every byte reaches Flux."""
    one, simulator = await flux(turn=UtteranceSettings(answer_on="audio-stop"))
    client = await one.connect()
    for number in range(2):
        pcm = spoken(0.1, 1.7, 0.05 + number)
        await client.send(*events(pcm, stop=True))
        assert await client.read_answer() == TEXT
        await gone(one, simulator)
        assert bytes(simulator.connections[number].audio or b"").startswith(pcm)


@pytest.mark.parametrize("form", [(44100, 2, 2), (8000, 1, 1), (48000, 3, 6)])
async def test_any_format(flux: Any, spoken: Spoken, form: tuple[int, int, int]) -> None:
    """Other formats are understood as well as 16 kHz mono."""
    rate, width, channels = form
    mono = spoken(0.2, 2.0, 0.8, rate=rate)
    samples = [mono[at : at + 2] for at in range(0, len(mono), 2)]
    if width == 1:
        samples = [bytes([sample[1] ^ 0x80]) for sample in samples]
    pcm = b"".join((b"\0" * (width - 2) + sample) * channels for sample in samples)
    one, _ = await flux()
    client = await one.connect()
    await client.send(*events(pcm, form=form, stop=False))
    assert await client.read_answer() == TEXT


async def test_nothing_said(flux: Any, spoken: Spoken) -> None:
    """Silence gives an empty transcript, with the frame of a streaming answer, and no error."""
    one, _ = await flux()
    client = await one.connect()
    await client.send(*events(spoken(0.5), stop=True))
    assert await client.read_answer() == ""
    assert await one.outcome() == "audio-stop"


async def test_a_lost_connection_does_not_change_the_transcript(flux: Any, spoken: Spoken) -> None:
    """Flux drops in the middle of speech: replayed, and the same text comes."""
    one, simulator = await flux(faults=("drop:after=1.0,code=1011,connection=1",))
    client = await one.connect()
    await client.send(*events(spoken(0.2, 2.0, 1.0), stop=False))
    assert await client.read_answer() == TEXT
    assert len(simulator.connections) == 2
    assert (await one.report()).attempts == 2


async def test_a_wrong_token(flux: Any, spoken: Spoken) -> None:
    """Auth, at once, and not before a turn is asked for."""
    one, _ = await flux(token="the right one", route="workers-ai")
    client = await one.connect()
    await client.send(Event("describe"))
    await client.read_type("info")
    await client.send(*events(spoken(0.2, 1.0), stop=False))
    code, text = await client.read_error()
    assert code == "auth"
    assert "right one" not in text


async def test_nothing_listens(serve: Any, spoken: Spoken) -> None:
    """Unreachable, as an error event; the connection stays usable."""
    one = await serve(real=True, endpoint="ws://127.0.0.1:1")
    client = await one.connect()
    await client.send(*events(spoken(0.2, 1.0), stop=True))
    assert (await client.read_error())[0] == "unreachable"
    await client.alive()
    assert await one.outcome() == "unreachable"


@pytest.mark.parametrize("stop", [False, True])
async def test_disconnecting_in_the_middle(flux: Any, spoken: Spoken, stop: bool) -> None:
    """The Flux socket closes when the client does."""
    one, simulator = await flux(faults=("stall",))
    client = await one.connect()
    await client.send(*events(spoken(0.2, 1.0), stop=stop))
    await until(one, lambda: simulator.connections and simulator.connections[0].audio_bytes)
    client.close()
    await gone(one, simulator)
    assert await one.outcome() is None


async def test_settings_reach_flux(flux: Any, spoken: Spoken) -> None:
    """What the event asks for is in the query of this turn's connection, and of no other's."""
    one, simulator = await flux(
        flux=FluxSettings(keyterms=("porch",)), profile="deepgram", route="deepgram"
    )
    client = await one.connect()
    asked: list[dict[str, Any]] = [
        {"vad_sensitivity": "relaxed", "transcript_names": ["Ecobee"]},
        {},
    ]
    for fields in asked:
        await client.send(*events(spoken(0.2, 2.0, 0.5), stop=True, **fields))
        assert await client.read_answer() == TEXT
    first, second = (connection.query for connection in simulator.connections)
    assert [value for name, value in first if name == "keyterm"] == ["Ecobee", "porch"]
    assert [value for name, value in second if name == "keyterm"] == ["porch"]
    assert dict(first)["eot_threshold"] == "0.85"
    assert "eot_threshold" not in dict(second)  # Flux's own


async def test_stopping_in_the_middle(flux: Any, spoken: Spoken) -> None:
    """A running turn is answered although the server stops; then the client sees the end."""
    one, _ = await flux()
    client = await one.connect()
    pcm = spoken(0.2, 2.0, 1.0)
    half = events(pcm, stop=True)
    await client.send(*half[:100])
    await client.read_type("transcript-start")
    stopping = asyncio.create_task(one.server.stop())
    await client.send(*half[100:])
    while (event := await client.read_any()).type == "transcript-chunk":
        pass
    assert (event.type, event.data) == ("transcript", {"text": TEXT})
    await client.read_type("transcript-stop")
    assert await client.read() is None
    client.close()
    await stopping


@pytest.mark.parametrize("answer_on", ["end-of-turn", "audio-stop"])
async def test_minutes_used_up_in_mid_sentence(flux: Any, spoken: Spoken, answer_on: Any) -> None:
    """The sentence is heard to its end, and costs a little more; the next one is refused."""
    one, simulator = await flux(daily_minutes=0.01, turn=UtteranceSettings(answer_on=answer_on))
    client = await one.connect()
    said = events(spoken(0.2, 2.0, 1.0), stop=True)
    await client.send(*said[:72])
    heard = simulator.connections
    await until(one, lambda: heard and heard[0].audio_bytes > 20_000)
    await client.send(*said[72:122])
    await until(one, lambda: one.server.minutes.exhausted)
    await client.send(*said[122 : None if answer_on == "audio-stop" else -1])
    assert await client.read_answer() == TEXT
    await one.report()
    await client.send(AudioStop().event(), *said)
    assert (await client.read_error())[0] == "quota"
    assert len(simulator.connections) == 1


async def test_a_stray_chunk_costs_nothing(flux: Any, spoken: Spoken) -> None:
    """What a satellite sends after its audio-stop opens no connection, and has no answer."""
    one, simulator = await flux()
    client = await one.connect()
    said = events(spoken(0.2, 2.0, 0.5), stop=True)
    stray = events(spoken(0.1), stop=False)[2:]
    for number in (1, 2):
        await client.send(*said, *stray)
        assert await client.read_answer() == TEXT
        await client.send(*stray)
        await client.alive()
        await gone(one, simulator)
        assert len(simulator.connections) == number
