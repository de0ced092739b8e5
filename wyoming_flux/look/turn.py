"""What a record tells of an utterance: when what came, and where in the audio it belongs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from wyoming_flux.utterance.events import Answer, Connect, Drop, Partial
from wyoming_flux.utterance.machine import Machine, State
from wyoming_flux.utterance.record import Record, give
from wyoming_flux.utterance.words import plain

END: Final = "EndOfTurn"


@dataclass(slots=True)
class Attempt:
    """One connection; times in seconds since the beginning."""

    number: int
    endpoint: int
    began: float
    opened: float | None = None
    ended: float | None = None
    why: str = ""
    """What went wrong, if something did."""
    start: float = 0.0
    """Where in the client's audio its stream began, in seconds."""
    sent: list[tuple[float, float]] = field(default_factory=list)
    """When, and how many seconds of audio had been sent by then, silence included."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message about a turn."""

    at: float
    attempt: int
    event: str
    turn: int
    text: str
    window: float
    """Seconds of audio on its stream."""
    place: float
    """The same as a place in the client's audio."""
    word: float | None
    """Where the last word ended, as a place in the client's audio."""
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Word:
    """One word of the answer's streams, and where it was said."""

    text: str
    start: float
    end: float


@dataclass(slots=True)
class Turn:
    """One utterance, as its record tells it."""

    record: Record
    attempts: dict[int, Attempt] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    states: list[tuple[float, State]] = field(default_factory=list)
    partials: list[tuple[float, str]] = field(default_factory=list)
    arrived: list[tuple[float, float]] = field(default_factory=list)
    """When, and how many seconds of the client's audio had come by then."""
    ticks: list[float] = field(default_factory=list)
    """Deadlines that had an effect."""
    client_ended: float | None = None
    answer: Answer | None = None
    answered: float | None = None
    closed: float = 0.0

    def again(self, attempt: Attempt) -> float:
        """Seconds of the client's audio that an attempt heard though an earlier one had it."""
        before = [
            one.start + one.sent[-1][1]
            for one in self.attempts.values()
            if one.number < attempt.number and one.sent
        ]
        return max(0.0, min(max(before, default=0.0), self.audio) - attempt.start)

    @property
    def audio(self) -> float:
        """Seconds of the client's audio."""
        return self.arrived[-1][1] if self.arrived else 0.0

    @property
    def length(self) -> float:
        """Seconds that a picture of it has to span."""
        return max(self.audio, self.answered or self.closed, 0.1)

    def arrival(self, place: float) -> float | None:
        """When the client's audio up to a place had come; None: it never did."""
        return next((at for at, end in self.arrived if end >= place - 1e-6), None)

    @property
    def deciding(self) -> Said | None:
        """The message that brought the answer: the end of the turn, else the last one."""
        if self.answer is None or self.answered is None or not self.answer.text:
            return None
        heard = [one for one in self.said if one.at <= self.answered]
        if self.answer.trigger == "end-of-turn":
            ends = [one for one in heard if one.event == END]
            heard = ends or heard
        return heard[-1] if heard else None

    @property
    def last_word(self) -> tuple[float, bool] | None:
        """Where the last word ended, and whether Flux told (else where its text came).

        None too where the text came with the end alone, as from an engine without partial text.
        """
        deciding = self.deciding
        if deciding is None:
            return None
        before = [
            one
            for one in self.said
            if one.at <= deciding.at and one.attempt == deciding.attempt and one.text
        ]
        if not before:
            return None
        last = before[-1]
        # The end of a turn may add no more than a capital and a full stop.
        words = plain(last.text)
        same = [one for one in before if one.turn == last.turn and plain(one.text) == words]
        told = [one.word for one in same if one.word is not None]
        if told:
            return min(told[-1], self.audio), True
        if len(before) == 1:
            return None
        return min(same[0].place, self.audio), False

    @property
    def after_word(self) -> float | None:
        """Seconds from the last word to the answer."""
        word = self.last_word
        if word is None or self.answered is None:
            return None
        spoken = self.arrival(word[0])
        return None if spoken is None else max(0.0, self.answered - spoken)

    @property
    def words(self) -> list[Word]:
        """The words that were heard, where they were said; of each turn its last text."""
        turns: dict[tuple[int, int], list[Said]] = {}
        for one in self.said:
            if one.text:
                turns.setdefault((one.attempt, one.turn), []).append(one)
        found: list[Word] = []
        latest = 0
        for (number, _), messages in turns.items():
            if number != latest and number in self.attempts:
                # What is heard again after a loss replaces what a lost stream had heard of it.
                found = [one for one in found if one.end <= self.attempts[number].start]
            latest = number
            final = messages[-1].text.split()
            ends: list[float] = []
            for one in messages:
                count = min(len(one.text.split()), len(final))
                new = count - len(ends)
                begin = ends[-1] if ends else max(0.0, one.place - 0.3 * new - 0.1)
                end = max(begin, one.place if one.word is None else one.word)
                ends += [begin + (end - begin) * (i + 1) / new for i in range(new)]
            starts = [max(0.0, ends[0] - 0.25), *ends]
            found += [Word(*each) for each in zip(final, starts, ends, strict=False)]
        return found


def look_at(record: Record) -> Turn:
    """Run a record through the machine, and tell what happened."""
    turn = Turn(record)
    rate = record.flux.sample_rate
    machine = Machine(record.utterance, record.flux, record.endpoints, 0.0)
    _take(turn, machine, 0.0)
    turn.states.append((0.0, machine.state))
    fed = 0
    for line in record.inputs:
        at = turn.closed = float(line["t"])
        start = machine.listens_from / rate
        data = give(machine, line)
        match line["in"]:
            case "feed":
                fed += line["bytes"]
                turn.arrived.append((at, fed // 2 / rate))
            case "end":
                turn.client_ended = at
            case "opened" if line["attempt"] in turn.attempts:
                attempt = turn.attempts[line["attempt"]]
                attempt.opened, attempt.start = at, start
            case "failed" | "lost" if line["attempt"] in turn.attempts:
                attempt = turn.attempts[line["attempt"]]
                attempt.ended, attempt.why = at, line["error"]["text"]
            case "next" if isinstance(data, bytes):
                sent = turn.attempts[line["attempt"]].sent
                sent.append((at, (sent[-1][1] if sent else 0.0) + len(data) / 2 / rate))
            case "receive" if line["message"]["type"] == "TurnInfo":
                turn.said.append(_said(turn, line))
            case _:
                pass
        changed = machine.state is not turn.states[-1][1]
        if changed:
            turn.states.append((at, machine.state))
        if (_take(turn, machine, at) or changed) and line["in"] == "tick":
            turn.ticks.append(at)
    _blame(turn)
    return turn


def _blame(turn: Turn) -> None:
    """Give the connections that the machine itself gave up the reasons that the answer names."""
    known = [attempt.why for attempt in turn.attempts.values() if attempt.why]
    faults = turn.answer.faults if turn.answer is not None else ()
    reasons = iter([str(error) for _, error in faults if str(error) not in known])
    for attempt in turn.attempts.values():
        given_up = attempt.ended is not None and attempt.ended < (turn.answered or turn.closed)
        if given_up and attempt.opened is not None and not attempt.why:
            attempt.why = next(reasons, "")


def _take(turn: Turn, machine: Machine, at: float) -> bool:
    events = machine.events()
    for event in events:
        match event:
            case Connect(number, endpoint):
                turn.attempts[number] = Attempt(number, endpoint, at)
            case Drop(number) if number in turn.attempts:
                attempt = turn.attempts[number]
                attempt.ended = at if attempt.ended is None else attempt.ended
            case Partial(text):
                turn.partials.append((at, text))
            case Answer():
                turn.answer, turn.answered = event, at
            case _:
                pass
    return bool(events)


def _said(turn: Turn, line: Mapping[str, Any]) -> Said:
    info = line["message"]
    attempt = turn.attempts.get(line["attempt"])
    start = attempt.start if attempt is not None else 0.0
    # Without window ends the message is put where the client's audio was just then.
    window = info.get("audio_window_end")
    window = max(0.0, turn.audio - start) if window is None else float(window)
    word = info.get("last_word_end")
    return Said(
        line["t"],
        line["attempt"],
        info["event"],
        info["turn_index"],
        info.get("transcript", ""),
        window,
        start + window,
        None if word is None else start + word,
        info.get("end_of_turn_confidence"),
    )
