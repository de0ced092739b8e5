"""Two servers behind real HAProxy with ``deploy/haproxy.cfg``: ``script/soak --balancer``."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient

from tests.support.coded import CodedRecognizer, speak
from tests.support.processes import Process
from wyoming_flux.simulator import Simulator

ROOT = Path(__file__).parents[2]
FORMAT = {"rate": 16000, "width": 2, "channels": 1}
CHUNK = 3200


def find_haproxy() -> str:
    """Return HAProxy: the system's, or that of script/setup-haproxy."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", str(ROOT / ".tools/haproxy")])
    found = shutil.which("haproxy", path=path)
    assert found is not None, "HAProxy is missing: script/setup-haproxy"
    return found


@asynccontextmanager
async def balancer(one: str, two: str) -> AsyncIterator[str]:
    """Run HAProxy before two servers; yields its URI."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(find_haproxy(), "-db", "-f", str(ROOT / "deploy" / "haproxy.cfg")),
        env={
            **os.environ,
            "LISTEN": f"127.0.0.1:{port}",
            "SERVER_ONE": one.removeprefix("tcp://"),
            "SERVER_TWO": two.removeprefix("tcp://"),
        },
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        uri = f"tcp://127.0.0.1:{port}"
        async with asyncio.timeout(10):
            while await say(uri, "hello there") != "hello there":
                assert process.returncode is None, "HAProxy did not start"
                await asyncio.sleep(0.05)
        yield uri
    finally:
        process.terminate()
        await process.wait()


async def say(uri: str, text: str, half: Callable[[], Awaitable[Any]] | None = None) -> str | None:
    """Take a turn; ``half`` is waited for in its middle. None: the connection broke."""
    client = AsyncClient.from_uri(uri)
    audio = bytes(CHUNK) + speak(text) + bytes(CHUNK)
    middle = len(audio) // 2 // CHUNK * CHUNK
    try:
        await client.connect()
        await client.write_event(Transcribe().event())
        await client.write_event(AudioStart(**FORMAT).event())
        for at in range(0, len(audio), CHUNK):
            if at == middle and half is not None:
                await half()
            await client.write_event(AudioChunk(**FORMAT, audio=audio[at : at + CHUNK]).event())
        await client.write_event(AudioStop().event())
        while (event := await client.read_event()) is not None:
            if event.type == "transcript":
                found: str = event.data["text"]
                return found
            assert event.type != "error", event
    except OSError:
        pass  # its server was killed, or HAProxy does not listen yet
    finally:
        with contextlib.suppress(OSError):
            await client.disconnect()
    return None


async def test_two_servers_behind_haproxy(tmp_path: Path) -> None:
    """Turns are spread; one server is killed amid turns: nothing hangs, and new turns work.

    The turns of the other server do not notice; those of the killed one end with their connection.
    """
    async with Simulator(recognizer=CodedRecognizer) as flux, AsyncExitStack() as stack:

        async def serve(*arguments: str) -> Process:
            server = await Process.serve(*arguments, home=tmp_path)
            return await stack.enter_async_context(server)

        one, two = await serve("--worker-url", flux.url), await serve("--worker-url", flux.url)
        async with balancer(one.uri, two.uri) as uri:
            texts = [f"word{i} and{i} more{i}" for i in range(12)]
            async with asyncio.timeout(20):
                assert await asyncio.gather(*(say(uri, text) for text in texts)) == texts
            for server in (one, two):
                await server.wait_for(r"\bUtterance 5: ")

            arrived = asyncio.Barrier(len(texts))

            async def half() -> None:
                if await arrived.wait() == 0:
                    one.process.kill()

            async with asyncio.timeout(20):
                answers = await asyncio.gather(*(say(uri, text, half) for text in texts))
            survived = [answer for answer in answers if answer is not None]
            assert all(answer in (None, text) for answer, text in zip(answers, texts, strict=True))
            assert 0 < len(survived) < len(texts)
            async with asyncio.timeout(20):
                assert await asyncio.gather(*(say(uri, text) for text in texts)) == texts

            # A server that is stopped in order loses nothing: it comes back, and the other goes.
            back = await serve("--worker-url", flux.url, "--uri", one.uri)
            await back.wait_for("Listening")
            async with asyncio.timeout(20):
                while not any("Utterance 1: " in line for line in back.log):
                    assert await say(uri, "again") == "again"
            stopping = asyncio.Barrier(len(texts))

            async def stop_two() -> None:
                if await stopping.wait() == 0:
                    two.process.send_signal(signal.SIGTERM)

            async with asyncio.timeout(20):
                answers = await asyncio.gather(*(say(uri, text, stop_two) for text in texts))
                assert answers == texts
                assert await asyncio.gather(*(say(uri, text) for text in texts)) == texts
            assert await two.end() == 0
