"""What the records of a probe mean. Pure: records in, findings out; None is "not to be told"."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from wyoming_flux.errors import Refused
from wyoming_flux.flux.connection import WORKER_HEADER

from .plan import CLIPS, NAME, TIMEOUT_MS
from .streams import Record, StreamRecords, kind_of, kinds_of, message_of, streams_of

_CLOSES: Final = (1000, 1005, 1006)
"""Codes that may follow a ``CloseStream``: as documented, and through a proxy."""
_SLOW: Final = 0.5
"""Part of the audio's speed below which a window end creeps."""
_SOON: Final = 300.0
"""Milliseconds by which the end of a turn may miss the timeout that was asked for."""
_COVERED: Final = 0.1


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a text message brought, in the middle of a word."""

    kind: str
    """``taken``, ``error`` (a message, then a close), ``close`` or ``ignored``."""
    came: tuple[str, ...] = ()
    """Types or events of the messages after it, in order; Updates once."""
    code: int | None = None
    """With which the other side closed."""
    flushed: bool | None = None
    """Whether what was sent before was told, up to its end."""


@dataclass(slots=True)
class Findings:
    """All that a probe can tell; times in milliseconds or seconds by their names."""

    route: str = ""
    sent: float = 0.0
    """Seconds of audio on all streams."""
    streams: int = 0
    plain: bool = False
    """Whether it is a Worker that is not ours, and so may ignore parameters."""
    unreached: str = ""
    """Why no stream was opened at all."""
    cold_ms: float | None = None
    warm_ms: float | None = None
    taken: dict[str, bool | None] = field(default_factory=dict)
    """By the name of a step that asks for one parameter."""
    refusals: dict[str, Record] = field(default_factory=dict)
    with_name: str = ""
    without_name: str = ""
    name_helps: bool | None = None
    fields: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the fields by kind of message."""
    typed: bool | None = None
    binary: bool | None = None
    trigger: bool | None = None
    word_times: bool | None = None
    windows: str | None = None
    """``true``, ``creeping`` or ``missing``."""
    lag: float | None = None
    """Smallest *sent - window end*."""
    lag_most: float | None = None
    left_after_stop: float | None = None
    """Seconds of audio that no window end covered a second after the last frame."""
    update_seconds: float | None = None
    """Between two messages in silence."""
    first_message: str = ""
    end_ms: dict[int, list[float]] = field(default_factory=dict)
    """From the last word to the end of the turn, by the length of the frames; no end: missing."""
    end_of_turn_ms: float | None = None
    """The same in audio, by the window ends."""
    timeout_ms: float | None = None
    timeout_asked: bool = False
    timeout_honoured: bool | None = None
    answers: dict[str, Reaction] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    """In force where nothing was asked for, by the answer to ``Configure``."""
    idle_closed: float | None = None
    """Seconds without audio until it was closed; None: it was not."""
    idle_code: int | None = None
    idle_heard: bool | None = None
    oddities: list[str] = field(default_factory=list)


def find(records: Iterable[Record]) -> Findings:
    """Return what these records mean; they may be those of a run that was broken off."""
    streams = list(streams_of(records))
    found = Findings(streams=len(streams), sent=sum(one.sent for one in streams))
    opened = [one for one in streams if one.opened is not None]
    if streams:
        found.route = streams[0].records[0].get("route", "")
    if not opened:
        found.unreached = next((one.refused["text"] for one in streams if one.refused), "")
        return found
    _upgrades(found, opened)
    _parameters(found, streams)
    _messages(found, opened)
    _windows(found, [one for one in opened if one.name.startswith(("first", "frames"))])
    _ends(found, opened)
    for stream in opened:
        if stream.name.startswith("control "):
            found.answers[stream.name.removeprefix("control ")] = _answer(found, stream)
        elif stream.name == "idle":
            _idle(found, stream)
    _judge_close(found)
    _oddities(found, opened)
    return found


def _upgrades(found: Findings, opened: Sequence[StreamRecords]) -> None:
    times = [one.opened["connect_ms"] for one in opened if one.opened]
    found.cold_ms = times[0]
    found.warm_ms = statistics.median(times[1:]) if times[1:] else None
    headers = opened[0].opened["headers"] if opened[0].opened else {}
    found.plain = found.route == "worker" and WORKER_HEADER not in headers


def _parameters(found: Findings, streams: Sequence[StreamRecords]) -> None:
    for stream in streams:
        name = stream.name
        if name.startswith(("eot_", "eager_", "keyterm")):
            if stream.refused is not None:
                # Any other cause, an overload for one, says nothing of the parameter.
                found.taken[name] = False if stream.refused["code"] == Refused.code else None
                found.refusals[name] = stream.refused
            elif kinds_of(stream.frames) & {"Error"} or not stream.frames:
                found.taken[name] = False if stream.frames else None
            else:
                found.taken[name] = True
                found.refusals.pop(name, None)
        elif name == "name without":
            found.without_name = stream.text
        elif name == "name with":
            found.with_name = stream.text
    if found.with_name and found.without_name:
        heard, before = (
            NAME.casefold() in one.casefold() for one in (found.with_name, found.without_name)
        )
        # What it hears anyway says nothing.
        found.name_helps = None if before else heard


def _messages(found: Findings, opened: Sequence[StreamRecords]) -> None:
    fields: dict[str, dict[str, None]] = {}
    binary, typed = set(), set()
    for frame in (one for stream in opened for one in stream.frames):
        message = message_of(frame)
        binary.add(frame["binary"])
        if message is None:
            continue
        kind = message.get("type") or ("TurnInfo" if "event" in message else "(no type)")
        typed.add("type" in message)
        known = fields.setdefault(str(kind), {})
        known.update(dict.fromkeys(message))
        for word in message.get("words") or []:
            if isinstance(word, dict):
                known.update(dict.fromkeys(f"words[].{name}" for name in word))
    found.fields = {kind: tuple(names) for kind, names in fields.items()}
    if binary:
        found.binary = any(binary)
    if typed:
        found.typed = all(typed)
    ends = [one.info for stream in opened for one in stream.ends]
    if ends:
        found.trigger = all(one.trigger is not None for one in ends)
    if any(one.info.transcript for stream in opened for one in stream.turns):
        found.word_times = "words[].start" in fields.get("TurnInfo", {})
    first = opened[0].frames
    if first:
        message = message_of(first[0]) or {}
        kind = message.get("type") or message.get("event") or "no type"
        found.first_message = f"{kind}, after {first[0]['sent']:.2f} s of audio"


def _windows(found: Findings, streams: Sequence[StreamRecords]) -> None:
    if not any(stream.turns for stream in streams):
        return
    lags, paces = [], []
    for stream in streams:
        known = [
            (one.sent, one.info.audio_window_end)
            for one in stream.turns
            if one.info.audio_window_end is not None
        ]
        # Before the lag is over some say 0, which is no window end.
        lags += [sent - end for sent, end in known if end > 0]
        if len(known) > 1 and known[-1][0] - known[0][0] > 1.0:
            paces.append((known[-1][1] - known[0][1]) / (known[-1][0] - known[0][0]))
    if not lags:
        found.windows = "missing"
        return
    found.windows = "creeping" if paces and statistics.median(paces) < _SLOW else "true"
    found.lag, found.lag_most = max(0.0, min(lags)), max(lags)
    first = streams[0]
    if first.name == "first" and first.turns and first.turns[-1].info.audio_window_end is not None:
        found.left_after_stop = first.sent - first.turns[-1].info.audio_window_end
    quiet = [one.at for one in first.turns if first.ends and one.at > first.ends[-1].at]
    if len(quiet) > 2:
        gaps = [late - early for early, late in itertools.pairwise(quiet)]
        found.update_seconds = statistics.median(gaps)


def _ends(found: Findings, opened: Sequence[StreamRecords]) -> None:
    by_audio = []
    for stream in opened:
        if stream.name == "timeout":
            _timeout(found, stream)
        if not stream.name.startswith(("first", "frames")):
            continue
        size = int(stream.name.split()[1]) if " " in stream.name else 80
        times = found.end_ms.setdefault(size, [])
        if stream.end is None or stream.end_ms is None:
            continue
        times.append(stream.end_ms)
        window = stream.end.info.audio_window_end
        if window is not None and found.windows == "true":
            by_audio.append(1000 * (window + (found.lag or 0.0) - CLIPS["sentence"]))
    if by_audio:
        found.end_of_turn_ms = max(0.0, statistics.median(by_audio))
    elif times := list(itertools.chain(*found.end_ms.values())):
        found.end_of_turn_ms = statistics.median(times)


def _timeout(found: Findings, stream: StreamRecords) -> None:
    found.timeout_asked, found.timeout_ms = True, stream.end_ms
    asked = dict(stream.records[0]["asked"])
    end = math.inf if stream.end_ms is None else stream.end_ms
    # An end before the timeout was the model's: it says nothing.
    if "eot_timeout_ms" in asked and end >= TIMEOUT_MS - _SOON:
        found.timeout_honoured = end <= TIMEOUT_MS + 2 * _SOON


_PROPER: Final = {
    "ForceEndTurn": {"EndOfTurn", "Warning"},
    "Configure": {"ConfigureSuccess", "ConfigureFailure"},
}
"""What shows that a control message is taken."""


def _answer(found: Findings, stream: StreamRecords) -> Reaction:
    said = stream.first("control")
    if said is None:
        return Reaction("not asked")
    name = stream.name.removeprefix("control ")
    after = stream.records[stream.records.index(said) :]
    frames = [one for one in after if one["event"] == "frame"]
    code = stream.closed["code"] if stream.closed in after and stream.closed else None
    # What only silence brought is none of the message's.
    until = said["sent"] + 0.01
    infos = [one.info for one in stream.turns if one.at >= said["at"] and one.sent <= until]
    flushed: bool | None = bool(infos)
    if found.windows == "true":
        heard = max((one.audio_window_end or 0.0 for one in infos), default=0.0)
        flushed = heard >= said["sent"] - (found.lag or 0.0) - _COVERED
    elif not frames and code is None:
        flushed = None
    if name == "Configure":
        found.thresholds = _thresholds(frames)
    came = tuple(dict.fromkeys(kind_of(one) for one in frames))
    if "Error" in came:
        kind = "error"
    elif _PROPER.get(name, set()) & kinds_of(one for one in frames if one["sent"] <= until):
        kind = "taken"
    else:
        kind = "ignored" if code is None else "close"
    return Reaction(kind, came, code, flushed)


def _thresholds(frames: Iterable[Record]) -> dict[str, float]:
    for message in (message_of(one) or {} for one in frames):
        echo = message.get("thresholds")
        if message.get("type") == "ConfigureSuccess" and isinstance(echo, dict):
            return {name: one for name, one in echo.items() if type(one) in (int, float)}
    return {}


def _judge_close(found: Findings) -> None:
    """Tell a CloseStream that is taken from one that is closed upon as any unknown message is."""
    close = found.answers.get("CloseStream")
    if close is None or close.kind != "close" or close.code not in _CLOSES:
        return
    other = found.answers.get("WyomingFluxProbe")
    same = other is not None and other.kind == "close" and other.code == close.code
    if close.flushed or not same:
        found.answers["CloseStream"] = dataclasses.replace(close, kind="taken")


def _idle(found: Findings, stream: StreamRecords) -> None:
    waits, closed = stream.first("waits"), stream.closed
    if waits is None:
        return
    if closed is not None and (stream.said is None or closed["at"] < stream.said["at"]):
        found.idle_closed = closed["at"] - waits["at"]
        found.idle_code = closed["code"]
        found.idle_heard = False
    elif stream.said is not None:
        found.idle_heard = bool(stream.text)


def _lost_its_text(stream: StreamRecords) -> bool:
    told = {one.info.turn_index for one in stream.turns if one.info.transcript}
    return any(not one.info.transcript and one.info.turn_index in told for one in stream.ends)


_ODDITIES: Final[tuple[tuple[str, bool, Callable[[StreamRecords], bool]], ...]] = (
    ("EndOfTurn without the text that was told before", True, _lost_its_text),
    (
        "EndOfTurn told twice",
        True,
        lambda one: len({end.info.turn_index for end in one.ends}) < len(one.ends),
    ),
    ("frames that are no JSON object", True, lambda one: None in map(message_of, one.frames)),
    ("audio was not taken in time", True, lambda one: one.first("overdue") is not None),
    ("an Error", False, lambda one: "Error" in kinds_of(one.frames)),
    ("closed in the middle", False, lambda one: one.closed is not None),
    ("nothing was heard of the sentence", False, lambda one: bool(one.said) and not one.text),
    ("the turn did not end", False, lambda one: bool(one.said and one.text) and one.end is None),
)
"""What is not as it should be, and whether it is not so either where something was done that may
bring it."""


def _oddities(found: Findings, opened: Sequence[StreamRecords]) -> None:
    for what, anywhere, is_so in _ODDITIES:
        names = [
            f"{one.name}: {one.closed['code']}" if one.closed else one.name
            for one in opened
            if (anywhere or not one.name.startswith(("control", "idle"))) and is_so(one)
        ]
        if names:
            found.oddities.append(f"{what} ({', '.join(dict.fromkeys(names))})")
