"""The tracker by property: whatever happens in whatever order, a turn has exactly one outcome."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.errors import AuthFailed, ConnectionLost, FluxTimeout, WyomingFluxError
from wyoming_flux.flux.messages import (
    NO_ACTIVE_TURN,
    Connected,
    FluxFault,
    FluxWarning,
    Garbage,
    Message,
    Other,
    TurnEvent,
    TurnInfo,
)
from wyoming_flux.settings import UtteranceSettings
from wyoming_flux.utterance.decision import (
    Connect,
    Decision,
    Finish,
    SendSilence,
    Show,
    StopForwarding,
)
from wyoming_flux.utterance.outcome import Transcript, Trigger
from wyoming_flux.utterance.rules import BACK_OFF, FAULT_BUDGET, GAP_ENDS
from wyoming_flux.utterance.tracker import Tracker

words = st.sampled_from(
    ["", "turn", "turn on", "turn on the light", "okay nabu", "Okay Nabu, turn"]
)
infos = st.builds(
    TurnInfo,
    event=st.sampled_from(TurnEvent),
    turn_index=st.integers(0, 3),
    audio_window_end=st.floats(0, 1e9),
    transcript=words,
    first_word_start=st.none() | st.floats(0, 1e9),
)
messages = st.one_of(
    infos,
    st.sampled_from(
        [Connected("r"), Other("x"), Garbage(), FluxFault("E"), FluxWarning(NO_ACTIVE_TURN)]
    ),
)
errors = st.sampled_from([FluxTimeout("t"), ConnectionLost("l"), AuthFailed("a")])
actions = st.one_of(
    st.tuples(st.just("audio"), st.floats(0.01, 5)),
    st.tuples(st.just("send"), st.floats(0.01, 5)),
    st.tuples(st.just("opened")),
    st.tuples(st.just("failed"), errors),
    st.tuples(st.just("lost"), errors),
    st.tuples(st.just("message"), messages),
    st.tuples(st.just("end")),
)
steps = st.lists(st.tuples(st.floats(0, 3), actions), max_size=40)
settings = st.builds(
    UtteranceSettings,
    answer_on=st.sampled_from(["end-of-turn", "audio-stop"]),
    no_speech_timeout=st.floats(1, 10),
    max_turn=st.floats(1, 20),
)


class Driver:
    """Stands for the transcriber: keeps the deadlines, sends what it is told to."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.now = 100.0
        self.pending = 0.0
        self.total = 0.0
        self.forwarding = True
        self.finishes: list[Finish] = []
        self.shown = ""
        self.ticks = 0
        self.apply(tracker.start(self.now))

    def apply(self, decisions: list[Decision]) -> None:
        assert not (decisions and self.finishes), "a decision after the outcome"
        for decision in decisions:
            match decision:
                case Connect(replay_from):
                    assert 0 <= replay_from <= self.total + 1e-6
                    self.pending = self.total - replay_from if self.forwarding else 0.0
                    self.tracker.rewound(self.pending)
                case SendSilence(seconds):
                    self.apply(self.tracker.silence_sent(self.now, seconds))
                case StopForwarding():
                    self.forwarding = False
                    self.pending = 0.0
                case Show(text):
                    assert text.strip()
                    self.shown += text
                case Finish():
                    self.finishes.append(decision)
                    assert decision is decisions[-1]

    def wait(self, until: float) -> None:
        while (due := self.tracker.deadline) is not None and due <= until:
            self.ticks += 1
            assert self.ticks < 5000, "timers that never end"
            self.now = max(self.now, due)
            self.apply(self.tracker.tick(self.now))
        self.now = max(self.now, until)

    def act(self, name: str, value: Any = None) -> None:
        tracker = self.tracker
        match name:
            case "audio" if self.forwarding:
                self.total += value
                self.pending += value
                tracker.queued(self.now, self.pending)
            case "send" if self.pending > 0:
                seconds = min(value, self.pending)
                self.pending = 0.0 if seconds == self.pending else self.pending - seconds
                self.apply(tracker.sent(self.now, seconds, self.pending))
            case "opened":
                self.apply(tracker.opened(self.now))
            case "failed":
                self.apply(tracker.failed(self.now, value))
            case "lost":
                self.apply(tracker.lost(self.now, value))
            case "message":
                self.apply(tracker.received(self.now, value))
            case "end":
                self.forwarding = False
                self.apply(tracker.ended(self.now, self.pending))


@given(steps, settings, st.booleans())
def test_every_turn_ends_once(
    script: list[Any], turn: UtteranceSettings, force_end_turn: bool
) -> None:
    """After any history, when nothing happens any more, there is one outcome within seconds."""
    driver = Driver(Tracker(turn, force_end_turn=force_end_turn))
    for delay, action in script:
        driver.wait(driver.now + delay)
        driver.act(*action)
    quiet_since = driver.now
    driver.wait(quiet_since + 3600)
    assert len(driver.finishes) == 1
    assert driver.tracker.done
    assert driver.tracker.deadline is None
    for act in (("opened",), ("message", Connected()), ("lost", ConnectionLost("x")), ("end",)):
        driver.act(*act)
    outcome = driver.finishes[0].outcome
    assert isinstance(outcome, (Transcript, WyomingFluxError))
    if isinstance(outcome, Transcript):
        assert outcome.text == outcome.text.strip()


@given(steps, settings)
def test_the_wait_after_the_client_is_bounded(script: list[Any], turn: UtteranceSettings) -> None:
    """From the client's end, a Flux that says nothing more costs at most the fault budget.

    On top comes one second for each stall after the budget is used up, and the wait for a client
    that fell silent.
    """
    driver = Driver(Tracker(turn, force_end_turn=False))
    for delay, action in script:
        driver.wait(driver.now + delay)
        driver.act(*action)
    driver.act("end")
    ended = driver.now
    while (due := driver.tracker.deadline) is not None:
        driver.wait(due)
        # Whatever waits is sent: the bound is about Flux, not about a stuck socket.
        driver.act("send", 1e9)
    assert driver.now - ended <= FAULT_BUDGET + 3 + GAP_ENDS


def talk(*texts: tuple[float, str], end: float | None = None, index: int = 0) -> list[Message]:
    """Return the messages of one turn: texts with their window ends, and its end."""
    found: list[Message] = [
        TurnInfo(TurnEvent.START_OF_TURN if i == 0 else TurnEvent.UPDATE, index, at, text)
        for i, (at, text) in enumerate(texts)
    ]
    if end is not None:
        found.append(TurnInfo(TurnEvent.END_OF_TURN, index, end, texts[-1][1] if texts else ""))
    return found


@pytest.fixture
def speaking() -> Callable[..., Driver]:
    """Make a driver whose connection is open and which has sent ``seconds`` of audio."""

    def make(
        seconds: float = 10.0, turn: UtteranceSettings | None = None, force: bool = False
    ) -> Driver:
        driver = Driver(Tracker(turn or UtteranceSettings(), force_end_turn=force))
        driver.act("opened")
        driver.act("audio", seconds)
        driver.act("send", seconds)
        return driver

    return make


def test_a_revision_overtakes_what_was_shown(speaking: Callable[..., Driver]) -> None:
    """Words shown early are never taken back; the transcript holds the truth."""
    driver = speaking()
    for message in talk((0.5, "turn"), (0.8, "turn of"), (1.0, "turn of the"), (1.3, "turn on")):
        driver.act("message", message)
    assert driver.shown == "turn of"
    driver.act("message", TurnInfo(TurnEvent.END_OF_TURN, 0, 2.0, "turn on the light"))
    assert driver.finishes[0].outcome == Transcript("turn on the light", Trigger.END_OF_TURN)
    assert driver.shown == "turn of"


def test_out_of_order_turns_are_joined_in_order(speaking: Callable[..., Driver]) -> None:
    """Turns are joined by turn_index, whatever the order in which they were finished."""
    driver = speaking(4.0, UtteranceSettings(answer_on="audio-stop"))
    for message in [
        *talk((0.5, "open the door")),
        *talk((2.5, "close it"), end=3.0, index=1),
        *talk((0.5, "open the door"), end=3.5),
    ]:
        driver.act("message", message)
    driver.act("end")
    driver.wait(driver.now + 60)
    assert driver.finishes[0].outcome == Transcript("open the door close it", Trigger.AUDIO_STOP)


def test_a_finished_turn_is_not_replayed(speaking: Callable[..., Driver]) -> None:
    """After a lost connection only the open turn is heard again; the finished one is kept."""
    driver = speaking(6.0, UtteranceSettings(answer_on="audio-stop"))
    for message in [*talk((0.5, "open the door"), end=2.0), *talk((3.0, "and"), index=1)]:
        driver.act("message", message)
    driver.act("lost", ConnectionLost("x"))
    assert driver.pending == pytest.approx(6.0 - 2.0)
    driver.act("opened")
    driver.act("send", 1e9)
    for message in talk((0.5, "and the"), (1.0, "and the window"), end=2.0):
        driver.act("message", message)
    driver.act("end")
    driver.wait(driver.now + 60)
    assert driver.finishes[0].outcome.text == "open the door and the window"


def test_replay_goes_back_to_before_the_first_text(speaking: Callable[..., Driver]) -> None:
    """1.5 s before the first text are heard again; before any text, the last 1.5 s heard."""
    driver = speaking(5.0)
    for message in talk((3.0, "turn"), (4.0, "turn on")):
        driver.act("message", message)
    driver.act("lost", ConnectionLost("x"))
    assert driver.pending == pytest.approx(5.0 - 1.5)
    silent = speaking(5.0)
    silent.act("message", TurnInfo(TurnEvent.UPDATE, 0, 4.0, ""))
    silent.act("lost", ConnectionLost("x"))
    assert silent.pending == pytest.approx(5.0 - 2.5)


def test_the_fuller_text_survives_a_failed_replay(speaking: Callable[..., Driver]) -> None:
    """When the replay breaks, too, the answer is the text that covers most of the audio."""
    driver = speaking(5.0)
    for message in talk((1.0, "turn"), (4.8, "turn on the light")):
        driver.act("message", message)
    driver.act("lost", ConnectionLost("x"))
    for _ in range(2):
        driver.act("opened")
        driver.act("send", 1e9)
        driver.act("message", TurnInfo(TurnEvent.UPDATE, 0, 0.3, "turn"))
        driver.act("lost", ConnectionLost("x"))
    assert driver.finishes[0].outcome == Transcript("turn on the light", Trigger.CONNECTION_LOST)


def test_heard_is_never_more_than_sent(speaking: Callable[..., Driver]) -> None:
    """A window end beyond what was sent does not end a turn early."""
    driver = speaking(1.0)
    driver.act("message", TurnInfo(TurnEvent.UPDATE, 0, 1e9, ""))
    assert not driver.finishes
    assert driver.tracker.keep_from == 0.0


def test_a_close_without_a_word_is_no_answer(speaking: Callable[..., Driver]) -> None:
    """Flux that closes on CloseStream without a single message is replaced, not believed."""
    driver = speaking(0.4)
    driver.act("end")
    driver.act("lost", ConnectionLost("x"))
    assert not driver.finishes
    for _ in range(2):
        driver.act("opened")
        driver.act("send", 1e9)
        driver.act("lost", ConnectionLost("x"))
    assert isinstance(driver.finishes[0].outcome, ConnectionLost)


def test_warning_answers_force_end_turn(speaking: Callable[..., Driver]) -> None:
    """The warning that no turn was active ends a finalised turn that heard everything."""
    driver = speaking(1.0, force=True)
    driver.act("message", TurnInfo(TurnEvent.UPDATE, 0, 1.0, ""))
    driver.act("end")
    driver.act("message", FluxWarning(NO_ACTIVE_TURN))
    assert driver.finishes[0].outcome == Transcript("", Trigger.AUDIO_STOP)


def test_a_long_open_turn_is_not_replayed_whole(speaking: Callable[..., Driver]) -> None:
    """In dictation, text of more than 30 s is kept instead of being heard again."""
    driver = speaking(60.0, UtteranceSettings(answer_on="audio-stop"))
    for message in talk((1.0, "once"), (50.0, "once upon a time")):
        driver.act("message", message)
    driver.act("lost", ConnectionLost("x"))
    assert driver.pending == pytest.approx(10.0)
    driver.act("opened")
    driver.act("send", 1e9)
    for message in talk((1.0, "there was"), end=10.0):
        driver.act("message", message)
    driver.act("end")
    driver.wait(driver.now + 60)
    assert driver.finishes[0].outcome.text == "once upon a time there was"


def test_back_off(speaking: Callable[..., Driver]) -> None:
    """Attempts follow each other after 0.2, 0.5 and 1 s, then the error is told."""
    driver = Driver(Tracker(UtteranceSettings(), force_end_turn=False))
    driver.act("audio", 1.0)
    waits = []
    for _ in BACK_OFF:
        failed_at = driver.now
        driver.act("failed", FluxTimeout("t"))
        due = driver.tracker.deadline
        assert due is not None
        driver.wait(due)
        waits.append(pytest.approx(driver.now - failed_at))
    assert waits == list(BACK_OFF)
    driver.act("failed", FluxTimeout("last"))
    assert str(driver.finishes[0].outcome) == "last"
