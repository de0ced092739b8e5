"""The rules of ``docs/turns.md``, one row each: a situation, what happens in it, what comes of it.

Every word of Flux stands in the row, every time is exact to a step of 0.02 s. What holds for any
audio, Flux and clock is tested in ``test_machine_properties.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.hand import (
    FORMAT_ERROR,
    Hand,
    at_once,
    ends,
    fails,
    faulty,
    hears,
    limited,
    loses,
    opens,
    quiet,
    says,
    talks,
    turn,
    warned,
)
from wyoming_flux.errors import EndpointError, FluxTimeout, NotFlux, Refused, Unreachable
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import CLOSE_STREAM, FORCE_END_TURN
from wyoming_flux.utterance.events import Drop, Fact, Learnt
from wyoming_flux.utterance.outcome import Trigger

DICTATES = {"answer_on": "audio-stop"}
HOLDS = {"hold": 500}
CLOSES = Facts(control=CLOSE_STREAM)
FORCES = Facts(control=FORCE_END_TURN)
BLIND = Facts(windows=False)
TRAILS = Facts(control=CLOSE_STREAM, prompt=False)
Step = Callable[[Hand], None]


@dataclass(frozen=True)
class Row:
    """One situation and its outcome; ``at``: seconds from the beginning to the answer."""

    situation: str
    steps: Sequence[Step]
    text: str
    trigger: Trigger
    at: float
    settings: dict[str, Any] = field(default_factory=dict)
    missing: float = 0.0
    error: type[EndpointError] | None = None
    connects: int = 1
    endpoints: int = 1
    controls: tuple[str, ...] = ()
    keyterms: tuple[str, ...] = ()


STOP, TURN, LOST = Trigger.AUDIO_STOP, Trigger.END_OF_TURN, Trigger.CONNECTION_LOST
NO_AUDIO, NO_SPEECH, LONG = Trigger.NO_AUDIO, Trigger.NO_SPEECH, Trigger.MAX_TURN

# fmt: off
ROWS = [
    # Rule 1: the client's silence.
    Row("nothing is ever sent",
        [opens(), quiet(6)],
        "", NO_AUDIO, 5.0),
    Row("a client that only ends",
        [opens(), ends()],
        "", STOP, 0.0),
    Row("five seconds of silence before any text",
        [opens(), hears(), talks(1), quiet(9)],
        "", NO_AUDIO, 6.0),
    Row("three seconds and the longest gap after text",
        [opens(), hears("Turn on"), talks(1), quiet(9)],
        "Turn on", NO_AUDIO, 4.1),
    Row("a gap before text makes the limit longer, and never more than six seconds",
        [opens(), hears(), talks(0.5), quiet(4), hears("Turn on"), talks(1), quiet(9)],
        "Turn on", NO_AUDIO, 11.5),
    Row("while much is owed the client is not called silent, but Flux stalled",
        [opens(), at_once(1.2), says("Turn", 1), at_once(3), quiet(2.6), opens(), quiet(9)],
        "Turn", LOST, 8.0, missing=3.2, error=FluxTimeout, connects=3),
    Row("what a client says that was taken for gone, before the answer, is missing",
        [opens(), talks(1), says("Turn on", 0.9), quiet(3.3), talks(0.5), turn("Turn on", 1.0),
         quiet(1)],
        "Turn on", NO_AUDIO, 4.8, missing=0.5),
    # Rule 2: draining.
    Row("an end of turn that covers the client's audio ends it",
        [opens(), talks(1), ends(), turn("Turn on", 0.92), quiet(1)],
        "Turn on", STOP, 1.0, DICTATES),
    Row("one that does not is not enough",
        [opens(), talks(1), ends(), turn("Turn on", 0.8), quiet(1.6), says("", 1, 1), quiet(5)],
        "Turn on", STOP, 4.1, DICTATES),
    Row("one second beyond, and the text unchanged for half a second",
        [opens(), talks(1), ends(), hears("Turn on"), quiet(5)],
        "Turn on", STOP, 1.04, DICTATES),
    Row("a text that still changes is waited for",
        [opens(), talks(1), ends(), says("Turn", 1.0), says("Turn", 1.4), says("Turn on", 1.8),
         says("Turn on", 2.2), says("Turn on", 2.31), quiet(1)],
        "Turn on", STOP, 1.0, DICTATES),
    Row("all was heard, and nothing more comes",
        [opens(), talks(1), ends(), says("Turn on", 0.96), quiet(5)],
        "Turn on", STOP, 2.5, DICTATES),
    Row("not all was heard, and nothing more comes: another stream hears it again",
        [opens(), talks(2), ends(), says("Turn", 1.0), quiet(2.6), opens(), turn("Turn on", 2.0),
         quiet(1)],
        "Turn on", STOP, 4.6, DICTATES, connects=2),
    # Rule 3: controls.
    Row("what is not proven is not sent",
        [opens(), talks(1), hears("Turn on"), ends(), quiet(5)],
        "Turn on", STOP, 1.0, DICTATES),
    Row("a proven CloseStream and a close: the answer",
        [opens(CLOSES), talks(1), says("Turn on", 0.9), ends(), quiet(0.1), loses(1005)],
        "Turn on", STOP, 1.1, DICTATES, controls=(CLOSE_STREAM,)),
    Row("with more than a second un-heard it waits",
        [opens(CLOSES), talks(2), says("Turn", 0.5), ends(), quiet(0.3), turn("Turn on", 2)],
        "Turn on", STOP, 2.3, DICTATES),
    Row("a close before all was heard is a lost connection, and the control is not sent again",
        [opens(CLOSES), talks(1), says("Turn", 0.5), ends(), quiet(0.1), loses(1005),
         opens(CLOSES), hears("Turn on"), quiet(5)],
        "Turn on", STOP, 1.1, DICTATES, connects=2, controls=(CLOSE_STREAM,)),
    Row("a close with 1011 flushes nothing",
        [opens(CLOSES), talks(1), says("Turn", 1), ends(), quiet(0.1), loses(1011), opens(),
         turn("Turn on", 1.0), quiet(1)],
        "Turn on", STOP, 1.1, DICTATES, connects=2, controls=(CLOSE_STREAM,)),
    Row("ForceEndTurn once more than the end was heard",
        [opens(FORCES), talks(1), says("Turn on", 1), ends(), quiet(0.1), says("Turn on", 1.2),
         quiet(0.1), turn("Turn on.", 1.3), quiet(1)],
        "Turn on.", STOP, 1.2, DICTATES, controls=(FORCE_END_TURN,)),
    Row("and the warning that no turn was open ends it as well",
        [opens(FORCES), talks(1), ends(), says("", 1), says("", 1.2), quiet(0.1), warned(),
         quiet(1)],
        "", STOP, 1.1, DICTATES, controls=(FORCE_END_TURN,)),
    # Rule 4: window ends that cannot be used.
    Row("without window ends time tells how far was heard, and a pause that it is all",
        [opens(BLIND), talks(1), says("Turn on", None), ends(), quiet(9)],
        "Turn on", STOP, 7.3, DICTATES),
    Row("window ends that creep are given up instead of the stream",
        [opens(), hears("Turn on", creeps=True), talks(4), ends(), quiet(5)],
        "Turn on", STOP, 5.28, DICTATES),
    # Rule 5: a stall.
    Row("nothing at all for 4 s: another stream, then the error",
        [opens(), talks(12)],
        "", LOST, 8.6, missing=8.6, error=FluxTimeout, connects=2),
    Row("messages without progress are no life",
        [opens(), talks(1), says("Turn", 0.9), *[talks(0.4), says("Turn", 0.9)] * 8, opens(),
         turn("Turn on", 3)],
        "Turn on", TURN, 4.2, connects=2),
    Row("garbage twice is not Flux",
        [opens(), talks(0.6), faulty(FORMAT_ERROR), talks(4.6), opens(), faulty(FORMAT_ERROR),
         talks(9)],
        "", LOST, 8.6, missing=8.6, error=NotFlux, connects=2),
    # Rule 6: lost before the answer.
    Row("lost after the client's end, and all heard half a second beyond: the answer",
        [opens(), talks(1), ends(), says("Turn on", 1.0), quiet(0.1), says("Turn on", 1.5),
         loses()],
        "Turn on", STOP, 1.1, DICTATES),
    Row("heard less than that beyond: again",
        [opens(), talks(1), ends(), says("Turn on", 1.49), loses(), opens(), turn("Turn on it",
         1.0)],
        "Turn on it", STOP, 1.0, DICTATES, connects=2),
    Row("an assistant's text that stood still for eot_timeout_ms is whole",
        [opens(), talks(4), says("Turn on", 1), says("Turn on", 4), loses()],
        "Turn on", LOST, 4.0, {"eot_timeout_ms": 3000}),
    Row("but not where the text trails: it is heard again",
        [opens(TRAILS), talks(4), says("Turn", 1), says("Turn", 4), loses(), opens(TRAILS),
         turn("Turn on", 4)],
        "Turn on", TURN, 4.0, {"eot_timeout_ms": 3000}, connects=2),
    Row("nor does a pause end it once the client has",
        [opens(TRAILS), talks(2), says("Turn", 1), ends(), says("Turn", 2), quiet(6),
         says("Turn on", 2), loses(1000)],
        "Turn on", STOP, 8.0, DICTATES, controls=(CLOSE_STREAM,)),
    Row("where it thinks for more than 6 s it is lost",
        [opens(TRAILS), talks(2), says("Turn", 2), talks(6.8), opens(TRAILS), turn("On", 9)],
        "On", TURN, 8.8, connects=2),
    Row("and before that it is not",
        [opens(TRAILS), talks(2), says("Turn", 2), talks(6.2), turn("Turn on", 8)],
        "Turn on", TURN, 8.2),
    Row("one that stood still for less is heard again",
        [opens(), talks(4), says("Turn on", 1), says("Turn on", 3.9), loses(), opens(), turn("On",
         2)],
        "On", TURN, 4.0, {"eot_timeout_ms": 3000}, connects=2),
    Row("a finished turn stays, and the open one is heard again whole",
        [opens(), talks(3), turn("One two.", 1.5), says("Three", 2.5, 1), loses(), opens(),
         ends(), turn("Three four.", 1.5), quiet(1)],
        "One two. Three four.", STOP, 3.0, DICTATES, connects=2),
    # Rule 7: the budget.
    Row("never opened: a second attempt after 4 s, and the error after 8",
        [talks(9)],
        "", LOST, 8.0, missing=8.0, error=FluxTimeout, connects=2),
    Row("the first of two attempts to open wins",
        [talks(4.1), opens(attempt=1), hears("Turn on"), talks(1), turn("Turn on it", 5)],
        "Turn on it", TURN, 5.1, connects=2),
    Row("refused for a while: pauses of 0.2, 0.5 and 1 s, then the error",
        [fails(), quiet(0.22), fails(), quiet(0.52), fails(), quiet(1.02), fails()],
        "", LOST, 1.76, missing=0.1, error=Unreachable, connects=4),
    Row("refused for good: the error at once",
        [talks(0.4), fails(Refused("no")), quiet(1)],
        "", LOST, 0.4, missing=0.4, error=Refused),
    Row("a fault that Flux reports is a lost connection",
        [opens(), talks(1), faulty(), quiet(0.2), opens(), turn("Turn on", 1)],
        "Turn on", TURN, 1.2, connects=2),
    Row("two losses are made good, the third is the end",
        [opens(), talks(1), *[says("Turn", 0.9), loses(), opens()] * 2, says("Turn", 0.9),
         loses()],
        "Turn", LOST, 1.0, missing=0.1, error=EndpointError, connects=3),
    Row("a few words more on each connection do not buy another eight seconds",
        [opens(), talks(1), says("A", 0.9), talks(3.1), opens(), talks(4.4), opens(),
         says("A b", 1), talks(9)],
        "A b", LOST, 10.54, missing=9.5, error=FluxTimeout, connects=3),
    Row("time in which nothing was owed costs nothing",
        [opens(), quiet(4), at_once(4), quiet(4.3), opens(), quiet(1),
         turn("A", 4)],
        "A", TURN, 9.3, connects=2),
    Row("after five seconds that nobody had heard another fault begins",
        [opens(), talks(1), *[says("A", 0.9), loses(), opens()] * 2, talks(2.6), says("B", 3.5),
         talks(2.6), says("B b", 6.1), *[loses(), opens(), says("C", 2)] * 2, turn("D", 3)],
        "D", TURN, 6.2, {"max_turn": 60}, connects=5),
    # Several endpoints.
    Row("after 1.5 s the next is tried beside the first",
        [talks(1.6), opens(attempt=2), turn("Turn on", 1.5)],
        "Turn on", TURN, 1.6, connects=2, endpoints=2),
    Row("a final refusal goes on to the next at once",
        [talks(0.2), fails(Refused("no")), opens(), talks(1), turn("Turn on", 1)],
        "Turn on", TURN, 1.2, connects=2, endpoints=2),
    Row("a stall of 1.5 s is enough where another waits",
        [opens(), talks(1), says("Turn", 0.9), talks(2.2), opens(), turn("Turn on", 2)],
        "Turn on", TURN, 3.2, connects=2, endpoints=2),
    Row("the last one gets five seconds, however much the first took",
        [opens(), at_once(3), quiet(12)],
        "", LOST, 9.0, missing=3.0, error=FluxTimeout, connects=3, endpoints=3),
    Row("a first message that does not come within 2.5 s: the next at once",
        [opens(), at_once(3), quiet(2.55), opens(), turn("Turn on", 3)],
        "Turn on", TURN, 2.55, connects=2, endpoints=2),
    # Rule 8: twins in time.
    Row("no speech by the clock, four seconds later, where little is owed",
        [opens(), says("", 0.0), *[talks(0.4), hears()] * 31],
        "", NO_SPEECH, 8.0),
    Row("and the end of the client by the clock: END_BY",
        [opens(), talks(1), ends(), *(step for n in range(1, 12) for step in (quiet(1.2), says("x"
         * n, 0.08 * n))), quiet(2)],
        "x" * 11, STOP, 14.25, DICTATES, missing=0.12, error=FluxTimeout),
    # Rule 9: turns.
    Row("an index beyond the next is ignored",
        [opens(), talks(1), says("Nonsense", 0.5, 99), turn("Turn on", 1)],
        "Turn on", TURN, 1.0),
    Row("an empty end of turn takes the last text",
        [opens(), talks(1), says("Turn on", 0.9), turn("", 1)],
        "Turn on", TURN, 1.0),
    Row("an empty end of turn without text: it listens on",
        [opens(), talks(1), turn("", 0.9), talks(1), turn("Turn on", 1.9, 1)],
        "Turn on", TURN, 2.0),
    Row("a next turn waits 0.25 s for the end of the one before",
        [opens(), talks(1), says("Turn", 0.8), says("", 0.9, 1), quiet(0.2), turn("Turn on",
         0.9)],
        "Turn on", TURN, 1.2),
    Row("and goes on without it",
        [opens(), talks(1), says("Turn", 0.8), says("", 0.9, 1), quiet(1)],
        "Turn", TURN, 1.26),
    Row("no speech for eight seconds heard",
        [opens(), hears(), talks(9)],
        "", NO_SPEECH, 8.0),
    Row("a wake phrase is ignored, and silence counts from its end",
        [opens(), talks(1), turn("Alexa", 1), hears(index=1), talks(9)],
        "", NO_SPEECH, 9.2),
    Row("a wake phrase that begins a key term is not cut",
        [opens(), talks(1), turn("Jarvis lamp", 1)],
        "Jarvis lamp", TURN, 1.0, keyterms=("Jarvis lamp",)),
    # Rule 10: hold.
    Row("hold waits for so much heard audio",
        [opens(), talks(1), turn("Turn on", 1), hears(index=1), talks(2)],
        "Turn on", TURN, 1.6, HOLDS),
    Row("or for a second longer by the clock",
        [opens(), talks(1), turn("Turn on", 1), quiet(2)],
        "Turn on", TURN, 2.5, HOLDS),
    Row("who goes on is heard out",
        [opens(), talks(1), turn("Turn on", 1), talks(0.4), says("the", 1.3, 1), talks(3),
         turn("the light", 4, 1), hears(index=2), talks(2)],
        "Turn on the light", TURN, 4.7, HOLDS),
    Row("lost while holding: the text is whole",
        [opens(), talks(1), turn("Turn on", 1), loses()],
        "Turn on", TURN, 1.0, HOLDS),
    Row("audio-stop while holding, with nothing owed: the answer",
        [opens(), talks(1), turn("Turn on", 0.92), ends()],
        "Turn on", STOP, 1.0, HOLDS),
    Row("audio-stop while holding, with something owed: all is heard",
        [opens(), talks(1), turn("Turn on", 0.5), talks(1), ends(), quiet(0.1), turn("the light",
         2, 1)],
        "Turn on the light", STOP, 2.1, HOLDS),
    # max_turn and rule 11: limits.
    Row("max_turn after the first text",
        [opens(), hears("Turn on"), talks(9), quiet(9)],
        "Turn on", LONG, 3.4, {"max_turn": 3}),
    Row("max_turn where windows stand still among words: by what is estimated",
        [opens(), talks(0.4), says("x", 0.2), *(step for n in range(2, 30) for step in
         (talks(0.4), says("x" * n, 0.2))), quiet(9)],
        "x" * 29, LONG, 12.62, {"max_turn": 3}),
    Row("the minutes of the day cut, and what is cut is missing",
        [opens(), talks(1), limited(0.5), talks(1), quiet(0.1), turn("Turn on", 1.5), quiet(1)],
        "Turn on", Trigger.DAILY_LIMIT, 2.1, DICTATES, missing=0.5),
]
# fmt: on


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.situation)
def test_rule(row: Row) -> None:
    """What comes of the situation, and when."""
    hand = Hand(row.settings, row.endpoints, row.keyterms)
    for step in row.steps:
        if hand.answer is None:
            step(hand)
    answer = hand.answer
    assert answer is not None, hand.machine.state
    told = (answer.text, answer.trigger, hand.connects, tuple(hand.controls))
    assert told == (row.text, row.trigger, row.connects, row.controls)
    assert hand.answered_at == pytest.approx(row.at, abs=0.05)
    assert answer.missing == pytest.approx(row.missing, abs=0.03)
    if row.error is None:
        assert answer.error is None
    else:
        assert isinstance(answer.error, row.error)


@pytest.mark.parametrize(
    ("steps", "settings", "at"),
    [
        ([opens(), talks(1), turn("Turn on", 1)], HOLDS, 2.5),
        ([opens(), talks(1), says("Turn", 0.8), says("", 0.9, 1)], {}, 1.25),
    ],
    ids=["hold", "late end"],
)
def test_what_is_due_between_two_beats(
    steps: Sequence[Step], settings: dict[str, Any], at: float
) -> None:
    """A caller that ticks at the deadline alone is not late by a part of a beat."""
    hand = Hand(settings)
    for step in steps:
        step(hand)
    while (due := hand.machine.deadline) is not None:
        hand.now = due
        hand.machine.tick(due)
        hand.obey()
    assert hand.answered_at == pytest.approx(at, abs=0.002)


def test_a_pause_is_as_long_as_it_says() -> None:
    """The second attempt after a second refusal comes when it is due, not at the next beat."""
    hand = Hand({})
    for pause in (0.2, 0.5, 1.0):
        fails()(hand)
        began, connects = hand.now, hand.connects
        while hand.connects == connects:
            hand.now = hand.machine.deadline or 0.0
            hand.machine.tick(hand.now)
            hand.obey()
        assert hand.now - began == pytest.approx(pause, abs=0.002)


def test_room() -> None:
    """With 30 s un-sent the client waits, until they are sent, or it has ended."""
    hand = Hand(DICTATES)
    hand.feed(29.99)
    assert hand.machine.room
    hand.feed(0.01)
    assert not hand.machine.room
    opens()(hand)
    assert hand.machine.room
    hand.feed(30.5)
    says("", 30)(hand)
    assert hand.machine.room
    hand.feed(40)
    assert not hand.machine.room
    ends()(hand)
    assert hand.machine.room


def test_what_is_told_of_endpoints() -> None:
    """The answer names who gave it and what went wrong before; its stream may prove a control."""
    hand = Hand({}, endpoints=2)
    error = Refused("no")
    fails(error)(hand)
    for step in (opens(Facts(candidate=CLOSE_STREAM)), talks(1), turn("Turn on", 1)):
        step(hand)
    assert hand.answer is not None
    assert (hand.answer.endpoint, hand.answer.faults) == (1, ((0, error),))
    assert Learnt(0, Fact.DOWN, error=error) in hand.events
    assert Learnt(1, Fact.WORKS) in hand.events
    assert hand.events[-1] == Drop(2, CLOSE_STREAM, pytest.approx(0.96, abs=0.05))


@pytest.mark.parametrize(("facts", "heard_again"), [(TRAILS, 3.0), (CLOSES, 1.5)])
def test_silence_of_one_that_trails_is_no_silence(facts: Facts, heard_again: float) -> None:
    """Lost before its first text, its audio is heard again from the beginning."""
    hand = Hand({})
    for step in (opens(facts), talks(3), says("", 3), loses(), opens(facts)):
        step(hand)
    assert hand.sent == pytest.approx(heard_again, abs=0.1)


def test_a_control_that_failed_is_told_and_not_used_again() -> None:
    """After a close that flushed nothing, silence alone ends the next stream of the utterance."""
    hand = Hand(DICTATES)
    steps = [opens(CLOSES), talks(1), says("Turn", 1), ends(), quiet(0.1), loses(1011)]
    for step in [*steps, opens(CLOSES), hears("Turn on"), quiet(2)]:
        step(hand)
    assert hand.answer is not None
    assert Learnt(0, Fact.CONTROL_FAILS, CLOSE_STREAM) in hand.events
    assert hand.controls == [CLOSE_STREAM]
