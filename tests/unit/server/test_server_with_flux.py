"""The whole path over real sockets: wyoming client, server, transcriber, Flux simulator."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from wyoming.audio import AudioStop

from wyoming_flux.settings import UtteranceSettings
from wyoming_flux.simulator import Simulator

TEXT = "turn on the living room light"
Spoken = Callable[..., bytes]


@pytest.fixture
async def flux(serve: Any) -> AsyncIterator[Callable[..., Awaitable[tuple[Any, Simulator]]]]:
    """Start a simulator that is as fast as the audio comes, and a server on it."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**options: Any) -> tuple[Any, Simulator]:
            simulator = await stack.enter_async_context(Simulator(ingest_rate=0))
            return await serve(real=True, endpoint=simulator.url, **options), simulator

        yield start


async def until(one: Any, true: Callable[[], Any]) -> None:
    """Wait for something at Flux's end, while the server goes on answering others."""
    other = await one.connect()
    async with asyncio.timeout(10):
        while not true():
            await other.alive()
    other.close()


async def test_early_answer_with_partial_text(flux: Any, say: Any, spoken: Spoken) -> None:
    """The answer comes on Flux's word, without audio-stop; Flux is then closed."""
    one, simulator = await flux()
    client = await one.connect()
    await client.send(*say(spoken(0.2, 2.0, 1.0), language="en"))
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
    await until(one, lambda: all(each.close_code for each in simulator.connections))
    await client.send(*say(spoken(0.2), stop=True)[2:])
    await client.alive()
    assert one.server.minutes.seconds == pytest.approx(report.audio_seconds)


async def test_a_whole_file_at_once_then_another(flux: Any, say: Any, spoken: Spoken) -> None:
    """Two turns on one connection, each ended by the client; every byte reaches Flux."""
    one, simulator = await flux(turn=UtteranceSettings(answer_on="audio-stop"))
    client = await one.connect()
    for number in range(2):
        pcm = spoken(0.1, 1.7, 0.05 + number)
        await client.send(*say(pcm, stop=True))
        assert await client.read_answer() == TEXT
        assert bytes(simulator.connections[number].audio or b"").startswith(pcm)


@pytest.mark.parametrize("form", [(44100, 2, 2), (8000, 1, 1), (48000, 3, 6)])
async def test_any_format(flux: Any, say: Any, spoken: Spoken, form: tuple[int, int, int]) -> None:
    """Other formats are understood as well as 16 kHz mono."""
    rate, width, channels = form
    mono = spoken(0.2, 2.0, 0.8, rate=rate)
    samples = [mono[at : at + 2] for at in range(0, len(mono), 2)]
    if width == 1:
        samples = [bytes([sample[1] ^ 0x80]) for sample in samples]
    pcm = b"".join((b"\0" * (width - 2) + sample) * channels for sample in samples)
    one, _ = await flux()
    client = await one.connect()
    await client.send(*say(pcm, rate=rate, width=width, channels=channels))
    assert await client.read_answer() == TEXT


@pytest.mark.parametrize("answer_on", ["end-of-turn", "audio-stop"])
async def test_minutes_used_up_in_mid_sentence(
    flux: Any, say: Any, spoken: Spoken, answer_on: Any
) -> None:
    """The sentence is heard to its end, and costs a little more; the next one is refused."""
    one, simulator = await flux(daily_minutes=0.01, turn=UtteranceSettings(answer_on=answer_on))
    client = await one.connect()
    said = say(spoken(0.2, 2.0, 1.0), stop=True)
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
