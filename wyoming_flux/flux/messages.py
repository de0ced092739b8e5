"""Flux's messages, typed, both ways (Deepgram ``/v2/listen``; flux messages of deepgram-sdk 7.17).

What comes in is read leniently: Workers AI leaves out ``type``, ``trigger`` and word times in its
schema, builds lag behind the documentation, and a field nobody needs must not cost a transcript.
"""

import json
import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from wyoming_flux.errors import one_line

CLOSE_STREAM: Final = '{"type":"CloseStream"}'
"""Decode what was sent, then close; gives no ``EndOfTurn``."""
FORCE_END_TURN: Final = '{"type":"ForceEndTurn"}'
"""End the turn now; an unknown message is fatal, so only where it is proven (:mod:`.learnt`)."""

NO_ACTIVE_TURN: Final = "FORCE_END_TURN_NO_ACTIVE_TURN"
"""Code of the warning that answers ``ForceEndTurn`` when nothing was said."""

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class TurnEvent(StrEnum):
    """What a :class:`TurnInfo` tells; one that is not known here counts as an ``Update``."""

    UPDATE = "Update"
    START_OF_TURN = "StartOfTurn"
    EAGER_END_OF_TURN = "EagerEndOfTurn"
    TURN_RESUMED = "TurnResumed"
    END_OF_TURN = "EndOfTurn"


@dataclass(frozen=True, slots=True)
class Connected:
    """The first message of a stream."""

    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class TurnInfo:
    """What Flux has understood of a turn so far; times in seconds of audio on this socket."""

    event: TurnEvent
    turn_index: int
    audio_window_end: float | None
    """How far Flux has heard; None: not told, or not a time."""
    transcript: str
    """The whole turn so far, not a difference."""
    first_word_start: float | None = None
    trigger: str | None = None
    last_word_end: float | None = None
    end_of_turn_confidence: float | None = None
    """0 to 1."""


@dataclass(frozen=True, slots=True)
class FluxWarning:
    """Something was ignored; the stream goes on."""

    code: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class FluxFault:
    """Flux's ``Error``: it closes the stream after it."""

    code: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Other:
    """A message of Flux that nobody here needs; it proves that the stream is alive."""

    type: str


@dataclass(frozen=True, slots=True)
class Garbage:
    """A frame that is no message of Flux."""


Message = Connected | TurnInfo | FluxWarning | FluxFault | Other | Garbage


def parse(frame: str | bytes) -> Message:
    """Read one WebSocket frame; never raises: what is no message is :class:`Garbage`.

    Flux's are text; a proxy may make them binary frames of the same UTF-8.
    """
    try:
        fields = json.loads(frame.decode() if isinstance(frame, bytes) else frame)
    except (ValueError, RecursionError):
        return Garbage()
    if not isinstance(fields, dict):
        return Garbage()
    kind = fields.get("type")
    if kind == "TurnInfo" or (kind is None and "event" in fields):
        return _turn_info(fields)
    match kind:
        case "Connected":
            return Connected(_text(fields.get("request_id")) or None)
        case "Warning":
            return FluxWarning(*_said(fields))
        case "Error":
            return FluxFault(*_said(fields))
        case str():
            return Other(kind)
        case _:
            return Garbage()


def described(message: Message, *, text: bool) -> str:
    """Return a message as one line: kind, turn, window end, confidence; ``text``: that, too."""
    match message:
        case TurnInfo(event=event, turn_index=turn, transcript=said):
            end, sure = message.audio_window_end, message.end_of_turn_confidence
            why = f" ({message.trigger})" if message.trigger else ""
            window = "no window end" if end is None else f"heard to {end:.2f} s"
            confidence = "" if sure is None else f", confidence {sure:.2f}"
            what = repr(said) if text else f"{len(said)} characters"
            return f"{event}{why}, turn {turn}, {window}{confidence}, {what}"
        case FluxWarning(code, description) | FluxFault(code, description):
            kind = "Warning" if isinstance(message, FluxWarning) else "Error"
            return f"{kind} {code}: {description}"
        case Connected():
            return "Connected"
        case Other(kind):
            return kind
        case Garbage():
            return "something that is no message of Flux"


def _turn_info(fields: dict[str, Any]) -> Message:
    try:
        event = TurnEvent(_text(fields.get("event")))
    except ValueError:
        event = TurnEvent.UPDATE
    turn_index = fields.get("turn_index")
    if not isinstance(turn_index, int) or isinstance(turn_index, bool) or turn_index < 0:
        return Garbage()
    words = fields.get("words")
    return TurnInfo(
        event=event,
        turn_index=turn_index,
        audio_window_end=_positive(fields.get("audio_window_end")),
        transcript=_text(fields.get("transcript")).strip(),
        first_word_start=_word_time(words, 0, "start"),
        trigger=_text(fields.get("trigger")) or None,
        last_word_end=_word_time(words, -1, "end"),
        end_of_turn_confidence=_positive(fields.get("end_of_turn_confidence")),
    )


def _word_time(words: object, which: int, name: str) -> float | None:
    if isinstance(words, list) and words and isinstance(words[which], dict):
        return _positive(words[which].get(name))
    return None


def _positive(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _said(fields: dict[str, Any]) -> tuple[str, str]:
    # People get to read these, in logs and answers.
    return one_line(_text(fields.get("code"))), one_line(_text(fields.get("description")))


def _text(value: object) -> str:
    # Half a character cannot be encoded: it would reach the client as "?", or not at all.
    return _LONE_SURROGATE.sub("", value) if isinstance(value, str) else ""
