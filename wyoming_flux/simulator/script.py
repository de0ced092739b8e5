"""Scripts: what is heard is written down, whatever the audio holds.

A script is TOML, for example::

    seconds_per_word = 0.25            # of voiced audio; this is the default

    [[turn]]
    text = "turn on the living room light"

    [[turn]]                           # what is believed while it is spoken, then corrected
    text = "close the garage door"
    interim = "close the garbage"

    [[turn]]                           # a pause in the middle, which does not end the turn
    text = ["set the bedroom temperature", "to twenty degrees"]

    [[turn]]                           # does not sound complete: only eot_timeout_ms ends it
    text = "kitchen light"
    unfinished = true

    [[turn]]                           # or say how sure Flux is that the turn is over (0 to 1)
    text = "good night"
    confidence = 0.6

    [misheard]                         # heard instead, unless it is a key term of the stream
    "living room" = "leaving room"
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from .recognizer import FINISHED, FRAME_MS, UNFINISHED, is_loud

SECONDS_PER_WORD: Final = 0.25
"""Voiced audio per word of a script."""
_SETTLED_FRAMES: Final = 10
"""Silence after which a part's whole text stands, however short it was."""
_PAUSE_FRAMES: Final = 20
"""Silence after which more voice is the next part."""
_SHORTEST_FRAMES: Final = 5
"""Less voice than this is a noise and starts nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is said without a pause.

    ``interim`` is what the recognizer believes while it is spoken, ``text`` what it settles on.
    """

    text: str
    confidence: float = FINISHED
    interim: str | None = None


@dataclass(frozen=True, slots=True)
class ScriptedTurn:
    """One turn of a script: parts with pauses between them.

    Only the last part can sound complete; at the pauses before, the turn goes on.
    """

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, *texts: str, unfinished: bool = False) -> "ScriptedTurn":
        """Return a turn of these texts, each followed by a pause."""
        *first, last = texts
        parts = [Part(text, UNFINISHED) for text in first]
        parts.append(Part(last, UNFINISHED if unfinished else FINISHED))
        return cls(tuple(parts))


@dataclass(frozen=True, slots=True)
class Script:
    """What is heard, turn by turn."""

    turns: tuple[ScriptedTurn, ...]
    seconds_per_word: float = SECONDS_PER_WORD
    misheard: Mapping[str, str] = field(default_factory=dict)


class ScriptRecognizer:
    """Hears what the script says, word by word, while the audio is loud.

    The whole text of a part stands once 100 ms of silence follow. After the last turn of the
    script it hears nothing any more. ``seconds_per_word`` counts voiced audio. What is
    ``misheard`` becomes its value, unless it is one of the ``keyterms``.
    """

    blocking = False

    def __init__(
        self,
        script: Iterable[ScriptedTurn | str],
        *,
        seconds_per_word: float = SECONDS_PER_WORD,
        misheard: Mapping[str, str] = MappingProxyType({}),
        keyterms: Iterable[str] = (),
    ) -> None:
        """Take turns; a plain text is a turn that sounds complete."""
        self._turns = [
            one if isinstance(one, ScriptedTurn) else ScriptedTurn.of(one) for one in script
        ]
        known = {term.casefold() for term in keyterms}
        self._misheard = {
            re.compile(rf"\b{re.escape(one)}\b", re.IGNORECASE): it.replace("\\", r"\\")
            for one, it in misheard.items()
            if one.casefold() not in known
        }
        self._frames_per_word = max(1, round(seconds_per_word * 1000 / FRAME_MS))
        self._turn = self._part = self._voiced = self._silence = 0
        self._settled = False

    @property
    def text(self) -> str:
        """Settled parts and the words of the running one."""
        parts = self._parts
        if self._part >= len(parts):
            return ""
        heard = [self._heard(part.text) for part in parts[: self._part]]
        part = parts[self._part]
        if self._settled:
            heard.append(self._heard(part.text))
        else:
            words = self._heard(part.interim or part.text).split()
            heard.extend(words[: self._voiced // self._frames_per_word])
        return " ".join(heard)

    def _heard(self, text: str) -> str:
        for said, instead in self._misheard.items():
            text = said.sub(instead, text)
        return text

    @property
    def confidence(self) -> float:
        """What the script says of the running part."""
        parts = self._parts
        return parts[self._part].confidence if self._part < len(parts) else 0.0

    def hear(self, frame: bytes) -> bool:
        """Count voice and silence."""
        if not is_loud(frame):
            self._silence += 1
            if self._silence == _SETTLED_FRAMES and self._voiced >= _SHORTEST_FRAMES:
                self._settled = True
            return False
        if self._silence >= _PAUSE_FRAMES:
            if self._settled and self._part + 1 < len(self._parts):
                self._part += 1
                self._settled = False
                self._voiced = 0
            elif not self._settled:
                self._voiced = 0
        self._silence = 0
        self._voiced += 1
        return True

    def end_turn(self) -> None:
        """Go on to the next turn of the script."""
        self._turn += 1
        self._part = self._voiced = self._silence = 0
        self._settled = False

    def finish(self) -> None:
        """Do nothing: a script has no buffer."""

    def close(self) -> None:
        """Do nothing."""

    @property
    def _parts(self) -> tuple[Part, ...]:
        return self._turns[self._turn].parts if self._turn < len(self._turns) else ()


def load(path: Path) -> Script:
    """Read a script; raises OSError, or ValueError with one sentence."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def parse(text: str) -> Script:
    """Read a script's text; raises ValueError with one sentence."""
    table = tomllib.loads(text)
    _only(table, {"turn", "seconds_per_word", "misheard"}, "a script")
    turns = table.get("turn")
    if not (isinstance(turns, list) and turns):
        raise ValueError("a script needs at least one [[turn]]")
    pace = _number(table.get("seconds_per_word", SECONDS_PER_WORD), "seconds_per_word", 10)
    if not pace:
        raise ValueError("seconds_per_word must be above 0")
    misheard = table.get("misheard", {})
    if not isinstance(misheard, dict):
        raise ValueError("misheard must be a table")  # noqa: TRY004 - the file's value is wrong
    for said, instead in misheard.items():
        _texts([said, instead], "misheard")
    return Script(tuple(_turn(turn) for turn in turns), pace, misheard)


def _turn(turn: object) -> ScriptedTurn:
    if not isinstance(turn, dict):
        raise ValueError("each [[turn]] must be a table")  # noqa: TRY004 - the file's value is wrong
    _only(turn, {"text", "interim", "unfinished", "confidence"}, "a turn")
    texts = _texts(turn.get("text"), "text")
    interims: list[str | None] = [None] * len(texts)
    if "interim" in turn:
        interims = list(_texts(turn["interim"], "interim"))
        if len(interims) != len(texts):
            raise ValueError("interim must have as many texts as text")
    unfinished = turn.get("unfinished", False)
    if not isinstance(unfinished, bool):
        raise ValueError("unfinished must be true or false")  # noqa: TRY004 - the same
    last = _number(turn.get("confidence", UNFINISHED if unfinished else FINISHED), "confidence", 1)
    confidences = [UNFINISHED] * (len(texts) - 1) + [last]
    return ScriptedTurn(tuple(map(Part, texts, confidences, interims)))


def _texts(value: object, name: str) -> list[str]:
    texts: list[Any] = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"{name} must be a text, or a list of texts with pauses between them")
    return texts


def _number(value: object, name: str, highest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
        raise ValueError(f"{name} must be a number from 0 to {highest:g}")
    return float(value)


def _only(table: Mapping[str, Any], known: set[str], what: str) -> None:
    if unknown := set(table) - known:
        raise ValueError(f"{what} has no {min(unknown)!r}; it has {', '.join(sorted(known))}")
