"""How a foreign Flux behaves, a switch for each thing seen or documented; and its record."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from .coded_audio import RATE


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How one stream behaves; the defaults are a Flux on Workers AI as it is documented.

    Seconds are of audio on the stream, where nothing else is said.
    """

    ingest: float = 1.25
    """Times real time at which audio is consumed; 0: unlimited."""
    end_of_turn: float = 0.32
    """Silence after a word that ends a turn."""
    open_words: frozenset[str] = frozenset({"and"})
    """A turn whose last word is one of these ends at eot_timeout_ms only."""
    never_final: bool = False
    text_delay: float = 0.1
    """From the end of a word until a message may have it; an end of turn has it at once."""
    behind: float = 0.0
    """Audio at the end of what has arrived that is not decoded yet."""
    word_times: bool = False
    """Words with start and end, and a trigger at the end of a turn, as newer builds have them."""

    controls: frozenset[str] = frozenset({"CloseStream", "Configure"})
    """Known control messages; any other is answered with an Error and a close without a code."""
    on_control: str = "flush"
    """``flush``; ``unflushed``: CloseStream closes at once; ``1011``: any control closes so."""

    window: str = "true"
    """``true``, ``missing``, or ``creep``: a millisecond per second of time."""
    window_lag: float = 0.0
    """Distance of the window end from the audio that the text covers."""
    talks_on: bool = False
    """Update every 0.25 s of time as well, with or without audio."""
    talk: str = "turns"
    """``turns``, or instead of any TurnInfo, every 0.5 s of time: ``heartbeats``, ``warnings``,
    ``no-event``, ``no-turn-index``; ``nothing``."""
    mute: tuple[float, float] | None = None
    """No message from here to there; what would have been said is said after it."""

    empty_ends_every: float | None = None
    """Empty ends of turn after so much silence."""
    empty_final: bool = False
    """The end of a turn has no text, as was seen on Workers AI."""
    revise: bool = False
    """The second word of a turn is another one in the first two messages that have it."""
    late_end: bool = False
    """An end of turn comes after the next turn's first message, with a word more than before it."""
    stray_end: bool = False
    """An EndOfTurn of turn 99, once."""
    surrogate: str = ""
    """``before``: half of a surrogate pair begins each text; ``alone``: it is all of the text."""
    event: str = "Update"
    """Name of the event of updates and starts of turns, ``Update`` as documented."""

    drop_after: float | None = None
    """The connection breaks after so much audio."""
    drop_after_time: float | None = None
    """The connection breaks so many seconds of time after it was opened."""
    handshake_delay: float = 0.0
    """Seconds of time before the upgrade is answered; ``inf``: never."""
    accept_close: bool = False
    """TCP is accepted and closed."""
    refuse: int = 0
    """HTTP status with which the upgrade is refused."""


GOOD: Final = Behaviour()


@dataclass
class Stream:
    """What was seen of one connection; times are seconds of the monotonic clock."""

    behaviour: Behaviour
    accepted: float
    opened: float = 0.0
    query: dict[str, list[str]] = field(default_factory=dict)
    samples: int = 0
    """Received."""
    frames: int = 0
    controls: list[str] = field(default_factory=list)
    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    closed: float | None = None
    ended_by: str = ""
    wrong: list[str] = field(default_factory=list)
    """What a real Flux would not have forgiven, and no control message is."""

    def story(self) -> str:
        """Return the stream for the report of a test that failed."""
        lines = [
            f"stream: {self.frames} frames, {self.samples / RATE:.2f} s, controls {self.controls}",
            f"  ended by {self.ended_by or 'nobody yet'}, wrong {self.wrong}",
        ]
        for at, message in self.messages:
            end = message.get("audio_window_end")
            lines.append(
                f"  {at - self.opened:6.2f} {message.get('event', message['type']):<12}"
                f" {message.get('turn_index', '')!s:>3} {end if end is not None else '':>7}"
                f" {message.get('transcript', '')!r}"
            )
        if self.closed is not None:
            lines.append(f"  {self.closed - self.opened:6.2f} closed")
        return "\n".join(lines)


def behaviour_from(settings: Iterable[str]) -> Behaviour:
    """Read ``name=value`` pairs; raises ValueError for what is none."""
    fields = {one.name: getattr(GOOD, one.name) for one in dataclasses.fields(Behaviour)}
    given: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name not in fields:
            raise ValueError(f"{setting!r} is none of: {' '.join(fields)}")
        default = fields[name]
        if isinstance(default, frozenset):
            given[name] = frozenset(value.split(",")) if value else frozenset()
        elif isinstance(default, bool):
            given[name] = value.lower() in ("1", "true", "yes")
        elif isinstance(default, str):
            given[name] = value
        elif name == "mute":
            begin, end = value.split(",")
            given[name] = (float(begin), float(end))
        else:
            given[name] = int(value) if name == "refuse" else float(value)
    return Behaviour(**given)
