"""A Flux on paper: written from Deepgram's documentation, without I/O, for tests of the machine.

Its ear reads words from the audio itself: a word is a run of samples of one value, so that what is
lost, heard twice or cut shows in the text. It takes audio at 1.25 times real time, tells every
quarter of a second of it what it understood, and ends a turn after 0.32 s of silence.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from wyoming_flux.errors import ConnectionLost
from wyoming_flux.flux.messages import FluxFault, Message, TurnEvent, TurnInfo

RATE = 8000
BLOCK = RATE // 100
"""Samples that are looked at as one."""
WORD = 0.25
GAP = 0.06
END_OF_TURN = 0.32
TRAILS = 0.35
"""Seconds of audio from the beginning of a word to the message that has it."""
WHOLE = 0.6
"""The share of a word that has to be heard."""


def word(number: int) -> str:
    """Return the text of a word; no two are alike without case."""
    letters = "bcdfghjklmnpqrstvwz"
    return f"{letters[number % 19]}a{letters[number // 19 % 19]}o{number}"


def say(numbers: Sequence[int], *, gap: float = GAP) -> bytes:
    """Return words as audio, each with a short gap behind it."""
    return b"".join(
        struct.pack("<h", 100 + number) * int(WORD * RATE) + silence(gap) for number in numbers
    )


def silence(seconds: float) -> bytes:
    """Return silence."""
    return bytes(int(seconds * RATE) * 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nature:
    """What one connection is like."""

    opens_after: float = 0.05
    refuses: bool = False
    denies: bool = False
    """Refuses for good."""
    ingest: float = 1.25
    latency: float = 0.02
    lag: float = 0.0
    windows: str = "true"
    """``true``, ``none`` or ``creep``."""
    word_times: bool = True
    drops_at: float | None = None
    """Closes with 1006 when so much audio was taken."""
    falls_silent_at: float | None = None
    controls: str = "error"
    """What a control message does: ``error``, ``flush``, ``unflushed``, ``1011``."""
    empty_ends: bool = False
    forgets_ends: bool = False
    partial: bool = True
    """Whether it tells text before the end of a turn; without, as another engine does."""
    thinks: float = 0.0
    """Seconds from the end of a turn to its text, where nothing was told before."""


@dataclass(slots=True)
class _Run:
    value: int
    start: int
    end: int


@dataclass(slots=True)
class PaperFlux:
    """One connection. ``receive`` returns what it says, each with the time it is said at."""

    nature: Nature
    said: list[tuple[float, Message | ConnectionLost]] = field(default_factory=list)
    _runs: list[_Run] = field(default_factory=list)
    _rest: bytes = b""
    _taken: int = 0
    _busy: float = 0.0
    _told: int = 0
    _turn: int = 0
    _turn_from: int = 0
    _started: bool = False
    _over: bool = False
    _thought: float = 0.0

    def receive(
        self, frame: bytes | str, now: float
    ) -> list[tuple[float, Message | ConnectionLost]]:
        """Take a frame; return messages, and perhaps the end, each with its time."""
        self.said = []
        if not self._over:
            if isinstance(frame, str):
                self._control(max(self._busy, now))
            else:
                assert frame, "an empty frame is the end for Flux"
                assert len(frame) % 2 == 0
                self._audio(frame, max(self._busy, now))
        return self.said

    def _audio(self, frame: bytes, start: float) -> None:
        rest = self._rest + frame
        count = len(rest) // 2 // BLOCK
        values = struct.unpack(f"<{count * BLOCK}h", rest[: count * BLOCK * 2])[::BLOCK]
        self._rest = rest[count * BLOCK * 2 :]
        step = BLOCK / RATE / self.nature.ingest
        for index, value in enumerate(values):
            self._block(value)
            self._taken += BLOCK
            at = start + (index + 1) * step
            if self._silent >= END_OF_TURN * RATE and self._text(self._taken):
                self._end(at)
            elif self._taken - self._told >= RATE // 4:
                self._told = self._taken
                self._tell(TurnEvent.UPDATE, at)
            drops = self.nature.drops_at
            if drops is not None and self._taken >= drops * RATE:
                self._close(at, 1006)
                return
        self._busy = start + len(frame) / 2 / RATE / self.nature.ingest

    def _block(self, value: int) -> None:
        runs = self._runs
        if value and runs and runs[-1].value == value and runs[-1].end == self._taken:
            runs[-1].end += BLOCK
        elif value:
            runs.append(_Run(value, self._taken, self._taken + BLOCK))

    @property
    def _silent(self) -> int:
        return self._taken - (self._runs[-1].end if self._runs else 0)

    def _words(self, until: int) -> list[_Run]:
        return [
            run
            for run in self._runs
            if run.start >= self._turn_from
            and run.end - run.start >= WHOLE * WORD * RATE
            and until - run.start >= TRAILS * RATE
        ]

    def _text(self, until: int) -> str:
        return " ".join(word(run.value - 100) for run in self._words(until))

    def _end(self, at: float) -> None:
        if self.nature.empty_ends:
            # Seen on Workers AI: the text is that of the message before.
            self._tell(TurnEvent.UPDATE, at)
        if not self.nature.forgets_ends:
            self._tell(TurnEvent.END_OF_TURN, at)
        self._turn += 1
        self._turn_from = self._taken
        self._started = False
        self._told = self._taken

    def _tell(self, event: TurnEvent, at: float, *, until: int | None = None) -> None:
        nature = self.nature
        falls_silent = nature.falls_silent_at
        if not nature.partial:
            self._tell_as_engine(event, at)
            return
        if falls_silent is not None and self._taken >= falls_silent * RATE:
            return
        until = self._taken if until is None else until
        found = self._words(until)
        text = self._text(until)
        if event is TurnEvent.END_OF_TURN and nature.empty_ends:
            text = ""
        elif text and not self._started and event is TurnEvent.UPDATE:
            self._started = True
            event = TurnEvent.START_OF_TURN
        window: float | None = max(0.0, self._taken / RATE - nature.lag)
        if nature.windows == "none":
            window = None
        elif nature.windows == "creep":
            window = self._taken / RATE / 250
        first = found[0].start / RATE if found and nature.word_times else None
        info = TurnInfo(event, self._turn, window, text, first_word_start=first)
        self.said.append((at + nature.latency, info))

    def _tell_as_engine(self, event: TurnEvent, at: float) -> None:
        window = self._taken / RATE
        if event is TurnEvent.END_OF_TURN:
            # In order: the text of a turn comes after that of the one before.
            self._thought = max(self._thought, at) + self.nature.thinks
            text = self._text(self._taken + RATE)
            self.said.append((self._thought, TurnInfo(event, self._turn, window, text)))
            return
        answered = self._turn if self._thought <= at else max(0, self._turn - 1)
        self.said.append((at, TurnInfo(TurnEvent.UPDATE, answered, window, "")))

    def _close_as_engine(self, at: float) -> None:
        if self._text(self._taken + RATE):
            self._end(at)
        self._tell(TurnEvent.UPDATE, max(at, self._thought))
        self._close(max(at, self._thought), 1000)

    def _control(self, at: float) -> None:
        if not self.nature.partial:
            self._close_as_engine(at)
            return
        match self.nature.controls:
            case "error":
                self.said.append((at, FluxFault("UNPARSABLE_CLIENT_MESSAGE", "unknown variant")))
                self._close(at, 1005)
            case "flush":
                self._tell(TurnEvent.UPDATE, at, until=self._taken + RATE)
                self._close(at, 1005)
            case "unflushed":
                self._close(at, 1005)
            case _:
                self._close(at, 1011)

    def _close(self, at: float, code: int) -> None:
        self._over = True
        lost = ConnectionLost(f"closed with {code}", close_code=code)
        self.said.append((at + self.nature.latency, lost))
