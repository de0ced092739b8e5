"""A machine whose client, Flux and clock are played by hand: each step is one thing that happens.

Time goes on by 0.02 s at most between two ticks, so that what is due happens at its time. What is
not played here (pace, delay, drops, another process's lateness) has :mod:`tests.support.world`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tests.support.paper_flux import RATE, silence
from wyoming_flux.errors import ConnectionLost, EndpointError, Unreachable
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import (
    NO_ACTIVE_TURN,
    FluxFault,
    FluxWarning,
    Garbage,
    Message,
    TurnEvent,
    TurnInfo,
)
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance.events import Answer, Connect, Event, Partial
from wyoming_flux.utterance.machine import Machine
from wyoming_flux.utterance.outcome import Trigger

STEP: Final = 0.02
CHUNK: Final = 0.1
TOLD_EACH: Final = 0.25
"""Seconds of audio for each message of a Flux that hears all."""
FORMAT_ERROR: Final = Garbage()
_FLUX: Final = frozenset(FluxSettings.__dataclass_fields__)


class Hand:
    """One utterance, its inputs in the order in which they are given."""

    def __init__(
        self, settings: Mapping[str, Any], endpoints: int = 1, keyterms: Iterable[str] = ()
    ) -> None:
        """Begin at time 0."""
        flux = {name: value for name, value in settings.items() if name in _FLUX}
        others = {name: value for name, value in settings.items() if name not in _FLUX}
        self.now = 0.0
        self.machine = Machine(
            UtteranceSettings(**others),
            FluxSettings(sample_rate=RATE, keyterms=tuple(keyterms), **flux),
            [f"flux-{number}" for number in range(endpoints)],
            0.0,
        )
        self.attempt = 0
        """The last one, which all inputs of a stream name."""
        self.connects = 0
        self.sent = 0.0
        """Seconds of audio on the present stream."""
        self.controls: list[str] = []
        self.events: list[Event] = []
        self.answer: Answer | None = None
        self.answered_at = 0.0
        self.shown = ""
        self._hearing: tuple[str, int, bool] | None = None
        self._told = 0.0
        self.connected = 0
        self.obey()

    def wait(self, seconds: float) -> None:
        """Let time go on."""
        until = self.now + seconds
        while self.now < until - 1e-9 and self.answer is None:
            self.now = min(self.now + STEP, until)
            self.machine.tick(self.now)
            self.obey()

    def feed(self, seconds: float) -> None:
        """Give client audio of this length, at once."""
        self.machine.feed(silence(seconds), self.now)
        self.obey()

    def hear(self, message: Message) -> None:
        """Flux says something."""
        self.machine.receive(self.attempt, message, self.now)
        self.obey()

    def open(self, facts: Facts, attempt: int | None) -> None:
        """Open the connection of an attempt, by default the last one."""
        self.attempt = self.connected if attempt is None else attempt
        self.sent = self._told = 0.0
        self._hearing = None
        self.machine.opened(self.attempt, facts, self.now)
        self.obey()

    def hears(self, text: str, index: int, creeps: bool) -> None:
        """From now on Flux hears all that is sent, and tells this text."""
        self._hearing = (text, index, creeps)

    def obey(self) -> None:
        """Take what the machine decided, and all that it sends."""
        while True:
            for event in self.machine.events():
                self.events.append(event)
                match event:
                    case Connect(attempt):
                        self.connects += 1
                        self.connected = attempt
                    case Partial(text):
                        self.shown += text
                    case Answer():
                        self.answer, self.answered_at = event, self.now
                    case _:
                        pass
            frame = self.machine.next_to_send(self.attempt)
            if isinstance(frame, str):
                self.controls.append(frame)
            elif frame is not None:
                self.sent += len(frame) / 2 / RATE
            elif not self._tell():
                return

    def _tell(self) -> bool:
        if self._hearing is None or self.sent - self._told < TOLD_EACH or self.answer is not None:
            return False
        text, index, creeps = self._hearing
        self._told = self.sent
        end = self.sent / 250 if creeps else self.sent
        self.machine.receive(self.attempt, TurnInfo(TurnEvent.UPDATE, index, end, text), self.now)
        return True


Step = Callable[[Hand], None]


def talks(seconds: float) -> Step:
    """The client sends audio in real time, in chunks of 0.1 s."""

    def step(hand: Hand) -> None:
        for _ in range(round(seconds / CHUNK)):
            hand.wait(CHUNK)
            hand.feed(CHUNK)

    return step


def at_once(seconds: float) -> Step:
    """The client sends audio faster than real time."""
    return lambda hand: hand.feed(seconds)


def quiet(seconds: float) -> Step:
    """Time goes on, and the client sends nothing."""
    return lambda hand: hand.wait(seconds)


def sleeps(seconds: float) -> Step:
    """Our process stands still."""

    def step(hand: Hand) -> None:
        hand.now += seconds

    return step


def ends() -> Step:
    """The client says audio-stop."""

    def step(hand: Hand) -> None:
        hand.machine.end(hand.now)
        hand.obey()

    return step


def limited(seconds: float) -> Step:
    """The minutes of the day end after so much more audio."""
    return lambda hand: hand.machine.limit(seconds, Trigger.DAILY_LIMIT, hand.now)


def opens(facts: Facts | None = None, *, attempt: int | None = None) -> Step:
    """A connection opens."""
    return lambda hand: hand.open(facts or Facts(), attempt)


def fails(error: EndpointError | None = None) -> Step:
    """The last attempt fails; without an error it could not be reached."""

    def step(hand: Hand) -> None:
        hand.machine.failed(hand.connected, error or Unreachable("refused"), hand.now)
        hand.obey()

    return step


def loses(code: int = 1006) -> Step:
    """The stream's connection closes."""

    def step(hand: Hand) -> None:
        lost = ConnectionLost(f"closed with {code}", close_code=code)
        hand.machine.lost(hand.attempt, lost, hand.now)
        hand.obey()

    return step


def says(text: str, heard: float | None, index: int = 0, *, word: float | None = None) -> Step:
    """Flux tells an Update."""
    info = TurnInfo(TurnEvent.UPDATE, index, heard, text, first_word_start=word)
    return lambda hand: hand.hear(info)


def turn(text: str, heard: float | None, index: int = 0) -> Step:
    """Flux tells an EndOfTurn."""
    return lambda hand: hand.hear(TurnInfo(TurnEvent.END_OF_TURN, index, heard, text))


def hears(text: str = "", *, index: int = 0, creeps: bool = False) -> Step:
    """From now on Flux hears all at once, and tells this text each 0.25 s of audio."""
    return lambda hand: hand.hears(text, index, creeps)


def warned() -> Step:
    """Flux warns that no turn is open."""
    return lambda hand: hand.hear(FluxWarning(NO_ACTIVE_TURN))


def faulty(message: Message | None = None) -> Step:
    """Flux reports a fault of its own, or says what is no message at all."""
    return lambda hand: hand.hear(message or FluxFault("INTERNAL", "a fault"))
