"""What key terms do in the simulator: a recognizer's guesses are drawn to them by their sound.

PocketSphinx takes no key terms. But it has many guesses at what it heard, and a dictionary of how
words sound; a guess that sounds nearly like a key term is taken for it. That is less than what Flux
does, and enough to see key terms arrive and have an effect.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

NEAR: Final = 0.25
"""Part of a key term's sounds that may differ."""
_MOST_GUESSES: Final = 40
_LONGEST_TERM: Final = 8

Sounds = tuple[str, ...]


class KeytermBias:
    """Chooses among guesses by key terms."""

    def __init__(self, terms: Iterable[str], lookup: Callable[[str], str | None]) -> None:
        """Take key terms and a dictionary: word -> sounds separated by spaces, None if unknown."""
        self._lookup = lookup
        self._words: dict[str, Sounds | None] = {}
        self._distances: dict[tuple[Sounds, Sounds], int] = {}
        self._terms: list[tuple[str, Sounds]] = []
        for term in terms:
            words = term.lower().split()
            sounds = self._sounds(words)
            if sounds is not None and len(words) <= _LONGEST_TERM:
                self._terms.append((" ".join(words), sounds))

    def choose(self, guesses: Sequence[str]) -> str:
        """Return the best guess, with words that sound nearly like a key term replaced by it.

        ``guesses`` come best first; a term is looked for in all of them, and found in that one
        which sounds most like it.
        """
        if not guesses:
            return ""
        text = guesses[0]
        for term, sounds in self._terms:
            if f" {term} " not in f" {text} ":
                text = self._draw(text, [text, *guesses[1:_MOST_GUESSES]], term, sounds)
        return text

    def _draw(self, text: str, guesses: Iterable[str], term: str, sounds: Sounds) -> str:
        best = int(len(sounds) * NEAR) + 1
        for guess in dict.fromkeys(guesses):
            words = guess.split()
            count = term.count(" ") + 1
            for length in (count, count + 1, count - 1):
                for start in range(len(words) - length + 1) if length > 0 else ():
                    distance = self._distance(words[start : start + length], sounds, best)
                    if distance < best:
                        best = distance
                        text = " ".join([*words[:start], term, *words[start + length :]])
        return text

    def _distance(self, words: list[str], sounds: Sounds, limit: int) -> int:
        heard = self._sounds(words)
        if heard is None or abs(len(heard) - len(sounds)) >= limit:
            return limit
        key = (heard, sounds)
        if key not in self._distances:
            self._distances[key] = _edits(heard, sounds)
        return self._distances[key]

    def _sounds(self, words: list[str]) -> Sounds | None:
        found: list[str] = []
        for word in words:
            if word not in self._words:
                said = self._lookup(word)
                self._words[word] = tuple(said.split()) if said else None
            sounds = self._words[word]
            if sounds is None:
                return None
            found += sounds
        return tuple(found)


def _edits(one: Sounds, other: Sounds) -> int:
    """Return how many sounds must be changed, added or left out."""
    row = list(range(len(other) + 1))
    for i, here in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, there in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (here != there))
    return row[-1]
