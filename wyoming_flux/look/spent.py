"""Where the milliseconds went, from the last word to the answer: parts that add up exactly."""

from dataclasses import dataclass
from typing import Final, Literal

from .turn import Turn

Whose = Literal["Flux", "client", "network", "setting", "wyoming-flux"]
_TICKS: Final = 10_000
"""A record's clock goes in steps of 0.1 ms: whole numbers of them add up exactly."""


@dataclass(frozen=True, slots=True)
class Share:
    """Some of the time, and whom it belongs to."""

    name: str
    whose: Whose
    ticks: int
    """Of 0.1 ms."""

    @property
    def ms(self) -> float:
        """Milliseconds."""
        return self.ticks / 10

    @property
    def seconds(self) -> float:
        """Seconds."""
        return self.ticks / _TICKS


def spent(turn: Turn) -> list[Share]:
    """Return the parts in their order; empty where no word was answered.

    A part's time is when something had come to us or left us: what the network takes and what Flux
    computes cannot be told apart from here.
    """
    deciding, word = turn.deciding, turn.last_word
    if deciding is None or word is None or turn.answered is None:
        return []
    spoken = turn.arrival(word[0])
    attempt = turn.attempts.get(deciding.attempt)
    if spoken is None or attempt is None:
        return []
    stopped = turn.answer is not None and turn.answer.trigger != "end-of-turn"
    here = turn.arrival(min(deciding.place, turn.audio))
    sent = next((at for at, end in attempt.sent if end >= deciding.window - 1e-6), None)
    steps: list[tuple[str, Whose, float | None]] = [
        (
            "until the client's audio ended" if stopped else "until Flux was sure of the end",
            "client" if stopped else "Flux",
            here,
        ),
        ("until a connection was open", "network", attempt.opened),
        (
            "until silence had brought the end" if stopped else "until it was sent",
            "wyoming-flux",
            sent,
        ),
        (
            "heard once more, and back" if turn.again(attempt) else "there and back, and computed",
            "network",
            deciding.at,
        ),
    ]
    held = deciding.at < turn.answered and any(
        state.name == "HOLDING" and at >= deciding.at for at, state in turn.states
    )
    whose: Whose = "setting" if held else "wyoming-flux"
    steps.append(
        ("held, in case of more" if held else "until it was answered", whose, turn.answered)
    )
    parts, last = [], _ticks(spoken)
    end = _ticks(turn.answered)
    for name, owner, at in steps:
        now = last if at is None else min(max(last, _ticks(at)), end)
        if now > last:
            parts.append(Share(name, owner, now - last))
        last = now
    return parts


def _ticks(seconds: float) -> int:
    return round(seconds * _TICKS)
