"""Random faults, clients and timings against one turn, in virtual time: one right outcome each."""

import asyncio
import dataclasses
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.support.coded import speak
from tests.unit.faults.stage import RATE, noise, silence
from wyoming_flux.errors import WyomingFluxError
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.simulator import faults as kinds
from wyoming_flux.simulator.faults import Fault
from wyoming_flux.utterance import Transcriber, Transcript

Virtual = Callable[[Callable[[], Awaitable[Any]]], Any]

WORDS = "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike".split()
SLOWEST = 0.5
"""Times real time at which Flux may take audio, unless it takes none."""

times = st.floats(0, 6).map(lambda x: round(x, 2))
moments: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"after": times},
    optional={"on": st.sampled_from(["connected", "start-of-turn", "end-of-turn", "close-stream"])},
)


def _midway(fault: type[Fault], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Fault]:
    return st.builds(lambda at, more: fault(**at, **more), moments, st.fixed_dictionaries(fields))


losses = st.one_of(
    _midway(kinds.Dropped, code=st.sampled_from([1000, 1005, 1006, 1008, 1011])),
    _midway(kinds.ErrorMessage),
)
any_fault = st.one_of(
    losses,
    _midway(kinds.Stall, seconds=st.one_of(st.none(), times)),
    _midway(kinds.Gibberish, kind=st.sampled_from(["text", "json", "binary"])),
    _midway(kinds.SlowReader, rate=st.sampled_from([0.0, SLOWEST, 1.0])),
    st.builds(
        kinds.Refuse,
        status=st.sampled_from([302, 400, 401, 404, 429, 500, 503]),
        code=st.sampled_from(["", "3036", "5030", "10000", "3040"]),
    ),
    st.builds(kinds.ConnectLate, seconds=times),
    st.builds(kinds.ConnectedLate, seconds=times, after_audio=st.booleans()),
    st.builds(kinds.Jitter, seconds=st.floats(0, 0.4), seed=st.integers(0, 9)),
    st.builds(kinds.SpoiledEnd, kind=st.sampled_from(["empty", "twice", "late"])),
)


@dataclass(frozen=True)
class Speech:
    """What is said: runs of words and noise with pauses."""

    parts: tuple[tuple[str, float], ...]

    @property
    def audio(self) -> bytes:
        """The audio; each word sounds once."""
        audio, words = b"", iter(WORDS)
        for kind, amount in self.parts:
            if kind == "words":
                said = [word for _, word in zip(range(int(amount)), words, strict=False)]
                audio += speak(" ".join(said)) if said else b""
            else:
                audio += (silence if kind == "silence" else noise)(amount)
        return audio

    @property
    def words(self) -> list[str]:
        """All words."""
        return WORDS[: sum(int(amount) for kind, amount in self.parts if kind == "words")]


words_part = st.tuples(st.just("words"), st.integers(1, 4).map(float))
speeches = st.builds(
    lambda lead, parts: Speech((("silence", lead), *parts)),
    times,
    st.lists(
        st.one_of(
            words_part,
            st.tuples(st.just("silence"), st.floats(0, 3)),
            st.tuples(st.just("noise"), st.floats(0, 2)),
        ),
        max_size=5,
    ).map(tuple),
)


@dataclass(frozen=True)
class Behaviour:
    """How a client sends."""

    chunk: int
    """Bytes, odd ones included."""
    pace: float
    """Times real time; 0: all at once."""
    gap: tuple[float, float]
    """Position and length of a gap, in seconds."""
    stops: bool
    leaves: float | None
    """When it gives up."""


behaviours = st.builds(
    Behaviour,
    chunk=st.sampled_from([320, 321, 640, 2048, 4096, 32000, 10_000_000]),
    pace=st.sampled_from([0.0, 0.7, 1.0, 1.0, 3.0]),
    gap=st.tuples(times, st.sampled_from([0.0, 0.5, 1.5, 4.0])),
    stops=st.booleans(),
    leaves=st.one_of(st.none(), st.none(), times),
)


@dataclass
class Ending:
    """How the turn ended."""

    outcome: Transcript | WyomingFluxError | None
    seconds: float
    """From the last thing that the client did."""
    partials: str


async def take(
    connector: Any,
    speech: Speech,
    behaviour: Behaviour,
    turn: UtteranceSettings,
    latency: float = 0.0,
) -> Ending:
    """Take one turn; the outcome is None where the client gave up first."""
    loop = asyncio.get_running_loop()
    audio = speech.audio
    shown: list[str] = []
    last = loop.time()

    async def send(transcriber: Transcriber) -> None:
        nonlocal last
        due = loop.time()
        for at in range(0, len(audio), behaviour.chunk):
            position, length = behaviour.gap
            if at <= position * RATE * 2 < at + behaviour.chunk:
                due += length
            await asyncio.sleep(max(0.0, due - loop.time()))
            await transcriber.send(audio[at : at + behaviour.chunk])
            last = loop.time()
            if behaviour.pace:
                due += min(behaviour.chunk, len(audio) - at) / 2 / RATE / behaviour.pace
        await asyncio.sleep(max(0.0, due - loop.time()))
        if behaviour.stops:
            transcriber.end()
            last = loop.time()

    outcome: Transcript | WyomingFluxError | None = None
    async with Transcriber(
        [connector], FluxSettings(keyterms=("x",)), turn, on_partial=shown.append
    ) as transcriber:
        sending = asyncio.create_task(send(transcriber))
        try:
            async with asyncio.timeout(behaviour.leaves):
                outcome = await transcriber.result()
            assert transcriber.done
            assert await transcriber.result() is outcome
        except TimeoutError:
            pass
        except WyomingFluxError as error:
            outcome = error
        ended = loop.time()
        if outcome is not None:
            # What comes afterwards changes nothing, and nothing waits for it.
            await transcriber.send(b"\0" * 1001)
            transcriber.end()
        sending.cancel()
        await asyncio.wait([sending])
    return Ending(outcome, ended - last, "".join(shown))


def _is_in_order(heard: list[str], said: list[str]) -> bool:
    rest = iter(said)
    return all(word in rest for word in heard)


turns = st.builds(
    UtteranceSettings,
    answer_on=st.sampled_from(["end-of-turn", "audio-stop"]),
    no_speech_timeout=st.sampled_from([1.0, 8.0]),
    max_turn=st.sampled_from([1.0, 20.0]),
)


@given(
    struck=st.lists(st.lists(any_fault, max_size=2), max_size=6),
    speech=speeches,
    behaviour=behaviours,
    turn=turns,
    profile=st.sampled_from(["workers-ai", "deepgram"]),
)
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_exactly_one_outcome(
    run_virtual: Virtual,
    memory_connector: Any,
    struck: list[list[Fault]],
    speech: Speech,
    behaviour: Behaviour,
    turn: UtteranceSettings,
    profile: str,
) -> None:
    """Whatever happens: one outcome, in time, of the turn's own words in order; no task left."""
    connector = memory_connector(
        recognizer="coded",
        profile=profile,
        route=profile,
        faults=[
            _for_connection(fault, number)
            for number, several in enumerate(struck, 1)
            for fault in several
        ],
    )
    ending: Ending = run_virtual(lambda: take(connector, speech, behaviour, turn))
    outcome = ending.outcome
    event(type(outcome).__name__ if not isinstance(outcome, Transcript) else str(outcome.trigger))
    if behaviour.leaves is None:
        assert outcome is not None
    # All of it may have to be heard three times; then the faults, the gap, the finalising.
    length = len(speech.audio) / 2 / RATE
    assert ending.seconds <= 3 * length / SLOWEST + 8.0 + 5.0 + turn.no_speech_timeout + 4.0
    if isinstance(outcome, Transcript):
        assert _is_in_order(outcome.text.split(), speech.words)
        shown = ending.partials.split()
        assert len(shown) <= len(WORDS)
    elif outcome is not None:
        assert outcome.code != "internal"


def _for_connection(fault: Fault, number: int) -> Fault:
    return dataclasses.replace(fault, connection=number)


@given(
    loss=losses,
    runs=st.lists(st.tuples(st.integers(1, 4), st.floats(0.1, 2.5)), min_size=1, max_size=3),
    lead=st.floats(0.1, 3),
    behaviour=behaviours,
)
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_one_lost_connection_loses_no_word(
    run_virtual: Virtual,
    memory_connector: Any,
    loss: Fault,
    runs: list[tuple[int, float]],
    lead: float,
    behaviour: Behaviour,
) -> None:
    """A connection lost once, at any time: the answer has all words of a dictation, each once."""
    parts: list[tuple[str, float]] = [("silence", lead)]
    for count, pause in runs:
        parts += [("words", float(count)), ("silence", pause)]
    speech = Speech(tuple(parts))
    behaviour = dataclasses.replace(behaviour, stops=True, leaves=None, gap=(0.0, 0.0))
    connector = memory_connector(recognizer="coded", faults=[_for_connection(loss, 1)])
    ending: Ending = run_virtual(
        lambda: take(connector, speech, behaviour, UtteranceSettings(answer_on="audio-stop"))
    )
    assert isinstance(ending.outcome, Transcript), ending.outcome
    assert ending.outcome.text.split() == speech.words
    assert not ending.outcome.missing


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one endless turn", "silence", "Flux takes no audio"])
def test_memory_of_a_long_turn(run_virtual: Virtual, memory_connector: Any, kind: str) -> None:
    """Ten minutes of audio, sent as fast as they are taken: what is kept stays below 5 MB."""
    faults = [kinds.SlowReader(after=1.0)] if kind == "Flux takes no audio" else []
    connector = memory_connector(recognizer="coded", keep=False, ingest_rate=200, faults=faults)
    second = silence(1.0) if kind == "silence" else noise(1.0)

    async def main() -> int:
        async with Transcriber(
            [connector], FluxSettings(), UtteranceSettings(answer_on="audio-stop")
        ) as transcriber:
            await transcriber.send(speak("alpha bravo"))
            tracemalloc.start()
            try:
                for _ in range(600):
                    await transcriber.send(bytes(second))
                transcriber.end()
                await asyncio.wait([asyncio.ensure_future(transcriber.result())])
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    assert run_virtual(main) < 5_000_000
