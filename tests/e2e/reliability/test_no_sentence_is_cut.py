"""No sentence is cut by a late process, a client that pauses, or the way to Flux; in real time.

Judged from outside: our processes, a client over a raw socket, a Flux that imports nothing of ours.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.coded_audio import plain, silence
from tests.support.foreign_behaviour import GOOD, Behaviour
from tests.support.foreign_flux import ForeignFlux
from tests.support.processes import Process, WyomingClient, write_wav
from tests.support.scene import (
    MODES,
    PATIENT,
    SENTENCE,
    TURNS,
    TURNS_WORDS,
    WORDS,
    Judge,
    Scene,
    each,
    scene,
    seconds,
    transcribed,
)

pytestmark = PATIENT


# -------------------------------------------------------------------------- the process is late


@pytest.mark.slow
async def test_the_process_was_stopped(tmp_path: Path) -> None:
    """A server stopped for 3.2, 5.2 or 9 s amid a sentence gives all words, 6 s after it goes on.

    As does one that is stopped while it connects.
    """
    judge = Judge()

    async def play(mode: str, stop: tuple[float, float]) -> None:
        at, lasts = stop
        how, pcm, words = MODES[mode]
        where = f"{mode}, stopped at {at:g} s for {lasts:g} s"
        async with scene(tmp_path, options=("--answer-on", mode)) as stage:
            talking = asyncio.create_task(stage.utter(pcm, how))
            await asyncio.sleep(at)
            await stage.server.stopped(lasts)
            outcome = await talking
            judge.words(where, outcome.words, words, stage.story())
            late = max(0.0, at + lasts - seconds(pcm))
            judge.within(where, outcome.after - late, 6.0, stage.story())

    stops = [(1.33, 3.2), (1.33, 5.2), (1.33, 9.0), (0.05, 3.2), (3.9, 5.2)]
    await judge.all(each(play, MODES, stops))


async def test_the_command_was_stopped(tmp_path: Path) -> None:
    """``transcribe --real-time`` that was stopped for 3.2 or 5.2 s gives all words."""
    judge = Judge()
    recording = write_wav(tmp_path / "said.wav", TURNS)

    async def play(lasts: float) -> None:
        async with ForeignFlux() as flux:
            made = await Process.start(
                *("transcribe", "--route", "workers-ai", "--worker-url", flux.url),
                *("--real-time", str(recording)),
                home=tmp_path,
                stdout=asyncio.subprocess.PIPE,
            )
            async with made, asyncio.timeout(40):
                assert made.process.stdout is not None
                await flux.heard(1.2)
                await made.stopped(lasts)
                text = (await made.process.stdout.read()).decode()
                code = await made.end()
            judge.words(f"stopped for {lasts:g} s", plain(text), TURNS_WORDS, flux.story())
            judge.holds(f"stopped for {lasts:g} s", code == 0, f"exit {code}: {made.log}")

    await judge.all(each(play, (3.2, 5.2)))


# -------------------------------------------------------------------------- the client pauses

PAUSES: dict[str, dict[str, Any]] = {
    "a stall of 1.4 s": {"stalls": [(1.42, 1.4)]},
    "a stall of 2.2 s amid a word": {"stalls": [(2.13, 2.2)]},
    "a stall of 2.9 s": {"stalls": [(1.55, 2.9)]},
    "a stall of 2.9 s before any text": {"stalls": [(0.12, 2.9)]},
    "a stall of 2.9 s in the last word": {"stalls": [(4.1, 2.9)]},
    "three stalls of 1.4 s": {"stalls": [(0.9, 1.4), (2.61, 1.4), (3.7, 1.4)]},
    "chunks of 0.5 s": {"chunk": 0.5},
    "chunks of 2 s": {"chunk": 2.0},
    "chunks of 2 s, heard at once": {"chunk": 2.0, "flux": Behaviour(ingest=0)},
    "chunks of 4 s": {"chunk": 4.0},
    "odd chunks": {"chunk": 0.0371},
}


@pytest.mark.slow
async def test_a_client_that_pauses(tmp_path: Path) -> None:
    """A Wi-Fi stall up to 3 s and real-time chunks up to 4 s cost no word, and at most 4 s."""
    judge = Judge()

    async def play(mode: str, name: str) -> None:
        how, pcm, words = MODES[mode]
        pauses = dict(PAUSES[name])
        flux = pauses.pop("flux", GOOD)
        async with scene(tmp_path, flux, options=("--answer-on", mode)) as stage:
            outcome = await stage.utter(pcm, how, **pauses)
            judge.words(f"{mode}, {name}", outcome.words, words, stage.story())
            judge.within(f"{mode}, {name}", outcome.after, 4.0, stage.story())

    await judge.all(each(play, MODES, PAUSES))


async def test_a_client_that_falls_silent(tmp_path: Path) -> None:
    """A client that is gone without a word: its text 3 to 6 s later, or nothing after 5 s."""
    judge = Judge()

    async def play(name: str, pcm: bytes, words: list[str], bound: float) -> None:
        async with scene(tmp_path) as stage, await WyomingClient.connect(stage.server.uri) as one:
            await one.begin()
            await one.live(pcm)
            answer = await one.answer()
            heard = plain(str(answer.data.get("text")))
            judge.words(name, heard, words, stage.story())
            judge.within(name, answer.at - one.ended_at, bound, stage.story())

    # 6 s of silence of the client, then what draining costs: at most 2 s here.
    await judge.all(
        [
            ("after text", partial(play, "after text", SENTENCE, WORDS, 8.0)),
            ("before any text", partial(play, "before any text", silence(0.4), [], 7.0)),
        ]
    )


# -------------------------------------------------------------------------- the way to Flux

RESOLVER = """
import json, os, socket, time
_real = socket.getaddrinfo
_plan = json.loads(os.environ["JUDGE_RESOLVER"])


def getaddrinfo(host, port, *arguments, **options):
    if host not in ("flux.local", b"flux.local"):
        return _real(host, port, *arguments, **options)
    time.sleep(_plan["takes"])
    kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    return [(*kind, tuple(address)) for address in _plan["addresses"]]


socket.getaddrinfo = getaddrinfo
"""


@asynccontextmanager
async def resolving(
    home: Path,
    flux: ForeignFlux,
    *,
    dead: int = 0,
    takes: float = 0.0,
    options: tuple[str, ...] = (),
) -> AsyncIterator[Scene]:
    """Start a server that finds Flux by name: *dead* addresses that swallow packets come first."""
    hook = home / f"hook-{flux.port}"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(RESOLVER, "utf-8")
    holes = [black_hole() for _ in range(dead)]
    addresses = [*(hole[0].getsockname() for hole in holes), ("127.0.0.1", flux.port)]
    environment = {
        "PYTHONPATH": str(hook),
        "JUDGE_RESOLVER": json.dumps({"takes": takes, "addresses": addresses}),
    }
    url = f"ws://flux.local:{flux.port}"
    try:
        made = await Process.serve(
            "--worker-url", url, *options, home=home, environment=environment
        )
        async with made as server:
            yield Scene(flux, server, home)
    finally:
        for hole in holes:
            for one in hole:
                one.close()


def black_hole() -> list[socket.socket]:
    """Return a listener on loopback that swallows what connects, and what keeps it so."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    kept = [listener]
    while len(kept) < 16:
        one = socket.socket()
        kept.append(one)
        one.settimeout(0.2)
        try:
            one.connect(listener.getsockname())
        except TimeoutError:
            return kept  # the queue is full: the kernel drops further SYNs
    raise AssertionError("a full backlog does not swallow connections here")


async def test_a_dead_address_and_a_slow_look_up(tmp_path: Path) -> None:
    """Addresses that swallow packets before a good one, or a look-up of 3 s: all words, in time."""
    judge = Judge()

    # The sentence takes 3.7 s at 1.25 times real time, and begins when the look-up is over.
    ways: dict[str, tuple[float, dict[str, Any]]] = {
        "one dead address": (2.5, {"dead": 1}),
        "two dead addresses": (3.0, {"dead": 2}),
        "a look-up of 3 s": (4.0, {"takes": 3.0}),
        "a look-up of 3 s and a dead address": (4.5, {"takes": 3.0, "dead": 1}),
    }

    async def play(name: str, mode: str) -> None:
        bound, way = ways[name]
        how, pcm, words = MODES[mode]
        options = ("--answer-on", mode)
        async with (
            ForeignFlux() as flux,
            resolving(tmp_path, flux, options=options, **way) as stage,
        ):
            for number in (1, 2):
                outcome = await stage.utter(pcm, how)
                where = f"{mode}, {name}, utterance {number}"
                judge.words(where, outcome.words, words, stage.story())
                judge.within(where, outcome.after, bound, stage.story())

    await judge.all(each(play, ways, MODES))


CONNECTS = {
    "a handshake of 3.5 s": (Behaviour(handshake_delay=3.5),),
    "accept and close, once": (Behaviour(accept_close=True), GOOD),
    "accept and close, twice": (Behaviour(accept_close=True), Behaviour(accept_close=True), GOOD),
    "no answer to the upgrade, once": (Behaviour(handshake_delay=float("inf")), GOOD),
    "no message, once": (Behaviour(talk="nothing"), GOOD),
    "503, once": (Behaviour(refuse=503), GOOD),
    "503, twice": (Behaviour(refuse=503), Behaviour(refuse=503), GOOD),
}


@pytest.mark.slow
async def test_a_slow_or_broken_beginning(tmp_path: Path) -> None:
    """A connection that is slow, broken or mute at first costs no word, and at most 8 s."""
    judge = Judge()

    async def serves(mode: str, name: str) -> None:
        how, pcm, words = MODES[mode]
        async with scene(tmp_path, *CONNECTS[name], options=("--answer-on", mode)) as stage:
            outcome = await stage.utter(pcm, how)
            judge.words(f"{mode}, {name}", outcome.words, words, stage.story())
            judge.within(f"{mode}, {name}", outcome.after, 8.0, stage.story())

    async def transcribes(name: str) -> None:
        ran = await transcribed(tmp_path, TURNS, *CONNECTS[name])
        judge.words(f"transcribe, {name}", plain(ran.stdout), TURNS_WORDS, ran.stderr)
        judge.holds(f"transcribe, {name}", ran.code == 0, f"exit {ran.code}: {ran.stderr}")
        judge.within(f"transcribe, {name}", ran.seconds, seconds(TURNS) / 1.25 + 9.5)

    await judge.all([*each(serves, MODES, CONNECTS), *each(transcribes, CONNECTS)])


async def test_nobody_answers(tmp_path: Path) -> None:
    """Without any Flux there is an error that says so, within 9.5 s, and no text."""
    judge = Judge()
    never = {
        "accept and close": Behaviour(accept_close=True),
        "no answer to the upgrade": Behaviour(handshake_delay=float("inf")),
        "no message": Behaviour(talk="nothing"),
        "503": Behaviour(refuse=503),
    }
    codes = {"unreachable", "timeout", "connection-lost"}

    async def play(name: str, how: str) -> None:
        where = f"{how}, {name}"
        async with scene(tmp_path, never[name]) as stage:
            outcome = await stage.utter(SENTENCE, how)
            code = outcome.answer.data.get("code")
            judge.holds(where, code in codes, f"{outcome.answer} {stage.story()}")
            judge.within(where, outcome.took, 10.5, stage.story())

    async def command(name: str) -> None:
        ran = await transcribed(tmp_path, SENTENCE, never[name])
        judge.holds(f"transcribe, {name}", ran.code == 1, f"exit {ran.code}")
        judge.holds(f"transcribe, {name}", len(ran.stderr.split()) > 5, ran.stderr)
        judge.within(f"transcribe, {name}", ran.seconds, 11.5)

    await judge.all([*each(play, never, ("live", "file")), *each(command, never)])
