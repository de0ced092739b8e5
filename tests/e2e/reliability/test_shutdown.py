"""The server as a process: signals in the middle of turns, what is in the way at the start."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.coded import CodedRecognizer, speak
from tests.support.processes import WyomingClient
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import Refuse, Stall

Serve = Callable[..., Awaitable[Any]]
FORMAT = {"rate": 16000, "width": 2, "channels": 1}
WORDS = "close the garage door"
SILENCE = bytes(3200)


async def begin(uri: str, audio: bytes) -> WyomingClient:
    """Connect, begin a turn, and send the beginning of the audio."""
    client = await WyomingClient.connect(uri)
    await client.begin()
    await client.fast(audio)
    return client


async def say(uri: str, text: str = WORDS) -> dict[str, Any]:
    """Take a whole turn; return what is in its answer."""
    async with await begin(uri, SILENCE + speak(text) + SILENCE) as client:
        await client.stop()
        return (await client.answer(15.0)).data


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_in_the_middle_of_turns(serve: Serve, number: int) -> None:
    """Turns that run are answered with their text, idle clients are let go, the exit code is 0."""
    async with Simulator(recognizer=CodedRecognizer) as flux:
        server = await serve("--worker-url", flux.url)
        audio = SILENCE + speak(WORDS)
        talking = [await begin(server.uri, audio[: i * 6400]) for i in range(1, 4)]
        idle = await WyomingClient.connect(server.uri)
        server.process.send_signal(number)
        await idle.gone()
        with pytest.raises(ConnectionRefusedError):
            await say(server.uri)
        for i, one in enumerate(talking, 1):
            await one.fast(audio[i * 6400 :])
            await one.stop()
        answers = await asyncio.gather(*(one.answer() for one in talking))
        assert [one.data.get("text") for one in answers] == [WORDS] * 3
        for one in (idle, *talking):
            await one.leave()
        assert await server.end() == 0


async def test_a_turn_that_cannot_end_is_answered_with_an_error(serve: Serve) -> None:
    """What is not over five seconds after SIGTERM gets an error; nobody waits longer."""
    async with Simulator(recognizer=CodedRecognizer, faults=[Stall(after=0.1)]) as flux:
        server = await serve("--worker-url", flux.url)
        async with await begin(server.uri, SILENCE * 20) as talking:
            server.process.send_signal(signal.SIGTERM)
            assert (await talking.answer(15.0)).data["code"] in ("busy", "timeout")
        assert await server.end() == 0


async def test_flux_down_at_the_start(serve: Serve) -> None:
    """The server starts without Flux, says what is wrong in each turn, and works later."""
    async with Simulator(recognizer=CodedRecognizer, faults=[Refuse(status=503)]) as flux:
        server = await serve("--worker-url", flux.url)
        assert (await say(server.uri))["code"] == "unreachable"
        flux.faults.clear()
        assert (await say(server.uri))["text"] == WORDS
    # Nobody listens there any more.
    assert (await say(server.uri))["code"] == "unreachable"
    assert await server.end(signal.SIGTERM) == 0


async def test_a_port_in_use(serve: Serve) -> None:
    """The second server says so and ends; the first goes on."""
    async with Simulator(recognizer=CodedRecognizer) as flux:
        first = await serve("--worker-url", flux.url)
        second = await serve("--worker-url", flux.url, "--uri", first.uri, ready=False)
        assert await second.end() != 0
        assert any("cannot listen" in line for line in second.log), second.log
        assert (await say(first.uri))["text"] == WORDS


async def test_a_socket_file_left_over(serve: Serve, tmp_path: Path) -> None:
    """After kill -9 the file is there, and the next server takes it; never a living one's."""
    uri = f"unix://{tmp_path / 'flux.sock'}"
    async with Simulator(recognizer=CodedRecognizer) as flux:
        first = await serve("--worker-url", flux.url, "--uri", uri)
        second = await serve("--worker-url", flux.url, "--uri", uri, ready=False)
        assert await second.end() != 0
        assert any("another server answers" in line for line in second.log), second.log
        await first.end(signal.SIGKILL)
        assert (tmp_path / "flux.sock").is_socket()
        third = await serve("--worker-url", flux.url, "--uri", uri)
        assert (await say(third.uri))["text"] == WORDS
        assert await third.end(signal.SIGTERM) == 0
        assert not (tmp_path / "flux.sock").exists()
