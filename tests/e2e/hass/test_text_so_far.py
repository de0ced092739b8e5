"""What Home Assistant's own doors to speech-to-text get from our entity, piece by piece.

Since 2026.11 the pipeline and ``/api/stt`` ask for the text so far, before for the result alone.
"""

import asyncio
from collections.abc import AsyncGenerator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.hass.instance import INTEGRATION, until

WATCH = Path(__file__).with_name("watch.py")
SPEECH = "format=wav; codec=pcm; sample_rate=16000; bit_rate=16; channel=1; language=en"


class Home:
    """A Home Assistant whose speech-to-text is watched."""

    def __init__(self, running: Any, socket: Any, engine: str, pieces: asyncio.Queue[Any]) -> None:
        """Take what runs."""
        self.running, self.socket, self.engine, self._pieces = running, socket, engine, pieces
        parts = running.version.split(".")
        self.door = "progress" if (int(parts[0]), int(parts[1])) >= (2026, 11) else "plain"
        """By which method this version asks."""

    async def pieces(self) -> list[tuple[str, str | None]]:
        """Return what came of one sentence: kind and text of each piece."""
        found = []
        async with asyncio.timeout(30):
            while not found or found[-1][0] != "over":
                _, event = await self._pieces.get()
                assert event["data"]["door"] == self.door
                found.append((event["data"]["what"], event["data"]["text"]))
        return found[:-1]


@pytest.fixture
async def home(start, stage, worker) -> AsyncGenerator[Home]:
    """Start one, and see that it said nothing aloud."""
    running = await start(custom=(INTEGRATION, WATCH), yaml="\nwatch:\n")
    entry = await running.add_flux({"worker_url": worker.url, "token": stage.TOKEN})
    async with running.websocket() as socket:
        pieces = await socket.subscribe("subscribe_events", event_type="watch")
        yield Home(running, socket, await stage.engine_of(socket, entry), pieces)
    await running.stop()
    assert running.loud() == []


def check(home: Home, pieces: list[tuple[str, str | None]], sentence: str) -> None:
    """Hold what came to what this version asks for."""
    *partial, result = pieces
    assert result == ("SpeechResult", sentence)
    assert {kind for kind, _ in partial} <= {"PartialSpeechResult"}
    texts = [str(text) for _, text in partial]
    assert bool(texts) is (home.door == "progress")
    # All so far each time, and never taken back.
    assert all(later.startswith(text) for text, later in pairwise(texts))
    assert all(sentence.startswith(text) for text in texts)


async def test_every_door(home: Home, stage, worker) -> None:
    """A pipeline, a recording, a browser that goes away in the middle; then a pipeline again."""
    pipeline = await stage.make_pipeline(home.socket, home.engine)
    run = await stage.run_pipeline(home.socket, pipeline, stage.sample())
    assert (run.text, run.speech) == (stage.SENTENCE, "Turned on the light")
    check(home, await home.pieces(), stage.SENTENCE)

    answer = await home.running.call(
        "POST",
        f"/api/stt/{home.engine}",
        data=stage.sample(),
        headers={"X-Speech-Content": SPEECH},
    )
    assert answer == {"text": stage.SENTENCE, "result": "success"}
    check(home, await home.pieces(), stage.SENTENCE)

    before = len(worker.connections)
    async with home.running.websocket() as browser:
        speaking = asyncio.create_task(stage.run_pipeline(browser, pipeline, stage.sample()))

        async def heard() -> bool:
            return len(worker.connections) > before and len(worker.connections[-1].audio) > 48000

        await until(heard)
        speaking.cancel()
    # No result, and nothing runs on.
    pieces = await home.pieces()
    assert "SpeechResult" not in [kind for kind, _ in pieces]
    assert bool(pieces) is (home.door == "progress")

    async def closed() -> bool:
        return bool(worker.connections[before].closed_by_client)

    await until(closed)
    run = await stage.run_pipeline(home.socket, pipeline, stage.sample())
    assert run.text == stage.SENTENCE
    check(home, await home.pieces(), stage.SENTENCE)
