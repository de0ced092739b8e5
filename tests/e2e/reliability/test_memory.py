"""What hostile clients can make the process hold, seen from outside; others are served."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.coded import CodedRecognizer, speak
from tests.support.processes import WyomingClient
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import SlowReader

Serve = Callable[..., Awaitable[Any]]
FORMAT = {"rate": 16000, "width": 2, "channels": 1}
AUDIO = json.dumps({"type": "audio-chunk", "data": FORMAT, "payload_length": 32000}).encode()

LARGEST_MB = 1.5
"""Of one connection: header 64 KiB, data 256 KiB, payload 1 MiB, and a little."""
CONNECTIONS = 64


async def served(uri: str) -> None:
    """Show that a client that behaves gets its text."""
    async with await WyomingClient.connect(uri) as client:
        await client.begin()
        await client.fast(bytes(3200) + speak("good evening") + bytes(3200))
        await client.stop()
        assert (await client.answer(10)).data["text"] == "good evening"


async def crowd(uri: str, size: int, said: bytes) -> list[asyncio.StreamWriter]:
    """Connect so many clients that say this and then nothing."""
    host, _, port = uri.removeprefix("tcp://").rpartition(":")
    writers = []
    for _ in range(size):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(said)
        writers.append(writer)
    for writer in writers:
        with contextlib.suppress(OSError):
            await writer.drain()
    return writers


def leave(writers: list[asyncio.StreamWriter]) -> None:
    """Close all."""
    for writer in writers:
        writer.transport.abort()


@pytest.mark.parametrize(
    ("said", "size", "most_mb"),
    [
        (b"", 3000, 24),
        (b'{"type": "' + b"x" * 65_000, CONNECTIONS - 1, CONNECTIONS * 0.2),
        (
            b'{"type": "audio-chunk", "payload_length": 1048576}\n' + bytes(1_048_575),
            CONNECTIONS - 1,
            CONNECTIONS * LARGEST_MB,
        ),
        (
            b'{"type": "x", "data_length": 262144}\n' + b"[" * 262_143,
            CONNECTIONS - 1,
            CONNECTIONS * 0.6,
        ),
        (b"{" * 70_000, 3000, 64),
        (b'{"type": "x", "data_length": 262144}\n' + b"\xff" * 262_144, 1000, 64),
    ],
    ids=["idle", "giant headers", "giant payloads", "giant data", "malformed", "not UTF-8"],
)
async def test_memory_of_a_crowd(serve: Serve, said: bytes, size: int, most_mb: float) -> None:
    """A crowd costs what its limits say; somebody else gets his text among them, and after them."""
    async with Simulator(recognizer=CodedRecognizer, ingest_rate=0) as flux:
        server = await serve("--worker-url", flux.url, "--max-connections", str(CONNECTIONS))
        await served(server.uri)
        before = server.memory_mb
        writers = await crowd(server.uri, size, said)
        await served(server.uri)
        grown = server.memory_mb - before
        leave(writers)
        await served(server.uri)
    print(f"{grown:.1f} MB")
    assert grown <= most_mb


async def test_memory_of_endless_audio(serve: Serve) -> None:
    """Clients that send as fast as they can while Flux takes nothing are held back at 30 s each."""
    async with Simulator(
        recognizer=CodedRecognizer, keep=False, faults=[SlowReader(after=0.2)]
    ) as flux:
        server = await serve("--worker-url", flux.url)
        before = server.memory_mb
        second = AUDIO + b"\n" + bytes(32000)
        writers = await crowd(server.uri, 10, b"")

        async def flood(writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                for _ in range(600):
                    writer.write(second)
                    await writer.drain()

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                await asyncio.gather(*(flood(writer) for writer in writers))
        grown = server.memory_mb - before
        leave(writers)
    print(f"{grown:.1f} MB")
    # 60 s of audio are 1.9 MB: 30 s that wait to be sent, and 30 s that may have to be sent again.
    assert grown <= 10 * 4 + 8
