"""The whole product: a WAV through `wyoming-flux serve`, our Worker in workerd, Flux, and back."""

import asyncio
import contextlib
import os
import re
import sys
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest
from wyoming.asr import Transcribe, Transcript, TranscriptChunk
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error

from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import Refuse

if TYPE_CHECKING:
    from tests.e2e.worker.conftest import FarEnd, StartWorker

SECRET = "a-token-of-some-length"
ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "samples"
LIGHT = "turn_on_the_living_room_light"


class Served(NamedTuple):
    """A running server: its port, and its log so far."""

    port: int
    log: list[str]


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Run `wyoming-flux serve` as a process; each call takes the Worker URL and more options."""
    tokens = tmp_path / "token"
    tokens.write_text(SECRET + "\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WYOMING_FLUX_")}
    async with contextlib.AsyncExitStack() as stack:

        async def start(worker_url: str, *options: str, token_file: Path = tokens) -> Served:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "wyoming_flux", "serve", "--uri", "tcp://127.0.0.1:0"),
                *("--worker-url", worker_url, "--token-file", str(token_file)),
                *options,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd=ROOT,
                env=environment,
            )
            assert process.stderr is not None
            log: list[str] = []
            listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            reading = asyncio.create_task(_read(process.stderr, log, listening))
            stack.push_async_callback(_end, process, reading, log)
            async with asyncio.timeout(20):
                return Served(await listening, log)

        yield start


async def _read(
    stderr: asyncio.StreamReader, log: list[str], listening: asyncio.Future[int]
) -> None:
    async for line in stderr:
        log.append(line.decode())
        found = re.search(r"Listening on tcp://127\.0\.0\.1:(\d+)", log[-1])
        if found and not listening.done():
            listening.set_result(int(found[1]))
    if not listening.done():
        listening.set_exception(AssertionError("".join(log)))


async def _end(
    process: asyncio.subprocess.Process, reading: asyncio.Task[None], log: list[str]
) -> None:
    """Stop as a service manager does; it must end by itself, without a word of trouble."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(15):
            assert await process.wait() == 0
            await reading
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "Traceback" not in "".join(log)


class Satellite:
    """A Wyoming client that speaks as satellites do."""

    def __init__(self, client: AsyncTcpClient) -> None:
        """Take a connected client."""
        self._client = client

    async def say(self, sample: str, start: float = 0.0, end: float = 60.0) -> None:
        """Send seconds of a sample in chunks of 1024 samples; the start of it opens the turn."""
        with wave.open(str(SAMPLES / f"{sample}.wav")) as wav:
            rate, width, channels = wav.getframerate(), wav.getsampwidth(), wav.getnchannels()
            if start == 0:
                await self._client.write_event(Transcribe(language="en").event())
                opening = AudioStart(rate=rate, width=width, channels=channels)
                await self._client.write_event(opening.event())
            wav.setpos(int(start * rate))
            left = int((min(end, wav.getnframes() / rate) - start) * rate)
            while left > 0 and (audio := wav.readframes(min(1024, left))):
                chunk = AudioChunk(rate=rate, width=width, channels=channels, audio=audio)
                await self._client.write_event(chunk.event())
                left -= 1024

    async def stop(self) -> None:
        """Say that the audio is over."""
        await self._client.write_event(AudioStop().event())

    async def hear(self, *types: str) -> tuple[str, dict[str, str]]:
        """Wait for the next event of these types; others are passed over."""
        async with asyncio.timeout(30):
            while (event := await self._client.read_event()) is not None:
                if event.type in types:
                    return event.type, event.data
        raise AssertionError("the server has closed the connection")

    async def transcript(self) -> str:
        """Wait for the transcript; an error fails."""
        kind, data = await self.hear("transcript", "error")
        assert kind == "transcript", data
        return Transcript(text=data["text"]).text

    async def error(self) -> Error:
        """Wait for the error; a transcript fails."""
        kind, data = await self.hear("transcript", "error")
        assert kind == "error", data
        return Error(text=data["text"], code=data["code"])


@contextlib.asynccontextmanager
async def satellite(served: Served) -> AsyncIterator[Satellite]:
    """Connect as a satellite's assistant does."""
    async with AsyncTcpClient("127.0.0.1", served.port) as client:
        yield Satellite(client)


def text_of(sample: str) -> str:
    """Return what is said in a sample."""
    return (SAMPLES / f"{sample}.txt").read_text().strip()


def port_of(simulator: Simulator) -> int:
    """Return where a simulator listens."""
    port = urlsplit(simulator.url).port
    assert port is not None
    return port


@pytest.mark.parametrize("sample", [LIGHT, f"{LIGHT}_44k_stereo", f"{LIGHT}_8k"])
async def test_speech(start_worker: "StartWorker", serve: Serve, sample: str) -> None:
    """A WAV of any format goes all the way, and the text comes back when Flux ends the turn."""
    async with Simulator(script=[text_of(sample)], ingest_rate=0) as simulator:
        worker = await start_worker(port_of(simulator), FLUX_TOKEN=SECRET)
        served = await serve(worker.url, "--keyterm", "living room", "--sensitivity", "aggressive")
        async with satellite(served) as client:
            await client.say(sample)
            # No audio-stop: as with a satellite's microphone, the turn's own end gives the answer.
            assert await client.transcript() == text_of(sample)
        (connection,) = simulator.connections
    assert connection.parameters is not None
    assert connection.parameters.keyterms == ("living room",)
    assert connection.parameters.eot_threshold == 0.6
    assert not connection.mistakes
    assert text_of(sample) not in "".join(served.log)
    assert SECRET not in "".join(served.log)


@pytest.mark.parametrize("sample", [LIGHT, "close_the_garage_door"])
async def test_real_speech(start_worker: "StartWorker", serve: Serve, sample: str) -> None:
    """What a person says in a WAV comes back as text, with nothing in between that knew it."""
    async with Simulator(recognizer="local", ingest_rate=0) as simulator:
        worker = await start_worker(port_of(simulator), FLUX_TOKEN=SECRET)
        served = await serve(worker.url)
        async with satellite(served) as client:
            await client.say(sample)
            assert (await client.transcript()).lower().rstrip(".") == text_of(sample)


async def test_several_turns_on_one_connection(start_worker: "StartWorker", serve: Serve) -> None:
    """Turn after turn, each gets its own stream to Flux and its own text."""
    async with Simulator(script=[text_of(LIGHT)], ingest_rate=0) as simulator:
        worker = await start_worker(port_of(simulator), FLUX_TOKEN=SECRET)
        served = await serve(worker.url)
        async with satellite(served) as client:
            for turns in range(1, 4):
                await client.say(LIGHT)
                await client.stop()
                assert await client.transcript() == text_of(LIGHT)
                assert len(simulator.connections) == turns


async def test_wrong_token(start_worker: "StartWorker", serve: Serve) -> None:
    """A wrong token is an error that says so; nothing reaches Flux, and the connection lives on."""
    async with Simulator(ingest_rate=0) as simulator:
        worker = await start_worker(port_of(simulator), FLUX_TOKEN="another-token-entirely")
        served = await serve(worker.url)
        async with satellite(served) as client:
            for _ in range(2):
                await client.say(LIGHT)
                await client.stop()
                error = await client.error()
                assert error.code == "auth"
                assert "FLUX_TOKEN" in error.text
                assert SECRET not in error.text
    assert not simulator.connections


async def test_worker_gone_and_back(start_worker: "StartWorker", serve: Serve) -> None:
    """Without the Worker there is an error and no text; once it is back the next turn works."""
    async with Simulator(script=[text_of(LIGHT)], ingest_rate=0) as simulator:
        worker = await start_worker(port_of(simulator), FLUX_TOKEN=SECRET)
        served = await serve(worker.url)
        await worker.stop()
        async with satellite(served) as client:
            await client.say(LIGHT)
            await client.stop()
            error = await client.error()
            assert error.code == "unreachable"
            assert f"127.0.0.1:{worker.port}" in error.text
            await worker.start()
            await client.say(LIGHT)
            await client.stop()
            assert await client.transcript() == text_of(LIGHT)


async def test_worker_restarted_in_the_middle_of_a_turn(
    start_worker: "StartWorker", serve: Serve
) -> None:
    """A deployment in the middle of a sentence drops the stream, and costs no word of it."""
    async with Simulator(script=[text_of(LIGHT)], ingest_rate=0) as simulator:
        worker = await start_worker(port_of(simulator), FLUX_TOKEN=SECRET)
        served = await serve(worker.url)
        async with satellite(served) as client:
            await client.say(LIGHT, end=1.5)
            kind, data = await client.hear(TranscriptChunk("").event().type, "error")
            assert kind == "transcript-chunk", data
            await worker.stop()
            await worker.start()
            await client.say(LIGHT, start=1.5)
            assert await client.transcript() == text_of(LIGHT)
        assert len(simulator.connections) == 2


async def test_plain_worker(start_worker: "StartWorker", serve: Serve) -> None:
    """The ten-line Worker gives text and refusals; the log says once what it ignores."""
    async with Simulator(script=[text_of(LIGHT)], ingest_rate=0) as simulator:
        worker = await start_worker(port_of(simulator), config="plain")
        served = await serve(worker.url, "--keyterm", "living room")
        async with satellite(served) as client:
            for _ in range(2):
                await client.say(f"{LIGHT}_44k_stereo")
                await client.stop()
                assert await client.transcript() == text_of(LIGHT)
            simulator.faults.append(Refuse(status=429, code="3036"))
            await client.say(LIGHT)
            assert (await client.error()).code == "quota"
    assert "".join(served.log).count("ignores parameters") == 1


async def test_header_file(far_end: "FarEnd", serve: Serve, tmp_path: Path) -> None:
    """The headers of Cloudflare Access come from a file; its login page is an error of theirs."""
    headers = tmp_path / "headers"
    headers.write_text("CF-Access-Client-Id: 7f.access\nCF-Access-Client-Secret: hidden-secret\n")
    login = "https://home.cloudflareaccess.com/cdn-cgi/access/login/flux.example.org"
    far_end.refusal = (302, "", {"Location": login})
    served = await serve(f"ws://127.0.0.1:{far_end.port}", "--header-file", str(headers))
    async with satellite(served) as client:
        await client.say(LIGHT)
        await client.stop()
        error = await client.error()
    assert error.code == "auth"
    assert "Cloudflare Access" in error.text
    assert far_end.requests[0].headers["CF-Access-Client-Id"] == "7f.access"
    assert far_end.requests[0].headers["CF-Access-Client-Secret"] == "hidden-secret"
    assert "hidden-secret" not in "".join(served.log) + error.text
