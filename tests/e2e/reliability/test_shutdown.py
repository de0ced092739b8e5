"""The server as a process: signals in the middle of turns, what is in the way at the start."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.event import Event

from tests.support.coded import CodedRecognizer, speak
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import Refuse, Stall

Serve = Callable[..., Awaitable[Any]]
FORMAT = {"rate": 16000, "width": 2, "channels": 1}
WORDS = "close the garage door"
SILENCE = bytes(3200)


class Talking:
    """A client in the middle of its turn."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client

    @classmethod
    async def begin(cls, uri: str, audio: bytes) -> "Talking":
        """Connect, begin a turn, and send the beginning of the audio."""
        client = AsyncClient.from_uri(uri)
        await client.connect()
        await client.write_event(Transcribe().event())
        await client.write_event(AudioStart(**FORMAT).event())
        talking = cls(client)
        await talking.send(audio)
        return talking

    async def send(self, audio: bytes) -> None:
        """Send audio."""
        for at in range(0, len(audio), 3200):
            chunk = AudioChunk(**FORMAT, audio=audio[at : at + 3200])
            await self.client.write_event(chunk.event())

    async def stop(self) -> None:
        """Say that the audio is over."""
        await self.client.write_event(AudioStop().event())

    async def answer(self, patience: float = 15.0) -> Event | None:
        """Wait for the answer; None where the connection is closed without one."""
        async with asyncio.timeout(patience):
            try:
                while (event := await self.client.read_event()) is not None:
                    if event.type in ("transcript", "error"):
                        return event
            except ConnectionError:
                pass
            finally:
                await leave(self.client)
        return None


async def leave(client: AsyncClient) -> None:
    """Close a client; that its server is gone is no fault of it."""
    with contextlib.suppress(OSError):
        await client.disconnect()


async def say(uri: str, text: str = WORDS) -> Event | None:
    """Take a whole turn."""
    talking = await Talking.begin(uri, SILENCE + speak(text) + SILENCE)
    await talking.stop()
    return await talking.answer()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_in_the_middle_of_turns(serve: Serve, number: int) -> None:
    """Turns that run are answered with their text, idle clients are let go, the exit code is 0."""
    async with Simulator(recognizer=CodedRecognizer) as flux:
        server = await serve("--worker-url", flux.url)
        audio = SILENCE + speak(WORDS)
        talking = [await Talking.begin(server.uri, audio[: i * 6400]) for i in range(1, 4)]
        idle = AsyncClient.from_uri(server.uri)
        await idle.connect()
        server.process.send_signal(number)
        assert await idle.read_event() is None
        await leave(idle)
        with pytest.raises(ConnectionRefusedError):
            await say(server.uri)
        for i, one in enumerate(talking, 1):
            await one.send(audio[i * 6400 :])
            await one.stop()
        answers = await asyncio.gather(*(one.answer() for one in talking))
        assert [one.data.get("text") for one in answers if one] == [WORDS] * 3
        assert await server.end() == 0


async def test_a_turn_that_cannot_end_is_answered_with_an_error(serve: Serve) -> None:
    """What is not over five seconds after SIGTERM gets an error; nobody waits longer."""
    async with Simulator(recognizer=CodedRecognizer, faults=[Stall(after=0.1)]) as flux:
        server = await serve("--worker-url", flux.url)
        talking = await Talking.begin(server.uri, SILENCE * 20)
        server.process.send_signal(signal.SIGTERM)
        answer = await talking.answer()
        assert answer is not None
        assert answer.type == "error"
        assert answer.data["code"] in ("busy", "timeout")
        assert await server.end() == 0


async def test_flux_down_at_the_start(serve: Serve) -> None:
    """The server starts without Flux, says what is wrong in each turn, and works later."""
    async with Simulator(recognizer=CodedRecognizer, faults=[Refuse(status=503)]) as flux:
        server = await serve("--worker-url", flux.url)
        answer = await say(server.uri)
        assert answer is not None
        assert answer.data["code"] == "unreachable"
        flux.faults.clear()
        answer = await say(server.uri)
        assert answer is not None
        assert answer.data["text"] == WORDS
    # Nobody listens there any more.
    answer = await say(server.uri)
    assert answer is not None
    assert answer.data["code"] == "unreachable"
    assert await server.end(signal.SIGTERM) == 0


async def test_a_port_in_use(serve: Serve) -> None:
    """The second server says so and ends; the first goes on."""
    async with Simulator(recognizer=CodedRecognizer) as flux:
        first = await serve("--worker-url", flux.url)
        second = await serve("--worker-url", flux.url, "--uri", first.uri, ready=False)
        assert await second.end() != 0
        assert any("cannot listen" in line for line in second.log), second.log
        answer = await say(first.uri)
        assert answer is not None
        assert answer.data["text"] == WORDS


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
        answer = await say(third.uri)
        assert answer is not None
        assert answer.data["text"] == WORDS
        assert await third.end(signal.SIGTERM) == 0
        assert not (tmp_path / "flux.sock").exists()
