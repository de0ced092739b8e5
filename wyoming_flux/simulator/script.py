"""Scripts for the simulator, as files.

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
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .recognizer import FINISHED, SECONDS_PER_WORD, UNFINISHED, Part, ScriptedTurn


@dataclass(frozen=True, slots=True)
class Script:
    """What is heard, turn by turn."""

    turns: tuple[ScriptedTurn, ...]
    seconds_per_word: float = SECONDS_PER_WORD


def load(path: Path) -> Script:
    """Read a script; raises OSError, or ValueError with one sentence."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def parse(text: str) -> Script:
    """Read a script's text; raises ValueError with one sentence."""
    table = tomllib.loads(text)
    _only(table, {"turn", "seconds_per_word"}, "a script")
    turns = table.get("turn")
    if not (isinstance(turns, list) and turns):
        raise ValueError("a script needs at least one [[turn]]")
    pace = _number(table.get("seconds_per_word", SECONDS_PER_WORD), "seconds_per_word", 10)
    if not pace:
        raise ValueError("seconds_per_word must be above 0")
    return Script(tuple(_turn(turn) for turn in turns), pace)


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
