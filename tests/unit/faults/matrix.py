"""The fault matrix: what can go wrong, when, and what the client does; and what must come of it.

:func:`expected` is written from the table in the design (``docs/turns.md``) alone and knows nothing
of the implementation. Times are seconds; audio positions count from the start of the utterance.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from wyoming_flux.simulator.faults import (
    BinaryFrames,
    ConnectedLate,
    ConnectLate,
    Dropped,
    ErrorMessage,
    Fault,
    Gibberish,
    Jitter,
    NoControls,
    Refuse,
    SlowReader,
    SpoiledEnd,
    Stall,
    Unflushed,
    Untyped,
    Window,
)
from wyoming_flux.simulator.faults import Moment as FaultMoment

INGEST: Final = 1.25
"""How much faster than real time Flux takes audio."""
WORD: Final = 0.25
"""Seconds that a spoken word lasts."""
LEAD: Final = 0.5
"""Silence before the first word."""
PAUSE: Final = 0.8
"""Silence between the two turns of a file."""
END_OF_TURN: Final = 0.32
"""Silence after which Flux ends a turn."""
LATER: Final = 8
"""So many connections after the first are struck by a fault that lasts: more than there may be."""

COMMAND: Final = "turn on the kitchen light"
STANDS_STILL: Final = 3.2
"""Seconds for which a process stands still that is swapped out, or paused."""
FIRST_OF_FILE: Final = "open the curtains"
BEFORE: Final = "good morning"
AFTER: Final = "what time"


class Moment(StrEnum):
    """When the fault strikes."""

    CONNECTING = "connecting"
    BEFORE_SPEECH = "before speech"
    IN_SPEECH = "in speech"
    AFTER_SPEECH = "after speech"
    FINALISING = "finalising"
    AFTER_ANSWER = "after the answer"


class Client(StrEnum):
    """What the client does."""

    STREAMS_ON = "streams on"
    LATE = "streams on, and our process stands still"
    STOPS_FIRST = "stops first"
    WHOLE_FILE = "whole file at once"
    DISCONNECTS = "disconnects"


class Effect(StrEnum):
    """What the table makes of a fault."""

    HARMLESS = "harmless"
    """The connection lives; at most the answer is late."""
    HEALED = "healed"
    """This connection is lost; the next one works."""
    LASTING = "lasting"
    """This connection is lost, and so are all that follow."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A row of the matrix.

    A fault of a stream strikes at the moment. One of the opening strikes the connection that is
    opened at the moment: at a later moment than connecting the first one is dropped for it.
    """

    name: str
    faults: tuple[Fault, ...]
    effect: Effect
    adds: float = 0.0
    """Seconds that the table gives this fault, besides those that a replay takes."""
    code: str = ""
    """The error where there is no text: of lasting faults."""

    @property
    def opening(self) -> bool:
        """Whether it strikes at the opening of a connection."""
        return not hasattr(self.faults[0], "after")


_H, _1, _L = Effect.HARMLESS, Effect.HEALED, Effect.LASTING
# Table: "back off 0.2 s, 0.5 s, 1 s"; "after 4 s a second attempt beside the first".
_BACK_OFFS: Final = 0.2 + 0.5 + 1.0
_BESIDE: Final = 4.0 + 0.2
# Table: "no message from Flux for 2.5 s (4 s for the first) while sent - heard > 0.5 s". A message
# comes every 0.25 s, so that the last one may have come 0.5 s of audio before that counts.
_STALL: Final = 2.5 + 0.5
_FIRST: Final = 4.0 + 0.5
BUDGET: Final = 8.0
"""Table: "all faults of one turn together add at most 8 s"."""
# "9.5 s at worst": a stream that opened gets 1.5 s.
_SILENT: Final = BUDGET + 1.5 + 0.5

TROUBLES: Final = (
    Trouble("refused once (503)", (Refuse(status=503),), _1, 0.2),
    Trouble("refused always (503)", (Refuse(status=503),), _L, _BACK_OFFS, "unreachable"),
    Trouble("refused: token", (Refuse(status=401, code="10000"),), _L, 0, "auth"),
    Trouble(
        "refused: login page",
        (Refuse(status=302, location="https://x.cloudflareaccess.com/login", body=""),),
        _L,
        0,
        "auth",
    ),
    Trouble("refused: quota", (Refuse(status=429, code="3036"),), _L, 0, "quota"),
    Trouble("refused: payment", (Refuse(status=402, body=""),), _L, 0, "payment"),
    Trouble("refused: wrong URL", (Refuse(status=404, body=""),), _L, 0, "endpoint-not-found"),
    Trouble("refused: no WebSocket", (Refuse(status=426, body=""),), _L, 0, "not-flux"),
    Trouble("refused: parameters", (Refuse(status=500, code="5030"),), _1),
    Trouble("connects 1 s late", (ConnectLate(seconds=1.0),), _H, 1.0),
    Trouble("connects 4 s late", (ConnectLate(seconds=4.0),), _H, 4.0),
    Trouble("never connects, once", (ConnectLate(seconds=60.0),), _1, _BESIDE),
    Trouble("never connects, always", (ConnectLate(seconds=60.0),), _L, BUDGET, "timeout"),
    Trouble("`Connected` 2 s late", (ConnectedLate(seconds=2.0),), _H, 2.0),
    Trouble("`Connected` after audio", (ConnectedLate(after_audio=True),), _H),
    Trouble("says nothing, once", (ConnectedLate(seconds=60.0),), _1, _FIRST),
    Trouble("says nothing, always", (ConnectedLate(seconds=60.0),), _L, _SILENT, "timeout"),
    Trouble("jitter of 0.3 s", (Jitter(seconds=0.3, seed=7),), _H, 1.0),
    Trouble("`EndOfTurn` twice", (SpoiledEnd(kind="twice"),), _H),
    Trouble("`EndOfTurn` empty", (SpoiledEnd(kind="empty"),), _H),
    Trouble("`EndOfTurn` out of order", (SpoiledEnd(kind="late"),), _H, 0.3),
    Trouble("dropped once (1006)", (Dropped(code=1006),), _1),
    Trouble("dropped always (1006)", (Dropped(code=1006),), _L, BUDGET, "connection-lost"),
    Trouble("dropped once (1011)", (Dropped(code=1011),), _1),
    Trouble("dropped once (1000)", (Dropped(code=1000),), _1),
    Trouble("stalls for 0.5 s", (Stall(seconds=0.5),), _H, 1.0),
    Trouble("stalls once", (Stall(),), _1, _STALL),
    Trouble("stalls always", (Stall(),), _L, _SILENT, "timeout"),
    Trouble("`Error` once", (ErrorMessage(),), _1),
    Trouble("`Error` always", (ErrorMessage(),), _L, BUDGET, "connection-lost"),
    Trouble("garbage: text", (Gibberish(kind="text"),), _H),
    Trouble("garbage: JSON", (Gibberish(kind="json"),), _H),
    Trouble("garbage: binary", (Gibberish(kind="binary"),), _H),
    Trouble("takes audio at half speed", (SlowReader(rate=0.5),), _H, 4.5),
    Trouble("takes no audio, once", (SlowReader(rate=0.0),), _1, _STALL),
    Trouble("takes no audio, always", (SlowReader(rate=0.0),), _L, _SILENT, "timeout"),
)

QUIRKS: Final = (
    Trouble("window ends are behind", (Window(kind="lagging"),), _H, 1.5),
    Trouble("window ends creep", (Window(kind="creeping"),), _H, 4.0),
    Trouble("window ends are missing", (Window(kind="missing"),), _H, 4.0),
    Trouble("messages without `type`", (Untyped(),), _H),
    Trouble("binary frames", (BinaryFrames(),), _H),
    Trouble("`CloseStream` flushes nothing", (Unflushed(),), _H, 1.0),
    Trouble("no control: `Error`", (NoControls(answer="error"),), _H, 1.0),
    Trouble("no control: 1011", (NoControls(answer="close"),), _H, 1.0),
    Trouble("no control: ignored", (NoControls(answer="ignore"),), _H, 1.0),
)
"""How an endpoint may be, against what is believed; at no moment in particular."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault at one moment with one client."""

    trouble: Trouble
    moment: Moment
    client: Client

    def __str__(self) -> str:
        """Return a name for the test."""
        return f"{self.trouble.name}, {self.moment}, {self.client}".replace("`", "")

    @property
    def streams_on(self) -> bool:
        """Whether the client sends until it is answered."""
        return self.client in (Client.STREAMS_ON, Client.LATE)

    @property
    def stands_still(self) -> tuple[float, float] | None:
        """When our process stands still, from the beginning of the turn, and for how long."""
        return (0.9, STANDS_STILL) if self.client is Client.LATE else None

    # --- the utterance ---------------------------------------------------------------------

    @property
    def is_file(self) -> bool:
        """Whether the utterance is a file of two turns."""
        return self.client is Client.WHOLE_FILE

    @property
    def speech_start(self) -> float:
        """Where the command begins."""
        return LEAD + (len(FIRST_OF_FILE.split()) * WORD + PAUSE if self.is_file else 0.0)

    @property
    def speech_end(self) -> float:
        """Where the command ends."""
        return self.speech_start + len(COMMAND.split()) * WORD

    @property
    def tail(self) -> float:
        """Silence (or, where ``max_turn`` is to end it, noise) after the command."""
        if self.streams_on:
            return 20.0
        if self.moment is Moment.FINALISING:
            # With the 0.3 s that follow audio-stop too short for an EndOfTurn: CloseStream does it.
            return 0.0
        return 0.2

    @property
    def is_endless(self) -> bool:
        """Whether speech never ends, so that ``max_turn`` ends the turn."""
        return self.streams_on and self.moment is Moment.FINALISING

    @property
    def max_turn(self) -> float:
        """The setting in force."""
        return 2.0 if self.is_endless else 20.0

    @property
    def text(self) -> str:
        """All that is said."""
        return f"{FIRST_OF_FILE} {COMMAND}" if self.is_file else COMMAND

    # --- the fault -------------------------------------------------------------------------

    @property
    def strikes_after(self) -> float:
        """Audio after which the fault strikes; while finalising, not before ``CloseStream``."""
        match self.moment:
            case Moment.CONNECTING | Moment.FINALISING:
                return 0.0
            case Moment.BEFORE_SPEECH:
                return LEAD / 2
            case Moment.IN_SPEECH:
                return self.speech_start + 0.8
            case Moment.AFTER_SPEECH:
                return self.speech_end + (0.2 if self.streams_on else 0.25)
            case Moment.AFTER_ANSWER:
                return self.speech_end + END_OF_TURN

    @property
    def strikes_at(self) -> float:
        """When, counted from the beginning of the turn, that is at the latest."""
        if self.moment is Moment.FINALISING:
            return self.answer_at
        return self.strikes_after / (INGEST if self.is_file else 1.0) + 0.1

    def faults(self, first: int) -> list[Fault]:
        """Return what the simulator must do; ``first`` is the number of the next connection."""
        trouble = self.trouble
        on: FaultMoment | None = "close-stream" if self.moment is Moment.FINALISING else None
        faults: list[Fault] = []
        if trouble.opening and self.moment is not Moment.CONNECTING:
            faults.append(Dropped(after=self.strikes_after, on=on, connection=first))
            struck = first + 1
        else:
            struck = first
        for fault in trouble.faults:
            placed: dict[str, Any] = {"after": self.strikes_after, "on": on}
            if trouble.opening:
                placed.clear()
            faults.append(dataclasses.replace(fault, connection=struck, **placed))
            if trouble.effect is Effect.LASTING:
                faults += [
                    dataclasses.replace(fault, connection=number)
                    for number in range(struck + 1, struck + LATER)
                ]
        return faults

    # --- without a fault -------------------------------------------------------------------

    @property
    def answer_at(self) -> float:
        """When the answer would come without a fault, counted from the beginning of the turn."""
        if self.is_endless:
            # Text is known 0.25 s after its beginning; the limit is seen in a message.
            return self.speech_start + WORD + self.max_turn + 0.25 + 0.3
        if self.streams_on or self.moment is Moment.AFTER_ANSWER:
            audio = self.speech_end + END_OF_TURN
        else:
            audio = self.speech_end + self.tail + 0.3
        return (audio / INGEST if self.is_file else audio) + 0.15


CELLS: Final = tuple(itertools.starmap(Cell, itertools.product(TROUBLES, Moment, Client)))


# --- what must come of it ------------------------------------------------------------------


class Kind(StrEnum):
    """The kinds of outcome."""

    TEXT = "text"
    """All that was said."""
    ERROR = "error"
    NOTHING = "closed"
    """Nobody is there to be answered; Flux is closed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What must come of a cell."""

    kind: Kind
    within: float
    """Seconds from the beginning of the turn; of NOTHING: from the client's leaving."""
    code: str = ""


SLACK: Final = 0.2
"""A few frames and messages, wherever they fall."""
CLOSE: Final = 1.0
"""In which a connection is closed, whatever the other side does."""


def expected(cell: Cell) -> Outcome:
    """Return the outcome that the design's table has for this cell."""
    outcome = _expected(cell)
    if cell.client is not Client.LATE:
        return outcome
    # What came while the process stood still is heard afterwards, faster than real time.
    return dataclasses.replace(outcome, within=outcome.within + STANDS_STILL * (1 + 1 / INGEST))


def _expected(cell: Cell) -> Outcome:
    trouble, moment, client = cell.trouble, cell.moment, cell.client
    undisturbed = cell.answer_at + SLACK

    # "The transcript goes out at once": what happens later does not matter any more.
    if moment is Moment.AFTER_ANSWER:
        # Messages that come late do so from the beginning.
        at_start = trouble.effect is Effect.HARMLESS and not trouble.opening
        return Outcome(Kind.TEXT, undisturbed + (trouble.adds if at_start else 0.0))

    # "Client disconnects: the Flux socket closes at once."
    if client is Client.DISCONNECTS:
        return Outcome(Kind.NOTHING, CLOSE)

    lost = trouble.effect is not Effect.HARMLESS
    # A fault of the opening needs an opening: the connection before was dropped for it.
    dropped = trouble.opening and moment is not Moment.CONNECTING
    silent = isinstance(trouble.faults[0], Stall) and moment is Moment.FINALISING
    if not lost and not dropped and not silent:
        return Outcome(Kind.TEXT, undisturbed + trouble.adds)

    # "Heard stands still for 1.5 s": there the words are known, and all was heard.
    if moment is Moment.FINALISING:
        told = dropped or not isinstance(trouble.faults[0], (Stall, SlowReader))
        return Outcome(Kind.TEXT, undisturbed + (0.0 if told else 1.5))

    # The same where the client had ended, and all was heard.
    ended = client in (Client.STOPS_FIRST, Client.WHOLE_FILE)
    mute = isinstance(trouble.faults[0], (Stall, SlowReader))
    if moment is Moment.AFTER_SPEECH and ended and mute:
        return Outcome(Kind.TEXT, undisturbed + 1.5)

    # "Otherwise reconnect and replay": all audio so far is taken once more, faster than real time.
    if trouble.effect is not Effect.LASTING:
        replay = 0.0 if moment is Moment.CONNECTING else cell.strikes_after / INGEST
        if not cell.is_file:
            # What comes meanwhile waits, too.
            replay = (cell.speech_end + END_OF_TURN) / INGEST
        first = _FIRST - _STALL if mute and moment is Moment.CONNECTING else 0.0
        return Outcome(Kind.TEXT, undisturbed + trouble.adds + replay + first)

    # "Within 8 s the error; half a command is never carried out."
    within = cell.strikes_at + trouble.adds + SLACK + (0.5 if cell.is_file and mute else 0.0)
    known = moment in (Moment.IN_SPEECH, Moment.AFTER_SPEECH)
    return Outcome(Kind.ERROR, within, "connection-lost" if known else trouble.code)


# --- a selection ---------------------------------------------------------------------------


def selection() -> Iterator[Cell]:
    """Select 48 cells: each fault at least once, each moment with each client twice.

    A process that stands still is played by real ones alone (``tests/e2e/reliability``).
    """
    by_key = {(cell.trouble, cell.moment, cell.client): cell for cell in CELLS}
    clients = [client for client in Client if client is not Client.LATE]
    pairs = list(itertools.product(Moment, clients))
    for i in range(2 * len(pairs)):
        # 7 and 24 have no common divisor, so that 24 steps meet all pairs.
        moment, client = pairs[i * 7 % len(pairs)]
        yield by_key[TROUBLES[i % len(TROUBLES)], moment, client]
