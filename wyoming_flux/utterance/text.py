"""The texts of an utterance's turns, and what of them is the answer."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from wyoming_flux.flux.messages import TurnEvent, TurnInfo

WAKE_PHRASE_WITHIN: Final = 1.5
"""Seconds from the start of the utterance within which a wake phrase is one."""

# Flux reports a word some 0.6 s of audio after it began; used where it sends no word times.
_FIRST_TEXT_DELAY: Final = 0.6
# What an endless or hostile stream may make us keep.
_MAX_CHARACTERS: Final = 1_000_000
_MAX_TURNS: Final = 10_000

_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(slots=True)
class _Turn:
    text: str = ""
    finished: bool = False
    began: float = 0.0
    first_text_at: float = 0.0
    last_at: float = 0.0
    command: str | None = None
    """The text without a wake phrase in front; None until somebody asks."""


class Texts:
    """The last non-empty text of each turn, in order of ``turn_index``; places in seconds."""

    def __init__(self, wake_phrases: Iterable[str] = ()) -> None:
        """Take the wake phrases that may stand before the command."""
        phrases = (tuple(_words(phrase)) for phrase in wake_phrases)
        self._phrases = sorted((p for p in phrases if p), key=len, reverse=True)
        self._settled: list[_Turn] = []
        self._turns: dict[int, _Turn] = {}
        self._unfinished: set[int] = set()
        self._size = 0
        # Asked for with every frame that is sent, while messages come now and then.
        self._any: bool | None = None
        self.changed_at = 0.0
        """Where the text changed last."""
        self.settled_until = 0.0
        """Where the last finished turn ends; what comes before is not needed again."""

    def add(self, info: TurnInfo, heard_at: float, word_at: float | None) -> bool:
        """Take over a message; tell whether it finished a turn that was open until now.

        A turn is finished by its ``EndOfTurn`` or, where that is missing, a message of a later one.
        ``heard_at`` and ``word_at`` are the message's window end and its first word's start as
        places in the utterance.
        """
        self._any = None
        passed = self._finish_before(info.turn_index)
        turn = self._turns.get(info.turn_index)
        if turn is None and len(self._turns) < _MAX_TURNS:
            turn = self._turns.setdefault(info.turn_index, _Turn())
            self._unfinished.add(info.turn_index)
        if turn is None or turn.finished:
            return passed
        turn.last_at = heard_at
        text = info.transcript
        if text and text != turn.text and self._size + len(text) <= _MAX_CHARACTERS:
            if not turn.text:
                turn.first_text_at = heard_at
                guess = max(0.0, heard_at - _FIRST_TEXT_DELAY)
                turn.began = guess if word_at is None else word_at
            self._size += len(text) - len(turn.text)
            turn.text = text
            turn.command = None
            self.changed_at = heard_at
        if info.event is not TurnEvent.END_OF_TURN:
            return passed
        self._finish(info.turn_index)
        return True

    def restart(self, *, keep_open: bool = False) -> None:
        """Begin a new socket: its turns count from zero; finished ones are kept.

        With ``keep_open`` the text of an open turn counts as finished, too.
        """
        self._any = None
        for _, turn in sorted(self._turns.items()):
            if turn.text and (turn.finished or keep_open):
                turn.finished = True
                self._settled.append(turn)
            else:
                self._size -= len(turn.text)
        self._turns.clear()
        self._unfinished.clear()

    @property
    def any(self) -> bool:
        """Whether there is text, other than a finished turn that is nothing but a wake phrase."""
        if self._any is None:
            self._any = any(
                self._visible(i, turn) or not turn.finished for i, turn in self._with_text()
            )
        return self._any

    @property
    def open(self) -> bool:
        """Whether a turn has text and is not finished."""
        return any(not turn.finished for _, turn in self._with_text())

    @property
    def first_text_at(self) -> float | None:
        """Where the text of the answer began to be known; None without text."""
        for i, turn in self._with_text():
            if self._visible(i, turn) or not turn.finished:
                return turn.first_text_at
        return None

    @property
    def open_text_at(self) -> float | None:
        """Where the text of the open turn began to be known; None without one."""
        return next((t.first_text_at for _, t in self._with_text() if not t.finished), None)

    def answer(self) -> str:
        """Return all that was said, wake phrase removed, turns joined with a space."""
        parts = (self._visible(i, turn) for i, turn in self._with_text())
        return " ".join(part for part in parts if part)

    def preview(self) -> str:
        """Return the answer as far as it may be shown: no beginning of a wake phrase."""
        turns = self._with_text()
        if len(turns) == 1 and not turns[0][1].finished and self._is_early(*turns[0]):
            words = tuple(_words(turns[0][1].text))
            if any(phrase[: len(words)] == words for phrase in self._phrases):
                return ""
        return self.answer()

    def _finish_before(self, turn_index: int) -> bool:
        passed = [index for index in self._unfinished if index < turn_index]
        for index in passed:
            self._finish(index)
        return bool(passed)

    def _finish(self, turn_index: int) -> None:
        self._unfinished.discard(turn_index)
        turn = self._turns[turn_index]
        turn.finished = True
        self.settled_until = max(self.settled_until, turn.last_at)

    def _with_text(self) -> list[tuple[int, _Turn]]:
        turns = [*self._settled, *(turn for _, turn in sorted(self._turns.items()))]
        return [(i, turn) for i, turn in enumerate(t for t in turns if t.text)]

    def _is_early(self, index: int, turn: _Turn) -> bool:
        return index == 0 and turn.began <= WAKE_PHRASE_WITHIN

    def _visible(self, index: int, turn: _Turn) -> str:
        if not self._phrases or not self._is_early(index, turn):
            return turn.text
        if turn.command is None:
            turn.command = self._without_phrase(turn.text)
        return turn.command

    def _without_phrase(self, text: str) -> str:
        found = list(_WORD.finditer(text))
        words = tuple(match.group().casefold() for match in found)
        for phrase in self._phrases:
            if words[: len(phrase)] == phrase:
                rest = found[len(phrase) :]
                return text[rest[0].start() :] if rest else ""
        return text


class Partials:
    """Words to show early: those on which two consecutive messages agree, only ever appended."""

    def __init__(self) -> None:
        """Begin with nothing shown."""
        self._shown: list[str] = []
        self._last: list[str] = []

    def update(self, text: str) -> str:
        """Return what can be appended now that the text so far is ``text``; often nothing."""
        words = text.split()
        agreed = 0
        for old, new in zip(self._last, words, strict=False):
            if old != new:
                break
            agreed += 1
        self._last = words
        return self._show(words[:agreed])

    def finish(self, text: str) -> str:
        """Return the rest of the final text, or nothing where it contradicts what was shown."""
        return self._show(text.split())

    def _show(self, words: list[str]) -> str:
        known = len(self._shown)
        if len(words) <= known or words[:known] != self._shown:
            return ""
        self._shown = words
        appended = " ".join(words[known:])
        return f" {appended}" if known else appended


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]
