"""Audio that carries its own words, so that a lost, repeated or shifted piece shows in the text.

Each word is a quarter of a second of a tone whose loudness says which word of the vocabulary it is,
and its first 5 ms say where it begins. What was lost is a missing word, what was heard twice is a
word twice, and a word that was cut, or into which silence was put, has a ``~``.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

RATE: Final = 16000
WORD_SECONDS: Final = 0.25
_WORD: Final = round(RATE * WORD_SECONDS)
_ONSET: Final = RATE // 200
_QUIET: Final = 1000
"""Magnitude of the first word; below is silence."""
_STEP: Final = 16
"""Magnitude from word to word; half of it marks the onset."""
_BELIEVED: Final = 0.6
"""Share of a word that is heard as the word where the stream begins or ends in it."""

VOCABULARY: Final = (
    *(
        "turn on off the living room light lights kitchen close open blinds and then play some"
        " jazz music set a timer for ten minutes please okay nabu casa remote stop"
    ).split(),
    *(f"n{number}" for number in range(1500)),
)
_NUMBERS: Final = {word: number for number, word in enumerate(VOCABULARY)}


def speak(text: str, *, gap: float = 0.0) -> bytes:
    """Return linear16 mono at 16 kHz of words of :data:`VOCABULARY`, *gap* seconds between two."""
    sign = np.where(np.arange(_WORD) // 10 % 2, -1, 1)
    spoken = []
    for word in text.split():
        loud = np.full(_WORD, _QUIET + _STEP * _NUMBERS[word])
        loud[:_ONSET] += _STEP // 2
        spoken.append((loud * sign).astype("<i2").tobytes())
    return silence(gap).join(spoken)


def silence(seconds: float) -> bytes:
    """Return silence."""
    return bytes(2 * round(RATE * seconds))


def plain(text: str) -> list[str]:
    """Return the words of a text without case and punctuation."""
    words = (word.strip(".,?!…\ufffd").lower() for word in text.split())
    return [word for word in words if word]


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it was heard; times are samples of the stream."""

    text: str
    start: int
    end: int


class Ear:
    """Hears words in samples that come in pieces of any length."""

    def __init__(self) -> None:
        self.position = 0
        self.voiced_until = 0
        """End of the last sample that was no silence."""
        self._number: int | None = None
        self._start = self._length = self._onset = 0
        self._told = False

    def feed(self, pcm: bytes) -> list[Word]:
        """Take whole samples; return the words that became certain."""
        loud = np.abs(np.frombuffer(pcm, "<i2").astype(np.int32))
        edges = [0, *(np.flatnonzero(np.diff(loud)) + 1), len(loud)]
        heard: list[Word] = []
        for begin, end in pairwise(edges):
            heard += self._run(int(loud[begin]), int(end - begin))
        return heard

    def finish(self) -> list[Word]:
        """Return the word in which the stream ends, if enough of it was heard."""
        return self._close(at_end=True)

    def _run(self, loud: int, length: int) -> list[Word]:
        heard: list[Word] = []
        if loud < _QUIET:
            heard = self._close()
        else:
            number, rest = divmod(loud - _QUIET, _STEP)
            onset = rest == _STEP // 2
            # Loudness that no word has: bytes were shifted, or samples computed anew.
            known = number < len(VOCABULARY) and rest in (0, _STEP // 2)
            number = number if known else -1
            if number != self._number or (onset and self._length > self._onset):
                heard = self._close()
                self._number, self._start = number, self.position
                self._length = self._onset = 0
                self._told = False
            self._length += length
            if onset:
                self._onset += length
            self.voiced_until = self.position + length
        self.position += length
        if self._number is not None and self._length == _WORD and self._onset == _ONSET:
            heard.append(self._word(""))
        return heard

    def _close(self, *, at_end: bool = False) -> list[Word]:
        if self._number is None or (self._told and self._length == _WORD):
            self._number = None
            return []
        at_start = self._start == 0 and self._onset < _ONSET
        if self._told:
            word = [self._word("~long")]
        elif at_end or at_start:
            word = [self._word("")] if self._length >= _BELIEVED * _WORD else []
        else:
            word = [self._word("~")]
        self._number = None
        return word

    def _word(self, mark: str) -> Word:
        self._told = True
        assert self._number is not None
        text = VOCABULARY[self._number] if self._number >= 0 else "noise"
        return Word(text + mark, self._start, self._start + self._length)
