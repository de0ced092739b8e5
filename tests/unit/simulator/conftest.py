"""What the tests of the simulator share: a client in memory and one on a socket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from wyoming_flux.simulator import (
    Accepted,
    Connection,
    MemoryTransport,
    Refusal,
    Request,
    Service,
    TransportClosed,
    memory_pair,
)
from wyoming_flux.simulator.profiles import ProfileName

PLAIN = (("encoding", "linear16"), ("sample_rate", "16000"))
TARGETS = {
    "workers-ai": "/?" + urlencode(PLAIN),
    "deepgram": "/v2/listen?" + urlencode((("model", "flux-general-en"), *PLAIN)),
}


@pytest.fixture
def target() -> Callable[..., str]:
    """Make the request target of a profile: ``target("deepgram", ("keyterm", "a"))``."""

    def make(profile: str, *query: tuple[str, str]) -> str:
        return TARGETS[profile] + ("&" + urlencode(query) if query else "")

    return make


@dataclass
class Dialogue:
    """One connection in memory, and all that came back on it."""

    transport: MemoryTransport
    connection: Connection
    session: asyncio.Task[None]
    frames: list[str | bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    close_code: int | None = None

    async def say(self, *frames: bytes | str | dict[str, Any]) -> None:
        """Send audio (in 80 ms chunks), text, or a control message; stop where it is closed."""
        for frame in frames:
            data = json.dumps(frame) if isinstance(frame, dict) else frame
            chunks = (
                [data[at : at + 2560] for at in range(0, len(data), 2560)] or [data]
                if isinstance(data, bytes)
                else [data]
            )
            for chunk in chunks:
                try:
                    await self.transport.send(chunk)
                except TransportClosed:
                    return

    async def listen(self) -> None:
        """Take what comes until the end."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self.frames.append(await self.transport.receive())
                self.times.append(loop.time())
        except TransportClosed as end:
            self.close_code = end.code

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What came and is a JSON object."""
        read = []
        for frame in self.frames:
            with contextlib.suppress(ValueError):
                read.append(json.loads(frame))
        return [one for one in read if isinstance(one, dict)]

    def events(self, *, updates: bool = False) -> list[tuple[str, str]]:
        """Event and text of each TurnInfo."""
        return [
            (one["event"], one["transcript"])
            for one in self.messages
            if one.get("type") == "TurnInfo" and (updates or one["event"] != "Update")
        ]


@pytest.fixture
def dialogue(run_virtual: Callable[..., Any]) -> Callable[..., Dialogue]:
    """Talk to a service in virtual time: sends all frames, listens until the end."""

    def run(
        *frames: bytes | str | dict[str, Any],
        profile: ProfileName = "deepgram",
        query: tuple[tuple[str, str], ...] = (),
        limit: int = 16,
        hang_up: float | None = None,
        **service: Any,
    ) -> Dialogue:
        async def main() -> Dialogue:
            flux = Service(profile=profile, **service)
            here, there = memory_pair(limit)
            extra = "&" + urlencode(query) if query else ""
            connection, answer = await flux.open(Request(TARGETS[profile] + extra))
            assert isinstance(answer, Accepted), answer
            session = asyncio.create_task(flux.serve(connection, there))
            talk = Dialogue(here, connection, session)
            listener = asyncio.create_task(talk.listen())
            await talk.say(*frames)
            if hang_up is not None:
                await asyncio.sleep(hang_up)
                await here.close()
            await session
            await listener
            return talk

        return run_virtual(main)  # type: ignore[no-any-return]  # what main returns

    return run


@pytest.fixture
def knock(run_virtual: Callable[..., Any]) -> Callable[..., Accepted | Refusal]:
    """Ask a service for an upgrade and return its answer."""

    def run(
        target: str, headers: dict[str, str] | None = None, **service: Any
    ) -> Accepted | Refusal:
        async def main() -> Accepted | Refusal:
            _, answer = await Service(**service).open(Request(target, headers or {}))
            return answer

        return run_virtual(main)  # type: ignore[no-any-return]  # what main returns

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
