"""What the tests of the simulator share: a client without I/O and one on a socket."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from wyoming_flux.simulator import Close, FluxSession, LocalFlux, Upgrade, UpgradeRequest
from wyoming_flux.simulator.profiles import ProfileName

PLAIN = (("encoding", "linear16"), ("sample_rate", "16000"))
TARGETS = {
    "workers-ai": "/?" + urlencode(PLAIN),
    "deepgram": "/v2/listen?" + urlencode((("model", "flux-general-en"), *PLAIN)),
}
CHUNK = 2560


@pytest.fixture
def target() -> Callable[..., str]:
    """Make the request target of a profile: ``target("deepgram", ("keyterm", "a"))``."""

    def make(profile: str, *query: tuple[str, str]) -> str:
        return TARGETS[profile] + ("&" + urlencode(query) if query else "")

    return make


@dataclass
class Talk:
    """One connection, and all that came back on it."""

    connection: Upgrade
    frames: list[str | bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    close_code: int | None = None
    ended: float = 0.0

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What came and is a JSON object."""
        read = []
        for frame in self.frames:
            with contextlib.suppress(ValueError):
                read.append(json.loads(frame))
        return [one for one in read if isinstance(one, dict)]

    @property
    def windows(self) -> list[float]:
        """Ends of the audio windows."""
        return [one["audio_window_end"] for one in self.messages if "audio_window_end" in one]

    def events(self) -> list[tuple[str, str]]:
        """Event and text of each TurnInfo but Updates."""
        infos = [one for one in self.messages if one.get("event", "Update") != "Update"]
        return [(one["event"], one["transcript"]) for one in infos]


def cut(frame: bytes | str | dict[str, Any], size: int) -> list[bytes | str]:
    """Return frames of 80 ms, or a text."""
    if isinstance(frame, dict):
        return [json.dumps(frame)]
    if isinstance(frame, str):
        return [frame]
    return [frame[at : at + size] for at in range(0, len(frame), size)] or [frame]


@pytest.fixture
def talk() -> Callable[..., Talk]:
    """Talk to a session: frames go as soon as there is room, until it closes.

    ``hang_up``: when the client leaves, in seconds; ``gaps``: seconds between two frames.
    """

    def run(
        *frames: bytes | str | dict[str, Any],
        profile: ProfileName | Any = "deepgram",
        query: tuple[tuple[str, str], ...] = (),
        chunk: int = CHUNK,
        hang_up: float = float("inf"),
        gap: float = 0.0,
        **flux: Any,
    ) -> Talk:
        base = profile if isinstance(profile, str) else profile.base
        extra = "&" + urlencode(query) if query else ""
        local = LocalFlux(profile=profile, **flux)
        connection, session = local.open(UpgradeRequest(TARGETS[base] + extra))
        assert isinstance(session, FluxSession), session
        said, waiting = Talk(connection), deque(one for f in frames for one in cut(f, chunk))
        now, next_frame = 0.0, gap
        session.start(now)
        while True:
            while (frame := session.next_to_send(now)) is not None:
                if isinstance(frame, Close):
                    said.close_code, said.ended = frame.code, now
                    session.end()
                    return said
                said.frames.append(frame)
                said.times.append(now)
            if waiting and session.room and next_frame <= now:
                session.receive(waiting.popleft(), now)
                next_frame = now + gap
                continue
            times = [hang_up] if session.deadline is None else [hang_up, session.deadline]
            if waiting and session.room:
                times.append(next_frame)
            now = max(now, min(times))
            assert now < float("inf"), "nothing is going to happen"
            if now == hang_up:
                session.lost(1000)
                said.ended = now
                return said

    return run


@pytest.fixture
def converse() -> Callable[..., Any]:
    """Talk over a real socket: sends all frames, returns messages and the close code."""

    async def run(url: str, *frames: bytes | str, **options: Any) -> tuple[list[Any], int | None]:
        received: list[Any] = []
        async with connect(url, compression=None, proxy=None, **options) as websocket:
            for frame in frames:
                await websocket.send(frame)
            async with asyncio.timeout(10):
                try:
                    while True:
                        received.append(json.loads(await websocket.recv()))
                except ConnectionClosed:
                    pass
            return received, websocket.close_code

    return run


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Check that a test leaves no task behind."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left
