"""A foreign Flux and our process before it; utterances, and what came of them; a judge of many."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from .coded_audio import RATE, plain, silence, speak
from .foreign_behaviour import Behaviour
from .foreign_flux import ForeignFlux
from .processes import Process, Ran, Received, WyomingClient, transcribe, write_wav

Play = Callable[[], Awaitable[None]]
"""One scene, as :meth:`Judge.all` plays it."""
AT_ONCE: Final = 14
"""Scenes at once: they mostly wait, and the machine may have two cores."""
PATIENT: Final = pytest.mark.timeout(240)
"""For tests of many scenes: alone some 30 s at most; a busy machine needs more."""

SAID: Final = "turn on the living room light and close the kitchen blinds then play some jazz music"
WORDS: Final = SAID.split()
SENTENCE: Final = silence(0.3) + speak(SAID)
"""4.3 s."""
TURNS: Final = silence(0.3) + speak(" ".join(WORDS[:6])) + silence(0.9) + speak(" ".join(WORDS[7:]))
TURNS_WORDS: Final = WORDS[:6] + WORDS[7:]
"""Two turns of Flux, for clients that say when they are done."""
MODES: Final = {
    "end-of-turn": ("live", SENTENCE, WORDS),
    "audio-stop": ("stops", TURNS, TURNS_WORDS),
}
"""For each answer mode how a client speaks, what it says, and the words of it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client got for an utterance."""

    answer: Received
    after: float
    """Seconds from its last spoken sample to the answer."""
    took: float
    """Seconds from its beginning to the answer."""
    events: Sequence[Received]

    @property
    def words(self) -> list[str]:
        """The words of the transcript; of an error, its code in angle brackets."""
        if self.answer.kind == "error":
            return [f"<{self.answer.data.get('code')}>"]
        return plain(self.answer.data["text"])


@dataclass
class Scene:
    """One of our servers before a Flux of its own."""

    flux: ForeignFlux
    server: Process
    home: Path

    async def utter(
        self, pcm: bytes, how: str, *, patience: float = 40.0, **options: Any
    ) -> Outcome:
        """Say something on a new connection, and wait for the answer.

        *how*: ``live``: the microphone stays open until the answer, as an assistant's;
        ``stops``: the client says the moment the speech is over that it is; ``file``: as fast as it
        can. *options* are those of :meth:`WyomingClient.live`.
        """
        async with await WyomingClient.connect(self.server.uri) as client:
            began = time.monotonic()
            talking = asyncio.create_task(_talk(client, pcm, how, patience, options))
            try:
                answer = await client.answer(patience)
            finally:
                talking.cancel()
                await asyncio.wait([talking])
                if not talking.cancelled():
                    talking.result()
            # A live answer may be there before the client has sent all that it had to say.
            after = answer.at - client.ended_at
            return Outcome(answer, after, answer.at - began, tuple(client.events))

    def story(self) -> str:
        """Return what both sides saw, for the report of a test that failed."""
        return "\n".join([self.flux.story(), *self.server.log[-12:]])


async def _talk(
    client: WyomingClient, pcm: bytes, how: str, patience: float, options: dict[str, Any]
) -> None:
    try:
        await client.begin()
        if how == "file":
            await client.fast(pcm)
        else:
            await client.live(pcm, open_for=patience if how == "live" else 0.0, **options)
        if how != "live":
            await client.stop()
    except ConnectionError:
        pass  # the answer says what became of it


@asynccontextmanager
async def scene(
    home: Path, *behaviours: Behaviour, options: Iterable[str] = (), **process: Any
) -> AsyncIterator[Scene]:
    """Start a Flux that behaves so, and ``serve`` before it with these options."""
    async with (
        ForeignFlux(*behaviours) as flux,
        await Process.serve("--worker-url", flux.url, *options, home=home, **process) as server,
    ):
        yield Scene(flux, server, home)
        assert not flux.wrong, flux.wrong


async def transcribed(home: Path, pcm: bytes, *behaviours: Behaviour, **options: Any) -> Ran:
    """Run ``transcribe`` on a recording before a Flux that behaves so."""
    async with ForeignFlux(*behaviours) as flux:
        recording = write_wav(home / f"{flux.port}.wav", pcm)
        ran = await transcribe(str(recording), "--worker-url", flux.url, home=home, **options)
        assert not flux.wrong, flux.wrong
        if not flux.streams:
            return ran
        # What a busy machine needs to start a process is no part of what is judged.
        return replace(ran, seconds=ran.ended - flux.streams[0].accepted)


def seconds(pcm: bytes) -> float:
    """Return how long audio is."""
    return len(pcm) / 2 / RATE


def each(play: Callable[..., Awaitable[None]], *cases: Iterable[Any]) -> list[tuple[str, Play]]:
    """Return a scene for each combination of the cases, named by them."""
    return [
        (" ".join([play.__name__, *map(str, case)]), partial(play, *case))
        for case in itertools.product(*cases)
    ]


@dataclass
class Judge:
    """Collects what was wrong in many scenes, so that one test tells all of it."""

    faults: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def words(
        self, where: str, words: Sequence[str], wanted: Sequence[str], story: str = ""
    ) -> None:
        """Hold words against those that were said: each once, in order."""
        self.seen.append(f"{where}: {' '.join(words)}")
        if list(words) != list(wanted):
            said = f"{where}: {' '.join(words) or '(nothing)'!r} instead of {' '.join(wanted)!r}"
            self.faults.append(f"{said}\n{story}")

    def within(self, where: str, took: float, bound: float, story: str = "") -> None:
        """Hold a time against its bound."""
        self.seen.append(f"{where}: {took:.2f} s")
        if took > bound:
            self.faults.append(f"{where}: {took:.2f} s instead of {bound:g} s\n{story}")

    def holds(self, where: str, fact: bool, otherwise: str) -> None:
        """Take note of what does not hold."""
        if not fact:
            self.faults.append(f"{where}: {otherwise}")

    async def all(self, scenes: Iterable[tuple[str, Play]], at_once: int = AT_ONCE) -> None:
        """Play named scenes side by side; then raise AssertionError with all that was wrong."""
        limit = asyncio.Semaphore(at_once)

        async def play(name: str, run: Play) -> None:
            async with limit:
                try:
                    await run()
                except Exception as error:
                    self.faults.append(f"{name}: {error!r}")

        async with asyncio.TaskGroup() as group:
            for name, run in scenes:
                group.create_task(play(name, run))
        print("\n".join(self.seen))
        wrong = "\n".join(self.faults)
        assert not self.faults, f"{len(self.faults)} faults\n{wrong}"
