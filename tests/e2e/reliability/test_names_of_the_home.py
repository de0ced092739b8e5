"""Real processes: a Home Assistant that misbehaves costs no sentence anything.

Each test prints how long after the last word the answer came (``pytest -rP``).
"""

import asyncio
import json
import time
import wave
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from socket import SO_SNDBUF, SOL_SOCKET

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from tests.support.paper_home import TOKEN, PaperHome, entity
from tests.support.processes import ROOT, Process, WyomingClient
from wyoming_flux.simulator import Simulator

SENTENCE = "turn_on_the_living_room_light"
SPOKEN = SENTENCE.replace("_", " ")

Behaviour = Callable[[ServerConnection], Awaitable[None]]

SHOUTED: Counter[str] = Counter()  # frames, by whom


def large() -> PaperHome:
    """A home with a thousand exposed entities."""
    home = PaperHome(states={f"light.n{n}": f"Lamp {n}" for n in range(1000)})
    home.entries = {one: entity(name, device_id="d") for one, name in home.states.items()}
    home.exposed = set(home.states)
    return home


async def silent(socket: ServerConnection) -> None:
    """Take the upgrade, and say nothing."""
    await socket.wait_closed()


async def huge(socket: ServerConnection) -> None:
    """Say more than is read."""
    await socket.send("[" + " " * (64 << 20))


async def flood(socket: ServerConnection) -> None:
    """Answer for a large home, and tell of changes as fast as they are taken."""
    home = large()
    # What the system keeps would be read first: at a thousand frames a second that is a minute.
    raw = socket.transport.get_extra_info("socket")
    raw.setsockopt(SOL_SOCKET, SO_SNDBUF, 1 << 16)
    await socket.send(home.hello)

    asked = asyncio.Event()

    async def shout() -> None:
        await asked.wait()
        events = home.change(), json.dumps({"id": 11, "type": "event", "event": {"c": {}}})
        frames = [Frame(Opcode.TEXT, one.encode()).serialize(mask=False) for one in events]
        # Past the library, which is too slow to be a flood, and would take the time of Flux here.
        many = b"".join(frames * 200)
        while True:
            if socket.transport.get_write_buffer_size() < len(many):
                socket.transport.write(many)
                SHOUTED["flood"] += len(frames) * 200
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        shouting = tasks.create_task(shout())
        async for frame in socket:
            for answer in home.answer(str(frame)):
                await socket.send(answer)
            if len(home.subscribed) == 5:
                asked.set()
        shouting.cancel()


async def speak(server: Process, pcm: bytes) -> float:
    """Say the sentence as a satellite does; return the seconds from its last sample to the text."""
    async with await WyomingClient.connect(server.uri) as client:
        await client.begin()
        await client.live(pcm, open_for=12.0)
        answer = await client.answer()
    assert answer.data["text"] == SPOKEN
    return answer.at - client.ended_at


@pytest.mark.parametrize("behaviour", [silent, huge, flood])
async def test_no_sentence_waits_for_it(behaviour: Behaviour, tmp_path: Path) -> None:
    """Three sentences from the first moment on, whatever is said at the other socket."""

    async def behave(socket: ServerConnection) -> None:
        try:
            await behaviour(socket)
        except* ConnectionClosed:
            pass  # the server was ended, or had enough

    with wave.open(str(ROOT / "samples" / f"{SENTENCE}.wav")) as file:
        pcm = file.readframes(file.getnframes())
    (tmp_path / "home-token").write_text(TOKEN)
    async with Simulator() as flux, serve(behave, "127.0.0.1", 0) as home:
        where = (
            *("--home-assistant", f"127.0.0.1:{home.sockets[0].getsockname()[1]}"),
            *("--home-assistant-token-file", str(tmp_path / "home-token")),
        )
        async with await Process.serve("--worker-url", flux.url, *where, home=tmp_path) as server:
            began = time.monotonic()
            for _ in range(3):
                late = await speak(server, pcm)
                print(f"{behaviour.__name__}: {late:.2f} s after the last sample")
            cpu = server.cpu_seconds / (time.monotonic() - began)
            print(f"{behaviour.__name__}: {cpu:.0%} of a core")
            assert cpu < 0.2
            if behaviour is flood:
                # It was one: more than the thousand frames a second that are taken.
                print(f"flood: {SHOUTED['flood']} frames")
                assert SHOUTED["flood"] > 5000
                # The answers come behind what was shouted, but they come.
                async with asyncio.timeout(60):
                    while ("keyterm", "Lamp 1") not in flux.connections[-1].query:
                        await speak(server, pcm)
