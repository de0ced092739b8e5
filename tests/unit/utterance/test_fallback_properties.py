"""What the machine promises where there is somebody else to ask: the text, whatever happens.

The last endpoint works; those before may have any faults, at any time, on every connection.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from tests.support.paper_flux import RATE, Nature, silence
from tests.support.world import World, paced
from tests.unit.utterance.test_machine_properties import ASSISTANT, DICTATION, clients, spoken
from wyoming_flux.utterance import rules
from wyoming_flux.utterance.events import Answer

GOOD = Nature(controls="flush")
ENGINE = Nature(partial=False, thinks=1.0)

base = st.builds(
    Nature,
    opens_after=st.sampled_from([0.0, 0.05, 0.4, 1.4]),
    latency=st.sampled_from([0.0, 0.02, 0.1]),
    lag=st.sampled_from([0.0, 0.0, 0.2, 0.8]),
    word_times=st.booleans(),
    controls=st.sampled_from(["error", "unflushed", "1011"]),
)
broken = st.one_of(
    st.builds(lambda n, at: replace(n, drops_at=at), base, st.floats(0.05, 12.0)),
    st.builds(lambda n, at: replace(n, falls_silent_at=at), base, st.floats(0.05, 12.0)),
    st.builds(lambda n: replace(n, refuses=True), base),
    st.builds(lambda n: replace(n, denies=True), base),
    st.builds(lambda n: replace(n, opens_after=500.0), base),
)
endpoint = st.lists(broken, min_size=1, max_size=3)
"""Each connection has its fault, the last one for all that follow."""
sleeps: Any = st.lists(
    st.tuples(st.floats(0.0, 15.0), st.sampled_from([0.5, 3.2, 9.0])), max_size=1
)


@given(
    client=clients,
    first=endpoint,
    second=st.one_of(st.none(), endpoint),
    last=st.sampled_from([GOOD, ENGINE]),
    asleep=sleeps,
)
def test_a_dictation_has_every_word_once(
    client: Any, first: list[Nature], second: list[Nature] | None, last: Nature, asleep: Any
) -> None:
    """Whatever is lost and when, the whole text comes from somebody, nothing twice."""
    audio, text = spoken(client["turns"], client["pauses"])
    chunks = paced(audio, min(client["chunk"], 0.3))
    fallbacks = [one for one in (second, [last]) if one is not None]
    world = World(
        chunks,
        chunks[-1][0] + 0.01,
        first,
        settings=DICTATION,
        fallbacks=fallbacks,
        sleeps=asleep,
    )
    answer = world.play()
    assert (answer.text, answer.error, answer.missing) == (text, None, 0), answer
    event(f"asked: {world.connects}")


@given(
    client=clients,
    first=endpoint,
    second=st.one_of(st.none(), endpoint),
    last=st.sampled_from([GOOD, ENGINE]),
)
def test_an_assistant_gets_the_command(
    client: Any, first: list[Nature], second: list[Nature] | None, last: Nature
) -> None:
    """While the microphone stays open, the first turn is the answer: all of it, nothing else."""
    audio, text = spoken(client["turns"][:1], [40.0])
    fallbacks = [one for one in (second, [last]) if one is not None]
    answer = World(paced(audio), None, first, settings=ASSISTANT, fallbacks=fallbacks).play()
    assert (answer.text, answer.error) == (text, None), answer


@pytest.mark.parametrize(
    ("nature", "within"),
    [
        (Nature(denies=True), 0.1),
        (Nature(refuses=True), rules.BESIDE_NEXT + rules.BEAT),
        (Nature(opens_after=500.0), rules.BESIDE_NEXT + rules.BEAT),
    ],
    ids=["denied", "refused", "dead"],
)
def test_the_next_is_asked_soon(nature: Nature, within: float) -> None:
    """At once after a final refusal, else within 1.5 s; the fault of the first one is told."""
    audio, text = spoken([5], [40.0])
    world = World(paced(audio), None, [nature], fallbacks=[[GOOD]])
    answer = world.play()
    assert answer.text == text
    assert answer.endpoint == 1
    assert answer.faults[0][0] == 0
    assert min(at for at, number in world.asked if number == 1) <= within


def _answered_at(first: Nature, last: Nature) -> tuple[float, Answer]:
    audio, _ = spoken([5], [40.0])
    world = World(paced(audio), None, [first], fallbacks=[[last]])
    answer = world.play()
    return world.answered_at, answer


@pytest.mark.parametrize("at", [0.3, 0.7, 1.1, 1.5, 1.9])
def test_a_fault_in_the_sentence_costs_little(at: float) -> None:
    """Silence at any moment: the next is asked after 1.5 s of owed audio, and catches up."""
    usual, _ = _answered_at(GOOD, GOOD)
    late, answer = _answered_at(replace(GOOD, falls_silent_at=at), GOOD)
    assert answer.endpoint == 1
    # Half a second must be owed first; the sentence is heard anew at 1.25 times real time.
    replay = at + rules.OWED + rules.STALL_WITH_NEXT
    assert late - usual <= rules.OWED + rules.STALL_WITH_NEXT + replay / 1.25 + 0.5


SLOW = Nature(ingest=0.3)
"""Takes audio at a third of its speed, so that it never stands still for long."""


@pytest.mark.parametrize("first", [[SLOW], [replace(SLOW, drops_at=3.0), Nature(denies=True)]])
def test_a_slow_one_leaves_the_next_its_time(first: list[Nature]) -> None:
    """Nobody has a word for twelve seconds: the next one hears them, with twelve of its own."""
    audio, text = spoken([5], [40.0])
    world = World(paced(silence(4.0) + audio), None, first, fallbacks=[[replace(GOOD, ingest=0.6)]])
    answer = world.play()
    assert (answer.text, answer.error, answer.endpoint) == (text, None, 1), answer
    # Rule 8, for each of the two.
    most = ASSISTANT.no_speech_timeout + rules.TWIN_NO_SPEECH
    assert world.answered_at <= 2 * most + rules.BESIDE_NEXT


def test_a_slow_one_leaves_the_next_a_dictation() -> None:
    """What it has not heard in time after the client's end, the next one hears."""
    audio, text = spoken([40, 30], [0.8])
    chunks = paced(audio)
    world = World(chunks, chunks[-1][0], [SLOW], settings=DICTATION, fallbacks=[[GOOD]])
    answer = world.play()
    assert (answer.text, answer.error, answer.missing) == (text, None, 0), answer
    assert answer.endpoint == 1


def test_an_engine_may_think() -> None:
    """Nothing but its word ends the turn: neither silence heard nor twelve seconds."""
    audio, text = spoken([3, 3], [0.6])
    chunks = paced(audio)
    slow = replace(ENGINE, thinks=9.0)
    answer = World(chunks, chunks[-1][0], [slow], settings=DICTATION).play()
    assert (answer.text, answer.missing) == (text, 0)


def test_an_engine_without_an_answer_is_no_silence() -> None:
    """An engine that does not answer in its 20 s gives an error, not an empty text."""
    audio, _ = spoken([3], [0.6])
    chunks = paced(audio)
    world = World(chunks, chunks[-1][0], [replace(ENGINE, thinks=90.0)], settings=DICTATION)
    answer = world.play()
    assert answer.error is not None
    assert answer.missing > 0
    owed = len(audio) / 2 / RATE
    assert world.answered_at <= owed + 1.25 * owed + rules.END_BY[1] + rules.ENGINE + 1


def test_silence_to_an_engine() -> None:
    """Nothing said: an empty answer once no_speech and max_turn are over, not before."""
    world = World(paced(silence(40.0), 0.1), None, [ENGINE], settings=ASSISTANT)
    answer = world.play()
    assert (answer.text, answer.error, answer.missing) == ("", None, 0)
    patience = ASSISTANT.no_speech_timeout + ASSISTANT.max_turn
    assert patience <= world.answered_at <= patience + 2
