"""The texts of Flux's turns, and what of them is the answer.

Places are samples of the utterance, times those of the machine. The rules are 6 and 9 of
``docs/turns.md``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from wyoming_flux.flux.messages import TurnEvent, TurnInfo

from . import rules, words

# Flux reports a word some 0.6 s of audio after it began; used where it sends no word times.
_FIRST_TEXT_DELAY: Final = 0.6
# What an endless or hostile stream may make us keep.
_MAX_CHARACTERS: Final = 1_000_000
_MAX_TURNS: Final = 10_000
# Enough of a turn's end for the words that may be heard again.
_TAIL_CHARACTERS: Final = 600


@dataclass(slots=True)
class _Turn:
    text: str = ""
    final: bool = False
    """Flux said ``EndOfTurn``: nothing changes it any more."""
    over: bool = False
    """It ended, by Flux's word or because a later turn began."""
    began: int = 0
    known_at: int = 0
    """Where its first text was known."""
    last_at: int = 0
    """The last window end while it was the newest turn."""
    tail: list[str] = field(default_factory=list)
    """Last words that an earlier stream understood, and this one may hear again."""
    goes_on: bool = False
    """Whether those words are of this very turn, so that they must be heard again."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a message changed."""

    text: bool = False
    """Some text is new."""
    ended: str | None = None
    """What may be shown of the turns that ended; None: none did."""


class Texts:
    """The last non-empty text of each turn, in order; those of lost streams come first."""

    def __init__(
        self, rate: int, wake_phrases: Iterable[str] = (), keyterms: Iterable[str] = ()
    ) -> None:
        """Take the sample rate, what may stand before a command, and what is never cut."""
        self._rate = rate
        phrases = (tuple(words.plain(phrase)) for phrase in wake_phrases)
        self._phrases = sorted((p for p in phrases if p), key=len, reverse=True)
        terms = (tuple(words.plain(term)) for term in keyterms)
        self._names = [t for t in terms if any(t[: len(p)] == p != t for p in self._phrases)]
        self._past: list[_Turn] = []
        self._turns: dict[int, _Turn] = {}
        self._highest = -1
        self._size = 0
        self._next = _Turn()
        self._open: _Turn | None = None
        self._first: _Turn | None = None
        self._said = False
        self._history: list[tuple[int, str]] = []
        self.settled_until = 0
        """Where the last finished turn ends: what comes before is not needed again."""
        self.empty_until = 0
        """The last place at which the turn that is open now had no text."""
        self.word_at: int | None = None
        """Where the first word of the open turn began, if Flux told."""
        self.first_text_at: int | None = None
        """Where the text of the answer began to be known."""
        self.no_speech_from = 0
        """Where silence counts from: the start, or the end of an ignored wake phrase."""
        self.passed_at: float | None = None
        """When a message of a later turn came without the end of the one before."""
        self.gaps = 0.0
        """Seconds that could not be joined to what an earlier stream had understood."""

    # --- what happens ----------------------------------------------------------------------

    def add(self, info: TurnInfo, place: int, word_at: int | None, now: float) -> Change:
        """Take over a message; *place*: its window end, *word_at*: its first word's start."""
        index = info.turn_index
        if index > self._highest + 1 or index >= _MAX_TURNS:
            return Change()
        if index > self._highest:
            self._highest = index
            self._turns[index] = self._begin(self._turns.get(index - 1))
            if self._open is not None:
                self.passed_at = now
        turn = self._turns[index]
        ended = info.event is TurnEvent.END_OF_TURN
        if index < self._highest:
            if turn.final or not ended:
                return Change()
            return Change(self._write(turn, info.transcript), self._end(turn, final=True))
        turn.last_at = place
        if turn.final:
            return Change()
        changed = self._write(turn, info.transcript)
        if changed:
            self._learn(turn, place, word_at)
        if not turn.text:
            # An empty end of turn settles nothing: somebody may just be about to speak.
            self.empty_until = place
            return Change()
        if not ended:
            return Change(changed)
        older = self._end_older()
        return Change(changed, _both(older, self._end(turn, final=True)))

    def end_passed(self) -> str | None:
        """Take a turn whose end never came for ended; return what may be shown of it."""
        self.passed_at = None
        return self._end_older()

    def restart(self, at: int, *, freeze: bool, repeats: bool) -> str | None:
        """Begin a new stream at a place: its turns count from zero, and finished ones stay.

        ``freeze``: the open turn is too long to be heard again, so its text of three seconds ago
        stays, and is returned as it may be shown. ``repeats``: the new stream may hear the end of
        the last finished turn once more.
        """
        lost, frozen = self._open, None
        for turn in self._turns.values():
            if turn is not lost and turn.text:
                turn.over = True
                self._past.append(turn)
        if lost is not None and freeze:
            lost.text = self._history[0][1] if self._history else lost.text
            lost.over = self._said = True
            self._past.append(lost)
            frozen = self._visible(lost)
        elif lost is not None:
            self._size -= len(lost.text)
            if self._first is lost:
                self._first = None
            if not self._said:
                self.first_text_at = None
        self._next = _Turn(goes_on=frozen is not None)
        if repeats or freeze:
            ends = " ".join(turn.text[-_TAIL_CHARACTERS:] for turn in self._past[-words.TAIL :])
            self._next.tail = words.plain(ends)[-words.TAIL :]
        self._turns.clear()
        self._history.clear()
        self._highest = -1
        self._open = self.word_at = self.passed_at = None
        self.empty_until = at
        return frozen

    def replay_from(self, start: int, heard: int, *, soon: bool) -> tuple[int, bool]:
        """Return where another stream would begin, and whether the open turn is frozen then.

        ``start``, ``heard``: of the present stream; ``soon``: a turn of 8 s takes too long already.
        """
        floor = max(start, self.settled_until)
        before_text = int(rules.REPLAY_BEFORE_TEXT * self._rate)
        if self._open is None:
            return max(floor, heard - before_text), False
        long = rules.LONG_SOON if soon else rules.LONG_TURN
        if heard - self._open.known_at > int(long * self._rate):
            return max(floor, heard - int(rules.REPLAY_LONG * self._rate)), True
        begin = self.empty_until - before_text
        if self.word_at is not None:
            begin = min(begin, self.word_at - int(rules.REPLAY_BEFORE_WORD * self._rate))
        return max(floor, begin), False

    # --- what is known ---------------------------------------------------------------------

    @property
    def any(self) -> bool:
        """Whether there is text, other than a finished turn that is nothing but a wake phrase."""
        return self._said or self._open is not None

    @property
    def any_open(self) -> bool:
        """Whether there is text of a turn that goes on."""
        return self._open is not None

    @property
    def finished(self) -> bool:
        """Whether there is an answer, and no turn that goes on."""
        return self._said and self._open is None

    def answer(self, *, with_open: bool = True) -> str:
        """Return what was said, wake phrase removed, turns joined with a space."""
        parts: list[str] = []
        for turn in (*self._past, *self._turns.values()):
            if not turn.text or not (turn.over or with_open):
                continue
            if turn.goes_on and parts and (found := words.joint(turn.tail, turn.text)):
                parts[-1] = words.without_last(parts[-1], found[0])
            parts.append(self._visible(turn))
        return " ".join(part for part in parts if part)

    def preview(self) -> str:
        """Return the open turn's text as far as it may be shown: no half of a wake phrase."""
        turn = self._open
        if turn is None:
            return ""
        if self._may_be_phrase(turn):
            known = words.plain(turn.text)
            if any(list(phrase[: len(known)]) == known for phrase in self._phrases):
                return ""
        return self._visible(turn)

    # --- turns -----------------------------------------------------------------------------

    def _begin(self, before: _Turn | None) -> _Turn:
        # What the stream may hear again, it hears first: in its first turn with text.
        first = self._next if before is None else before
        if before is None or not before.text:
            return _Turn(tail=first.tail, goes_on=first.goes_on)
        if before.tail and not before.goes_on:
            return _Turn(tail=words.repeated(before.tail, before.text)[1])
        return _Turn()

    def _write(self, turn: _Turn, text: str) -> bool:
        size = self._size + len(text) - len(turn.text)
        if not text or text == turn.text or size > _MAX_CHARACTERS:
            return False
        self._size = size
        turn.text = text
        return True

    def _learn(self, turn: _Turn, place: int, word_at: int | None) -> None:
        if self._open is not turn:
            guess = max(0, place - int(_FIRST_TEXT_DELAY * self._rate))
            turn.began = guess if word_at is None else word_at
            turn.known_at = place
            self._first = self._first or turn
            self._open = turn
            self.word_at = word_at
            self._history.clear()
        if self.first_text_at is None:
            self.first_text_at = turn.known_at
        # What was understood some seconds ago: one text for each half second.
        kept = self._history
        if not kept or place - kept[-1][0] >= self._rate // 2:
            kept.append((place, turn.text))
            while len(kept) > 1 and kept[1][0] <= place - int(rules.FREEZE * self._rate):
                del kept[0]

    def _end(self, turn: _Turn, *, final: bool) -> str | None:
        turn.final = final
        if turn.over or not turn.text:
            return None
        turn.over = True
        if turn is self._open:
            self._open = None
        self.passed_at = None
        self.settled_until = max(self.settled_until, turn.last_at)
        shown = self._visible(turn)
        if shown:
            self._said = True
        elif not self._said:
            self.no_speech_from = turn.last_at
            self.first_text_at = None
        if turn.goes_on and words.joint(turn.tail, turn.text) is None:
            self.gaps += rules.FREEZE
        return shown

    def _end_older(self) -> str | None:
        older = self._turns.get(self._highest - 1)
        return self._end(older, final=False) if older is not None and not older.over else None

    def _visible(self, turn: _Turn) -> str:
        text = turn.text
        if turn.goes_on:
            found = words.joint(turn.tail, text)
            return words.after(text, found[1]) if found else text
        if turn.tail:
            text = words.after(text, words.repeated(turn.tail, text)[0])
        if not self._may_be_phrase(turn):
            return text
        phrase = words.begins_with(text, self._phrases)
        if phrase is None or words.begins_with(text, self._names) is not None:
            return text
        return words.after(text, len(phrase))

    def _may_be_phrase(self, turn: _Turn) -> bool:
        early = turn.began <= rules.WAKE_PHRASE_WITHIN * self._rate
        return early and self._first is turn and bool(self._phrases)


def _both(first: str | None, second: str | None) -> str | None:
    parts = [part for part in (first, second) if part is not None]
    return " ".join(part for part in parts if part) if parts else None
