"""What the records of a probe mean. Pure: records in, findings out; None is "not to be told"."""

import dataclasses
import itertools
import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from wyoming_flux.flux.connection import WORKER_HEADER
from wyoming_flux.flux.messages import TurnEvent, TurnInfo, parse

from .plan import CLIPS, NAME, TIMEOUT_MS

Record = dict[str, Any]

_CLOSES: Final = (1000, 1005, 1006)
"""Codes that may follow a ``CloseStream``: as documented, and through a proxy."""
_SLOW: Final = 0.5
"""Part of the audio's speed below which a window end creeps."""
_SOON: Final = 0.3
"""Seconds by which the end of a turn may miss the timeout that was asked for."""
_COVERED: Final = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
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
    answers: dict[str, Answer] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    """In force where nothing was asked for, by the answer to ``Configure``."""
    idle_closed: float | None = None
    """Seconds without audio until it was closed; None: it was not."""
    idle_code: int | None = None
    idle_heard: bool | None = None
    oddities: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Heard:
    """A TurnInfo, and when it came."""

    at: float
    sent: float
    info: TurnInfo


class _Stream:
    """The records of one stream."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.name: str = records[0]["step"]
        self.refused = self.first("refused")
        self.opened = self.first("opened")
        self.closed = self.first("closed")
        self.said = self.first("said")
        self.sent: float = max(one["sent"] for one in records)

    def first(self, event: str) -> Record | None:
        """Return its first record of this event."""
        return next((one for one in self.records if one["event"] == event), None)

    @property
    def frames(self) -> list[Record]:
        return [one for one in self.records if one["event"] == "frame"]

    @property
    def turns(self) -> list[_Heard]:
        read = ((one, parse(one["data"])) for one in self.frames)
        return [
            _Heard(one["at"], one["sent"], info) for one, info in read if isinstance(info, TurnInfo)
        ]

    @property
    def text(self) -> str:
        """The text of its turns."""
        texts = {
            one.info.turn_index: one.info.transcript for one in self.turns if one.info.transcript
        }
        return " ".join(text for _, text in sorted(texts.items()))

    @property
    def ends(self) -> list[_Heard]:
        return [one for one in self.turns if one.info.event is TurnEvent.END_OF_TURN]

    @property
    def end_ms(self) -> float | None:
        """From the last word to the first end of a turn after it."""
        if self.said is None:
            return None
        spoken = self.said["spoken"]
        return next((1000 * (one.at - spoken) for one in self.ends if one.at >= spoken), None)


def find(records: Iterable[Record]) -> Findings:
    """Return what these records mean; they may be those of a run that was broken off."""
    streams = list(_streams(records))
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
    _judge_close(found)
    for stream in opened:
        if stream.name == "idle":
            _idle(found, stream)
    _oddities(found, opened)
    return found


def _streams(records: Iterable[Record]) -> Iterator[_Stream]:
    current: list[Record] = []
    for one in records:
        if one["event"] in ("opening", "left out") and current:
            yield _Stream(current)
            current = []
        if one["event"] != "left out":
            current.append(one)
    if current:
        yield _Stream(current)


def _upgrades(found: Findings, opened: Sequence[_Stream]) -> None:
    times = [one.opened["connect_ms"] for one in opened if one.opened]
    found.cold_ms = times[0]
    found.warm_ms = statistics.median(times[1:]) if times[1:] else None
    headers = opened[0].opened["headers"] if opened[0].opened else {}
    found.plain = found.route == "worker" and WORKER_HEADER not in headers


def _parameters(found: Findings, streams: Sequence[_Stream]) -> None:
    for stream in streams:
        name = stream.name
        if name.startswith(("eot_", "eager_", "keyterm")):
            if stream.refused is not None:
                # No status: it was not reached, which says nothing of the parameter.
                found.taken[name] = None if stream.refused["status"] is None else False
                found.refusals[name] = stream.refused
            elif _kinds(stream.frames) & {"Error"} or not stream.frames:
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


def _messages(found: Findings, opened: Sequence[_Stream]) -> None:
    fields: dict[str, dict[str, None]] = {}
    binary, typed = set(), set()
    for frame in (one for stream in opened for one in stream.frames):
        message = _json(frame)
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
        message = _json(first[0]) or {}
        found.first_message = f"{message.get('type') or message.get('event') or 'no type'}"
        found.first_message += f", after {first[0]['sent']:.2f} s of audio"


def _windows(found: Findings, streams: Sequence[_Stream]) -> None:
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


def _ends(found: Findings, opened: Sequence[_Stream]) -> None:
    by_audio = []
    for stream in opened:
        end = stream.end_ms
        if stream.name.startswith(("first", "frames")):
            size = int(stream.name.split()[1]) if " " in stream.name else 80
            times = found.end_ms.setdefault(size, [])
            if end is not None:
                times.append(end)
                window = next(
                    one.info.audio_window_end
                    for one in stream.ends
                    if stream.said and one.at >= stream.said["spoken"]
                )
                if window is not None and found.windows == "true":
                    by_audio.append(1000 * (window + (found.lag or 0.0) - CLIPS["sentence"]))
        elif stream.name == "timeout":
            asked = dict(stream.records[0]["asked"])
            found.timeout_asked = True
            found.timeout_ms = end
            late = end is None or end > TIMEOUT_MS + 1000 * _SOON + 300
            early = end is not None and end < TIMEOUT_MS - 1000 * _SOON
            # An end before the timeout was the model's: it says nothing.
            found.timeout_honoured = None if early else not late
            if "eot_timeout_ms" not in asked:
                found.timeout_honoured = None
    if by_audio:
        found.end_of_turn_ms = max(0.0, statistics.median(by_audio))
    elif any(found.end_ms.values()):
        found.end_of_turn_ms = statistics.median(x for one in found.end_ms.values() for x in one)


def _answer(found: Findings, stream: _Stream) -> Answer:
    said = stream.first("control")
    if said is None:
        return Answer("not asked")
    name = stream.name.removeprefix("control ")
    after = stream.records[stream.records.index(said) :]
    frames = [one for one in after if one["event"] == "frame"]
    came = tuple(dict.fromkeys(_kind(one) for one in frames))
    code = stream.closed["code"] if stream.closed in after and stream.closed else None
    infos = [
        one for one in stream.turns if one.at >= said["at"] and one.sent <= said["sent"] + 0.01
    ]
    lag = found.lag or 0.0
    flushed: bool | None
    if found.windows == "true":
        ends = [one.info.audio_window_end or 0.0 for one in infos]
        flushed = max(ends, default=0.0) >= said["sent"] - lag - _COVERED
    else:
        flushed = None if not frames and code is None else bool(infos)
    if "Error" in came:
        return Answer("error", came, code, flushed)
    known = {
        "ForceEndTurn": {"EndOfTurn", "Warning"},
        "Configure": {"ConfigureSuccess", "ConfigureFailure"},
    }
    if name == "Configure":
        for message in (_json(one) or {} for one in frames):
            echo = message.get("thresholds")
            if message.get("type") == "ConfigureSuccess" and isinstance(echo, dict):
                found.thresholds = {
                    k: v
                    for k, v in echo.items()
                    if isinstance(v, int | float) and not isinstance(v, bool)
                }
    # An end that only silence brought is none of ForceEndTurn's.
    at_once = {_kind(one) for one in frames if one["sent"] <= said["sent"] + 0.01}
    if known.get(name, set()) & at_once:
        return Answer("taken", came, code, flushed)
    if code is not None:
        return Answer("close", came, code, flushed)
    return Answer("ignored", came, None, flushed)


def _judge_close(found: Findings) -> None:
    """Tell a CloseStream that is taken from one that is closed upon as any unknown message is."""
    close = found.answers.get("CloseStream")
    if close is None or close.kind != "close" or close.code not in _CLOSES:
        return
    other = found.answers.get("WyomingFluxProbe")
    same = other is not None and other.kind == "close" and other.code == close.code
    if close.flushed or not same:
        found.answers["CloseStream"] = dataclasses.replace(close, kind="taken")


def _idle(found: Findings, stream: _Stream) -> None:
    waits, closed = stream.first("waits"), stream.closed
    if waits is None:
        return
    if closed is not None and (stream.said is None or closed["at"] < stream.said["at"]):
        found.idle_closed = closed["at"] - waits["at"]
        found.idle_code = closed["code"]
        found.idle_heard = False
    elif stream.said is not None:
        found.idle_heard = bool(stream.text)


def _oddities(found: Findings, opened: Sequence[_Stream]) -> None:
    def odd(what: str, streams: list[str]) -> None:
        if streams:
            found.oddities.append(f"{what} ({', '.join(dict.fromkeys(streams))})")

    plain = [one for one in opened if not one.name.startswith(("control", "idle"))]
    odd(
        "EndOfTurn without the text that was told before",
        [
            stream.name
            for stream in opened
            for end in stream.ends
            if not end.info.transcript
            and any(
                one.info.transcript and one.info.turn_index == end.info.turn_index
                for one in stream.turns
            )
        ],
    )
    odd(
        "EndOfTurn told twice",
        [
            one.name
            for one in opened
            if len({end.info.turn_index for end in one.ends}) < len(one.ends)
        ],
    )
    odd(
        "frames that are no JSON object",
        [one.name for one in opened if any(_json(frame) is None for frame in one.frames)],
    )
    odd("an Error", [one.name for one in plain if "Error" in _kinds(one.frames)])
    odd(
        "closed in the middle",
        [f"{one.name}: {one.closed['code']}" for one in plain if one.closed is not None],
    )
    odd(
        "audio was not taken in time",
        [one.name for one in opened if any(r["event"] == "overdue" for r in one.records)],
    )
    odd(
        "nothing was heard of the sentence",
        [one.name for one in plain if one.said is not None and not one.text],
    )
    odd(
        "the turn did not end",
        [one.name for one in plain if one.said is not None and one.text and one.end_ms is None],
    )


def _json(frame: Record) -> dict[str, Any] | None:
    try:
        message = json.loads(frame["data"])
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _kind(frame: Record) -> str:
    message = _json(frame)
    return "?" if message is None else str(message.get("event") or message.get("type") or "?")


def _kinds(frames: Iterable[Record]) -> set[str]:
    return {_kind(one) for one in frames}
