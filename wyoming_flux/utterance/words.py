"""Words of a text: compared without case and punctuation, cut where two texts say the same."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

TAIL: Final = 40
"""Words that are kept of what was understood, where another stream may hear some of it again."""
_JOINT: Final = 12
_NEAR: Final = 4
"""A word alone is one that repeats if it is among so many last ones."""
_SURE: Final = 3
"""So many words that are the same are no chance, even behind one that was half heard."""
# Words at a cut may be half heard: so many may be wrong on either side of what agrees.
_SPOILT: Final = 3


def plain(text: str) -> list[str]:
    """Return the words of a text without case and punctuation."""
    return [word.casefold() for word in _WORD.findall(text)]


def begins_with(text: str, phrases: Iterable[Sequence[str]]) -> Sequence[str] | None:
    """Return the first of *phrases* (plain words) that the text begins with."""
    words = plain(text)
    return next((one for one in phrases if words[: len(one)] == list(one)), None)


def after(text: str, count: int) -> str:
    """Return the text without its first *count* words."""
    found = list(_WORD.finditer(text))
    return text[found[count].start() :] if count < len(found) else ""


def repeated(tail: Sequence[str], text: str) -> tuple[int, list[str]]:
    """Return how many leading words of the text repeat the end of *tail*.

    And what of that end is still to come, where the text is shorter than it. Up to two words in
    front may be half heard.
    """
    words = plain(text)
    for skip in range(min(_SPOILT, len(words))):
        for count in range(len(tail), 0, -1):
            common = min(count, len(words) - skip)
            end = list(tail[len(tail) - count :])
            chance = skip or (common < count and count > _NEAR)
            if chance and common < _SURE:
                continue
            if end[:common] == words[skip : skip + common]:
                return skip + common, end[common:]
    return 0, []


def joint(tail: Sequence[str], text: str) -> tuple[int, int] | None:
    """Return how *text*, which began a little before *tail* (plain words) ended, goes on after it.

    That is: how many words of the tail are wrong, and how many of the text were said before; None
    where the two share no two words.
    """
    tail, new = tail[-_JOINT:], plain(text)[: _JOINT + _SPOILT]
    best: tuple[int, int, int] = (1, 0, 0)
    for drop in range(min(_SPOILT, len(tail)) + 1):
        kept = list(tail[: len(tail) - drop])
        for skip in range(min(_SPOILT, len(new)) + 1):
            rest = new[skip:]
            for count in range(min(len(kept), len(rest)), best[0], -1):
                if kept[-count:] == rest[:count]:
                    best = (count, drop, skip + count)
                    break
    return best[1:] if best[0] > 1 else None


def without_last(text: str, count: int) -> str:
    """Return the text without its last *count* words."""
    found = list(_WORD.finditer(text))
    return text[: found[-count].start()].rstrip() if 0 < count <= len(found) else text
