"""Clients that are gone leave nothing big behind, not even until the garbage collector comes."""

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart

from tests.support.coded import speak
from tests.unit.faults.stage import FORMAT, MemoryClient, MemoryStage, noise, silence
from wyoming_flux.server.events import encode
from wyoming_flux.settings import UtteranceSettings

Virtual = Callable[[Callable[[], Awaitable[Any]]], Any]

CLIENTS = 60
MOST = CLIENTS * 60_000
"""Bytes that so many may leave in small things, those of the test included."""

TURN = encode(Transcribe().event()) + encode(AudioStart(**FORMAT).event())
LONG = b"".join(
    encode(AudioChunk(**FORMAT, audio=part).event())
    for part in (silence(0.3) + speak("hello"), *[noise(1.0)] * 9)
)


@pytest.fixture
def collected() -> Iterator[None]:
    """Keep the garbage collector away."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.slow
@pytest.mark.parametrize(
    "said",
    [
        b"{" * 70_000,
        b'{"type": "x", "data_length": 262144}\n' + b"\xff" * 262_144,
        b'{"type": "audio-chunk", "payload_length": 1048576}\n' + bytes(1_000_000),
        TURN + LONG,
        TURN + LONG + b'{"type": "audio-stop"}\n',
    ],
    ids=["header", "not UTF-8", "half a payload", "half a turn", "a whole turn"],
)
@pytest.mark.usefixtures("collected")
def test_nothing_big_is_left(run_virtual: Virtual, memory_connector: Any, said: bytes) -> None:
    """Without any garbage collection, memory is what it was before these clients came."""
    connector = memory_connector(recognizer="coded", keep=False, ingest_rate=0)

    async def visit(stage: MemoryStage) -> None:
        client: MemoryClient = await stage.connect()
        client.feed(said)
        await asyncio.sleep(1.5)
        await client.hang_up()
        await stage.quiet()
        connector.opened.clear()

    async def main() -> int:
        stage = MemoryStage(connector, UtteranceSettings())
        for _ in range(3):
            await visit(stage)
        tracemalloc.start()
        try:
            for _ in range(CLIENTS):
                await visit(stage)
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert run_virtual(main) < MOST
