"""Every utterance ends, in time: long recordings, endless streams, connections lost for good.

Judged from outside: our processes, a client over a raw socket, a Flux that imports nothing of ours.
"""

import asyncio
import signal
import struct
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.support.coded_audio import plain, silence, speak
from tests.support.foreign_behaviour import GOOD, Behaviour
from tests.support.foreign_flux import ForeignFlux
from tests.support.processes import Process, WyomingClient, transcribe
from tests.support.scene import (
    PATIENT,
    SENTENCE,
    TURNS,
    TURNS_WORDS,
    WORDS,
    Judge,
    each,
    scene,
    seconds,
    transcribed,
)

pytestmark = PATIENT


# ---------------------------------------------------------------------------- long recordings


def dictation(words: int, per_turn: int, pause: float = 0.9) -> tuple[bytes, list[str]]:
    """Return a recording of so many different words, and the words."""
    said = [f"n{number}" for number in range(words)]
    turns = [said[at : at + per_turn] for at in range(0, words, per_turn)]
    return silence(pause).join(speak(" ".join(turn), gap=0.1) for turn in turns), said


LONG = dictation(640, 8)
"""274 s in 80 turns."""
MINUTE = dictation(96, 8)
"""41 s in twelve turns, for a Flux at its usual pace."""
BREATHLESS = dictation(640, 320)
"""225 s in two turns that are longer than what is kept for a replay."""


def is_part(words: Sequence[str], said: Sequence[str]) -> bool:
    """Tell whether words are some of those that were said, each at most once and in order."""
    rest = iter(said)
    return all(word in rest for word in words)


@pytest.mark.slow
async def test_a_long_recording(tmp_path: Path) -> None:
    """Minutes of speech, the connection lost every 15 or 60 s: all words once, exit code 0.

    Where a connection is lost for good: what was heard, a sentence on standard error, exit code 1.
    """
    judge = Judge()

    async def play(name: str, recording: tuple[bytes, list[str]], flux: Behaviour) -> None:
        pcm, said = recording
        ran = await transcribed(tmp_path, pcm, flux, patience=100.0)
        heard = plain(ran.stdout)
        missing = [word for word in said if word not in set(heard)]
        told = f"{len(missing)} words are missing, {missing[:20]}"
        judge.holds(name, is_part(heard, said), f"words twice or damaged: {ran.stdout}")
        judge.holds(name, heard == said, f"{told}; exit {ran.code}: {ran.stderr}")
        judge.holds(name, ran.code == (0 if heard == said else 1), f"exit {ran.code}, {told}")
        judge.within(name, ran.seconds, 60.0)

    async def lost(name: str) -> None:
        pcm, said = LONG
        first = Behaviour(drop_after=60.0, ingest=0)
        ran = await transcribed(tmp_path, pcm, first, Behaviour(refuse=503), patience=100.0)
        heard = plain(ran.stdout)
        judge.holds(name, ran.code == 1, f"exit {ran.code}")
        judge.holds(name, len(ran.stderr.split()) > 5, f"standard error: {ran.stderr!r}")
        judge.holds(name, is_part(heard, said), f"words twice or damaged: {ran.stdout}")
        judge.holds(name, len(heard) > 100, f"what was heard is lost: {ran.stdout!r}")

    cases = {
        "every 15 s": (LONG, Behaviour(ingest=0, drop_after=15.0)),
        "every 60 s": (LONG, Behaviour(ingest=0, drop_after=60.0)),
        "every 60 s, lag by 0.8 s": (LONG, Behaviour(ingest=0, drop_after=60.0, window_lag=0.8)),
        "every 15 s, no windows": (MINUTE, Behaviour(drop_after=15.0, window="missing")),
        "breathless, every 60 s": (BREATHLESS, Behaviour(ingest=0, drop_after=60.0)),
        "never": (LONG, Behaviour(ingest=0)),
    }
    plays = [(name, partial(play, name, *case)) for name, case in cases.items()]
    await judge.all([*each(lost, ["lost for good"]), *plays], at_once=2)


@pytest.mark.slow
async def test_a_long_dictation(tmp_path: Path) -> None:
    """The same at the server, for a client that sends minutes at once: all words once."""
    judge = Judge()
    pcm, said = LONG

    async def play(every: float) -> None:
        flux = Behaviour(drop_after=every, ingest=0)
        async with scene(tmp_path, flux, options=("--answer-on", "audio-stop")) as stage:
            outcome = await stage.utter(pcm, "file", patience=100.0)
            judge.words(f"every {every:g} s", outcome.words, said, "\n".join(stage.server.log))

    await judge.all(each(play, (15.0, 60.0)), at_once=2)


# ---------------------------------------------------------------------------- standard input


def endless_wav(pcm: bytes, size: int = 0xFFFFFFFF) -> bytes:
    """Return a WAV as ffmpeg and arecord write it into a pipe: they do not know its length."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", size, b"WAVE")
        + form
        + b"data"
        + struct.pack("<I", size)
        + pcm
    )


async def test_a_wav_without_length_from_a_pipe(tmp_path: Path) -> None:
    """All sentences of a recording that comes through a pipe are heard, not the first alone."""
    judge = Judge()
    # More than what is read ahead, so that the first turn ends long before the input does.
    pcm, said = dictation(320, 8)
    inputs = {"ffmpeg": endless_wav(pcm), "arecord": endless_wav(pcm, 0x7FFFFFC0)}

    async def play(name: str) -> None:
        async with ForeignFlux(Behaviour(ingest=20.0)) as flux:
            options = ("-", "--worker-url", flux.url)
            ran = await transcribe(*options, home=tmp_path, stdin=inputs[name])
            judge.words(name, plain(ran.stdout), said, ran.stderr)
            judge.holds(name, ran.code == 0, f"exit {ran.code}: {ran.stderr}")

    await judge.all(each(play, inputs))


async def test_no_standard_input(tmp_path: Path) -> None:
    """``transcribe -`` with nothing to read ends within 3 s, with a sentence and exit code 1."""
    judge = Judge()

    async def play(stdin: bytes | None) -> None:
        name = "the null device" if stdin is None else "an empty pipe"
        async with ForeignFlux() as flux:
            options = ("-", "--worker-url", flux.url)
            ran = await transcribe(*options, home=tmp_path, stdin=stdin, patience=10.0)
            judge.holds(name, ran.code == 1, f"exit {ran.code}")
            judge.holds(name, len(ran.stderr.split()) > 4, f"standard error: {ran.stderr!r}")
            judge.within(name, ran.seconds, 3.0)

    await judge.all(each(play, (None, b"")))


# ---------------------------------------------------------------------------- endless streams

CREEPS = Behaviour(window="creep", never_final=True, talks_on=True)
TALKS_ON = Behaviour(never_final=True, talks_on=True)
HOWS = ("live", "stops", "file")
END_BY = 12.0
"""After the client's end, and 1.25 times what was not heard then."""


@pytest.mark.slow
async def test_a_flux_that_never_ends_a_turn(tmp_path: Path) -> None:
    """Whether the client streams, stops or sends a file: the answer comes within its bound.

    Streaming: the longest turn and 8 s after the first text. Else: 12 s and 1.25 times the rest.
    """
    judge = Judge()
    fluxes = {
        "creeps and talks on": CREEPS,
        "talks on": TALKS_ON,
        "never final": Behaviour(never_final=True),
        "creeps": Behaviour(window="creep", never_final=True),
    }

    async def play(name: str, how: str) -> None:
        where = f"{name}, {how}"
        async with scene(tmp_path, fluxes[name], options=("--max-turn", "5")) as stage:
            outcome = await stage.utter(SENTENCE, how)
            judge.words(where, outcome.words, WORDS, stage.story())
            if how == "live":
                # The first text is there 1 s after the beginning.
                judge.within(where, outcome.took, 1.0 + 5.0 + 8.0 + 1.0, stage.story())
            else:
                owed = seconds(SENTENCE) if how == "file" else 0.5
                judge.within(where, outcome.after, END_BY + 1.25 * owed + 1.0, stage.story())

    async def command(name: str) -> None:
        ran = await transcribed(tmp_path, SENTENCE, fluxes[name])
        judge.words(f"transcribe, {name}", plain(ran.stdout), WORDS, ran.stderr)
        judge.within(f"transcribe, {name}", ran.seconds, END_BY + 1.25 * seconds(SENTENCE) + 2.0)

    await judge.all([*each(play, fluxes, HOWS), *each(command, fluxes)])


@pytest.mark.slow
async def test_messages_without_progress_are_no_life(tmp_path: Path) -> None:
    """Heartbeats, warnings and messages that say nothing: an error within 9.5 s of the fault."""
    judge = Judge()

    async def play(talk: str, how: str) -> None:
        async with scene(tmp_path, Behaviour(talk=talk)) as stage:
            outcome = await stage.utter(SENTENCE, how)
            where = f"{talk}, {how}"
            codes = {"connection-lost", "timeout", "not-flux"}
            judge.holds(where, outcome.answer.data.get("code") in codes, f"{outcome.words}")
            # More than half a second must be owed before anything is a fault.
            judge.within(where, outcome.took, 9.5 + 1.0, stage.story())

    async def once(talk: str) -> None:
        async with scene(tmp_path, Behaviour(talk=talk), GOOD) as stage:
            outcome = await stage.utter(SENTENCE, "live")
            judge.words(f"{talk} once", outcome.words, WORDS, stage.story())
            judge.within(f"{talk} once", outcome.took, 4.0 + seconds(SENTENCE) + 3.0)

    talks = ("heartbeats", "warnings", "no-event", "no-turn-index")
    await judge.all([*each(play, talks, HOWS), *each(once, talks)])


@pytest.mark.slow
async def test_nobody_speaks(tmp_path: Path) -> None:
    """Silence alone gives an empty transcript after 8 s, also where turns end without text."""
    judge = Judge()
    fluxes = {
        "as documented": GOOD,
        "empty ends every 5 s": Behaviour(empty_ends_every=5.0),
        "empty ends every second": Behaviour(empty_ends_every=1.0),
        "window ends lag by 0.8 s": Behaviour(window_lag=0.8),
        "window ends creep": Behaviour(window="creep"),
        "window ends missing": Behaviour(window="missing"),
    }

    async def play(name: str) -> None:
        async with scene(tmp_path, fluxes[name]) as stage:
            outcome = await stage.utter(silence(0.1), "live", patience=25.0)
            judge.words(name, outcome.words, [], stage.story())
            # Its twin in time: four seconds later.
            judge.within(name, outcome.took, 12.5, stage.story())
            judge.holds(name, outcome.took > 7.5, f"already after {outcome.took:.1f} s")

    async def stops(name: str) -> None:
        async with scene(tmp_path, fluxes[name]) as stage:
            outcome = await stage.utter(silence(1.0), "stops", patience=25.0)
            judge.words(f"{name}, stops", outcome.words, [], stage.story())
            judge.within(f"{name}, stops", outcome.after, 6.0, stage.story())

    await judge.all([*each(play, fluxes), *each(stops, fluxes)])


# ---------------------------------------------------------------------------- lost for good


@pytest.mark.slow
async def test_half_a_command_is_not_carried_out(tmp_path: Path) -> None:
    """A connection lost for good amid a sentence: an assistant gets ``connection-lost``, no text.

    A dictation gets its text and the log a warning; ``transcribe`` exits with 1 and says why.
    """
    judge = Judge()
    first = Behaviour(drop_after=1.7)
    fates: dict[str, tuple[Behaviour, ...]] = {
        "then refused": (first, Behaviour(refuse=503)),
        "then accepted and closed": (first, Behaviour(accept_close=True)),
        "then mute": (first, Behaviour(talk="nothing")),
        "lost again and again": (first,),
        "then refused for good": (first, Behaviour(refuse=401)),
    }

    async def assistant(name: str, how: str) -> None:
        where = f"end-of-turn, {name}, {how}"
        async with scene(tmp_path, *fates[name]) as stage:
            outcome = await stage.utter(SENTENCE, how)
            codes = {"connection-lost", *({"auth"} if name == "then refused for good" else ())}
            judge.holds(where, outcome.answer.data.get("code") in codes, f"{outcome.words}")
            text = str(outcome.answer.data.get("text"))
            judge.holds(where, len(text.split()) > 4, f"no sentence: {text!r}")
            judge.within(where, outcome.took, 1.7 + 9.5 + 1.0, stage.story())

    async def dictates(name: str) -> None:
        where = f"audio-stop, {name}"
        async with scene(tmp_path, *fates[name], options=("--answer-on", "audio-stop")) as stage:
            outcome = await stage.utter(TURNS, "stops")
            heard = outcome.words
            judge.holds(where, outcome.answer.kind == "transcript", f"{outcome.answer}")
            judge.holds(where, bool(heard) and is_part(heard, TURNS_WORDS), f"{heard}")
            try:
                # The line of an utterance comes when its connection is closed.
                await stage.server.wait_for(r"\bWARNING\b", patience=5.0)
            except TimeoutError:
                judge.holds(where, False, f"no warning: {stage.server.log}")

    async def command(name: str) -> None:
        where = f"transcribe, {name}"
        ran = await transcribed(tmp_path, TURNS, *fates[name])
        heard = plain(ran.stdout)
        judge.holds(where, ran.code == 1, f"exit {ran.code}")
        judge.holds(where, len(ran.stderr.split()) > 5, f"standard error: {ran.stderr!r}")
        judge.holds(where, bool(heard) and is_part(heard, TURNS_WORDS), f"{ran.stdout!r}")

    assistants = each(assistant, fates, ("live", "stops"))
    await judge.all([*assistants, *each(dictates, fates), *each(command, fates)])


async def test_a_client_that_sends_more_than_can_wait(tmp_path: Path) -> None:
    """Two minutes sent at once: reading stops at 30 s, nothing is lost, and another is served."""
    pcm, said = dictation(280, 8)
    async with scene(tmp_path, Behaviour(ingest=20.0), options=("--answer-on", "audio-stop")) as s:
        long, short = await asyncio.gather(
            s.utter(pcm, "file", patience=60.0), s.utter(TURNS, "stops", patience=60.0)
        )
        assert long.words == said, s.story()
        assert short.words == TURNS_WORDS
        assert short.after < 2.5


async def test_the_server_ends_amid_a_sentence(tmp_path: Path) -> None:
    """SIGTERM amid a sentence: within 7 s the sentence or an error, and exit code 0."""
    async with ForeignFlux() as flux:
        made = await Process.serve("--worker-url", flux.url, home=tmp_path)
        async with made as server, await WyomingClient.connect(server.uri) as client:
            await client.begin()
            talking = asyncio.create_task(client.live(SENTENCE, open_for=10.0))
            await flux.heard(1.5)
            ending = asyncio.create_task(server.end(signal.SIGTERM, patience=7.0))
            answer = await client.answer(7.0)
            heard = plain(str(answer.data.get("text")))
            assert answer.kind == "error" or heard == WORDS
            assert await ending == 0
            talking.cancel()
            await asyncio.wait([talking])
