"""What other settings would have done: the same machine over the same record.

Exact as long as the other settings ask nothing of the world that it was not asked: a connection, or
silence where the client was still heard, would have brought messages that are not in the record. A
higher threshold or a longer time-out is not offered for that reason. A hold longer than the one in
force outlasts the record, since a client stops once it has its answer: what it costs is told, and
not whether something would have followed.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from wyoming_flux.settings import UtteranceSettings
from wyoming_flux.utterance.events import Answer
from wyoming_flux.utterance.machine import State
from wyoming_flux.utterance.record import Record
from wyoming_flux.utterance.replay import play

from .turn import END, Turn

EXACT: Final = "exact"
ESTIMATE: Final = "estimate, to 0.25 s"
SILENT: Final = "if no more was said, to 0.25 s"
OPEN: Final = "not in the record"
HOLDS: Final = (0, 250, 500, 1000)
_TRIED: Final[Mapping[str, tuple[str, str, tuple[Any, ...]]]] = {
    "hold": ("hold", "ms", HOLDS),
    "no_speech_timeout": ("no-speech limit", "s", (2.0, 4.0, 8.0, 15.0)),
    "max_turn": ("longest turn", "s", (2.0, 5.0, 10.0, 20.0)),
    "answer_on": ("answer on", "", ("end-of-turn", "audio-stop")),
}
THRESHOLDS: Final = (0.5, 0.6, 0.7, 0.8)
_STEP: Final = 0.02
_LONGEST: Final = 2.0


@dataclass(frozen=True, slots=True)
class WhatIf:
    """One row."""

    setting: str
    value: str
    certainty: str
    present: bool = False
    """Whether these are the settings that were in force."""
    answer: Answer | None = None
    at: float | None = None
    """When it would have been answered."""

    @property
    def result(self) -> tuple[object, ...]:
        """What of two rows has to be the same for them to be shown as one."""
        answer = self.answer
        told = None if answer is None else (answer.text, answer.trigger)
        return (self.setting, self.certainty, self.present, self.at, told)


def what_if(turn: Turn) -> Iterator[WhatIf]:
    """Yield a row for each setting worth trying."""
    record, utterance, flux = turn.record, turn.record.utterance, turn.record.flux
    if utterance.answer_on == "audio-stop":
        yield _run(turn, record, ("answer on", "audio-stop"), EXACT, utterance, present=True)
        for hold in HOLDS:
            other = dataclasses.replace(utterance, answer_on="end-of-turn", hold=hold)
            yield _run(turn, record, ("answer on end-of-turn, hold", f"{hold} ms"), EXACT, other)
        return
    now: dict[str, Any] = {
        "hold": utterance.effective_hold(flux.sensitivity),
        "no_speech_timeout": utterance.no_speech_timeout,
        "max_turn": utterance.max_turn,
        "answer_on": utterance.answer_on,
    }
    for name, (label, unit, tried) in _TRIED.items():
        for value in sorted({*tried, now[name]}):
            shown = (label, f"{value:g} {unit}" if unit else value)
            other = dataclasses.replace(utterance, **{name: value})
            yield _run(turn, record, shown, EXACT, other, present=value == now[name])
    for threshold in THRESHOLDS:
        if threshold < flux.effective_eot_threshold:
            lower = _with_threshold(record, threshold)
            yield _run(turn, lower, ("threshold", f"{threshold:g}"), ESTIMATE, utterance)


def enough_hold(turn: Turn) -> int | None:
    """Return the shortest hold (of tenths of a second) that gives the text; None: as it was."""
    utterance = turn.record.utterance
    now = utterance.effective_hold(turn.record.flux.sensitivity)
    for hold in range(0, now, 100):
        tried = _run(
            turn, turn.record, ("", ""), EXACT, dataclasses.replace(utterance, hold=hold)
        ).answer
        if tried is not None and turn.answer is not None and tried.text == turn.answer.text:
            return hold
    return None


def _run(
    turn: Turn,
    record: Record,
    shown: tuple[str, str],
    certainty: str,
    settings: UtteranceSettings,
    *,
    present: bool = False,
) -> WhatIf:
    asked = [_asks(line) for line in record.outputs]
    known = iter([one for one in asked if one is not None])
    state = ""
    for line, event in play(record, utterance=settings):
        if isinstance(event, Answer):
            return WhatIf(*shown, certainty, present, event, line["t"])
        if (asks := _asks(line)) is not None and asks != next(known, None):
            return WhatIf(*shown, OPEN, present)
        state = line.get("state", state)
    if state == State.HOLDING.name and certainty == EXACT:
        return _run(turn, _in_silence(turn), shown, SILENT, settings)
    return WhatIf(*shown, OPEN, present)


def _in_silence(turn: Turn) -> Record:
    """Return a record in which the client is silent after the answer, and Flux hears that."""
    last, size = turn.said[-1], int(turn.record.flux.sample_rate * _STEP) * 2
    info = {"type": "TurnInfo", "event": "Update", "turn_index": last.turn + 1, "transcript": ""}
    lines = list(turn.record.lines)
    for number in range(1, int(_LONGEST / _STEP)):
        at = {"t": round((turn.answered or turn.closed) + number * _STEP, 4)}
        heard = {**info, "audio_window_end": last.window + number * _STEP}
        lines += [
            {**at, "in": "feed", "bytes": size},
            {**at, "in": "next", "attempt": last.attempt},
            {**at, "in": "receive", "attempt": last.attempt, "message": heard},
        ]
    return dataclasses.replace(turn.record, lines=tuple(lines))


def _asks(line: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What a decision asks of the world; None: nothing."""
    match line["out"]:
        case "connect" | "drop":
            return line["out"], line["attempt"]
        case "state" if line["state"] == "DRAINING":
            return "drain", line["t"]
        case _:
            return None


def _with_threshold(record: Record, threshold: float) -> Record:
    """Return a record in which Flux ended each turn once it was as sure as this."""
    lines: list[Mapping[str, Any]] = []
    done: set[tuple[int, int]] = set()
    for line in record.lines:
        info = line.get("message", {})
        confidence = info.get("end_of_turn_confidence")
        if info.get("type") == "TurnInfo" and info.get("transcript") and confidence is not None:
            key = (line["attempt"], info["turn_index"])
            if key not in done and confidence >= threshold:
                done.add(key)
                line = {**line, "message": {**info, "event": END}}
        lines.append(line)
    return dataclasses.replace(record, lines=tuple(lines))
