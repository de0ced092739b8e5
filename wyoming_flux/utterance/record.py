"""One utterance as JSON lines: each input and each decision of the machine, enough to replay it.

In the spirit of qlog (one event a line, times relative to the first, a version in the header). The
format is ``docs/records.md``; it is made here and nowhere else. The machine's clock begins at 0 and
goes in steps of 0.1 ms, so that a time that was read from a file is the time that was decided on.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, cast

from wyoming_flux import errors
from wyoming_flux.errors import EndpointError, WyomingFluxError
from wyoming_flux.flux import messages
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import Message, TurnEvent
from wyoming_flux.settings import FluxSettings, UtteranceSettings

from .events import Event
from .machine import Machine, State
from .outcome import Trigger

VERSION: Final = 1
"""Of the format; it changes when a reader of the old one would go wrong."""
_DIGITS: Final = 4
_MOST_BYTES: Final = 256 * 1024
_MOST_LINES: Final = 4096
"""Bytes of audio, and lines, that are collected before they are handed on."""
_LONGEST_FEED: Final = 64 * 1024 * 1024

T = TypeVar("T")


class InvalidRecord(WyomingFluxError, ValueError):
    """A file is no record, or one of another version; the text says which line is wrong."""

    code = "invalid-record"


class Sink(Protocol):
    """Where a recorder puts what it collected; must return at once and never raise."""

    def write(self, lines: str, pcm: bytes) -> bool:
        """Take the next of both; False: no more is wanted."""

    def finish(self) -> None:
        """Take note that the record is complete."""


class Recorder:
    """The machine's face, and a note of all that goes in and comes out."""

    def __init__(
        self,
        settings: UtteranceSettings,
        flux: FluxSettings,
        endpoints: Sequence[str],
        now: float,
        *,
        sink: Sink,
        about: Mapping[str, Any],
    ) -> None:
        """Begin a machine and its record; *about* is added to the header."""
        self._sink: Sink | None = sink
        self._began = now
        self._now = 0.0
        self._lines: list[str] = []
        self._pcm = bytearray()
        self._machine = Machine(settings, flux, endpoints, 0.0)
        self._state = self._machine.state
        self._note(
            {
                "record": VERSION,
                **about,
                "endpoints": list(endpoints),
                "utterance": _plain(settings),
                "flux": _plain(flux),
            }
        )

    # --- the machine's face ------------------------------------------------------------------

    @property
    def answered(self) -> bool:
        """See :attr:`Machine.answered`."""
        return self._machine.answered

    @property
    def room(self) -> bool:
        """See :attr:`Machine.room`."""
        return self._machine.room

    @property
    def deadline(self) -> float | None:
        """See :attr:`Machine.deadline`."""
        due = self._machine.deadline
        return None if due is None else self._began + due

    @property
    def decided(self) -> bool:
        """As :attr:`Machine.decided`."""
        return self._machine.decided

    def events(self) -> list[Event]:
        """See :meth:`Machine.events`."""
        events = self._machine.events()
        for event in events:
            self._note({"t": self._now, **output(event)})
        return events

    def feed(self, pcm: bytes, now: float) -> None:
        """See :meth:`Machine.feed`."""
        at = self._time(now)
        machine = self._machine
        if machine.state is not State.ANSWERED:
            self._pcm += pcm
            self._lines.append(f'{{"t":{at},"in":"feed","bytes":{len(pcm)}}}')
            if len(self._pcm) >= _MOST_BYTES or len(self._lines) >= _MOST_LINES:
                self._hand_on()
        machine.feed(pcm, at)
        if machine.state is not self._state:
            self._after()

    def end(self, now: float) -> None:
        """See :meth:`Machine.end`."""
        at = self._input(now, "end")
        self._machine.end(at)
        self._after()

    def limit(self, seconds: float, trigger: Trigger, now: float) -> None:
        """See :meth:`Machine.limit`."""
        at = self._input(now, "limit", seconds=seconds, trigger=trigger)
        self._machine.limit(seconds, trigger, at)
        self._after()

    def opened(self, attempt: int, facts: Facts, now: float) -> None:
        """See :meth:`Machine.opened`."""
        at = self._input(now, "opened", attempt=attempt, facts=_plain(facts))
        self._machine.opened(attempt, facts, at)
        self._after()

    def failed(self, attempt: int, error: EndpointError, now: float) -> None:
        """See :meth:`Machine.failed`."""
        at = self._input(now, "failed", attempt=attempt, error=_error(error))
        self._machine.failed(attempt, error, at)
        self._after()

    def lost(self, attempt: int, error: EndpointError, now: float) -> None:
        """See :meth:`Machine.lost`."""
        at = self._input(now, "lost", attempt=attempt, error=_error(error))
        self._machine.lost(attempt, error, at)
        self._after()

    def receive(self, attempt: int, message: Message, now: float) -> None:
        """See :meth:`Machine.receive`."""
        said = {"type": type(message).__name__, **_plain(message)}
        at = self._input(now, "receive", attempt=attempt, message=said)
        self._machine.receive(attempt, message, at)
        self._after()

    def tick(self, now: float) -> None:
        """See :meth:`Machine.tick`."""
        at = self._time(now)
        if not self._machine.answered:
            self._lines.append(f'{{"t":{at},"in":"tick"}}')
        self._machine.tick(at)
        self._after()

    def next_to_send(self, attempt: int, now: float) -> bytes | str | None:
        """See :meth:`Machine.next_to_send`; asked in vain, it is noted for the time it moves."""
        before, at = self._now, self._time(now)
        machine = self._machine
        data = machine.next_to_send(attempt, at)
        if data is None:
            if at != before and machine.state is not State.ANSWERED:
                self._lines.append(f'{{"t":{at},"in":"next","attempt":{attempt}}}')
        elif isinstance(data, str):
            self._note({"t": at, "in": "next", "attempt": attempt, "control": data})
        else:
            size = len(data)
            self._lines.append(f'{{"t":{at},"in":"next","attempt":{attempt},"bytes":{size}}}')
        if machine.state is not self._state:
            self._after()
        return data

    def close(self, now: float) -> None:
        """End the record: nobody will ask the machine again; idempotent."""
        if self._sink is None:
            return
        at = self._time(now)
        self._note({"t": at, "in": "close"})
        self._machine.close(at)
        self._hand_on()
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.finish()

    # --- notes -------------------------------------------------------------------------------

    def _time(self, now: float) -> float:
        # Once for each frame: a call of max() would cost as much as all the rest.
        at = round(now - self._began, _DIGITS)
        if at > self._now:
            self._now = at
        return self._now

    def _input(self, now: float, name: str, **more: Any) -> float:
        at = self._time(now)
        if not self._machine.answered:
            self._note({"t": at, "in": name, **more})
        return at

    def _after(self) -> None:
        state = self._machine.state
        if state is not self._state:
            self._state = state
            self._note({"t": self._now, "out": "state", "state": state.name})

    def _note(self, fields: Mapping[str, Any]) -> None:
        self._lines.append(json.dumps(fields, ensure_ascii=False, separators=(",", ":")))

    def _hand_on(self) -> None:
        lines, pcm = self._lines, bytes(self._pcm)
        self._lines = []
        self._pcm.clear()
        if self._sink is not None and not self._sink.write("\n".join((*lines, "")), pcm):
            self._sink = None


@dataclass(frozen=True, slots=True)
class Record:
    """A record that was read."""

    header: Mapping[str, Any]
    utterance: UtteranceSettings
    flux: FluxSettings
    endpoints: tuple[str, ...]
    lines: tuple[Mapping[str, Any], ...]
    """All that follows the header, in order."""

    @property
    def inputs(self) -> Iterator[Mapping[str, Any]]:
        """What went into the machine."""
        return (line for line in self.lines if "in" in line)

    @property
    def outputs(self) -> Iterator[Mapping[str, Any]]:
        """What it decided."""
        return (line for line in self.lines if "out" in line)


def read(text: str) -> Record:
    """Read a record. Raises :class:`InvalidRecord`."""
    number = 0
    lines: list[Mapping[str, Any]] = []
    try:
        for written in text.splitlines():
            number += 1
            lines.append(_object(json.loads(written)))
        if not lines or lines[0].get("record") is None:
            raise InvalidRecord("this is no record of an utterance")
        header = lines[0]
        if header["record"] != VERSION:
            raise InvalidRecord(
                f"the record is of version {header['record']!r}; this program reads {VERSION}"
            )
        number = 1
        utterance = _made(UtteranceSettings, header["utterance"])
        flux = _made(FluxSettings, header["flux"])
        names = tuple(str(name) for name in header["endpoints"])
        for line in lines[1:]:
            number += 1
            _check(line)
        return Record(header, utterance, flux, names, tuple(lines[1:]))
    except InvalidRecord:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidRecord(f"line {number} is not one of a record: {error}") from None


def give(machine: Machine, line: Mapping[str, Any]) -> None:
    """Give a recorded input to a machine; audio is silence of the same length."""
    at: float = line["t"]
    match line["in"]:
        case "feed":
            machine.feed(bytes(line["bytes"]), at)
        case "end":
            machine.end(at)
        case "limit":
            machine.limit(line["seconds"], Trigger(line["trigger"]), at)
        case "opened":
            machine.opened(line["attempt"], _made(Facts, line["facts"]), at)
        case "failed":
            machine.failed(line["attempt"], read_error(line["error"]), at)
        case "lost":
            machine.lost(line["attempt"], read_error(line["error"]), at)
        case "receive":
            machine.receive(line["attempt"], read_message(line["message"]), at)
        case "tick":
            machine.tick(at)
        case "next":
            machine.next_to_send(line["attempt"], at)
        case _:
            pass


def output(event: Event) -> dict[str, Any]:
    """Return a decision as it stands in a record, without its time."""
    fields = {one.name: getattr(event, one.name) for one in dataclasses.fields(event)}
    for name, value in fields.items():
        if isinstance(value, WyomingFluxError):
            fields[name] = _error(value)
        elif name == "faults":
            fields[name] = [[endpoint, _error(error)] for endpoint, error in value]
        elif name == "fact":
            fields[name] = value.name
    return {"out": type(event).__name__.lower(), **fields}


def read_error(fields: Mapping[str, Any]) -> EndpointError:
    """Return a recorded error. Raises :class:`InvalidRecord`."""
    kind = getattr(errors, str(fields["kind"]), None)
    if not (isinstance(kind, type) and issubclass(kind, EndpointError)):
        raise InvalidRecord(f"{fields['kind']!r} is no error of an endpoint")
    more = {name: value for name, value in fields.items() if name not in ("kind", "text")}
    return kind(fields["text"], **more)


def read_message(fields: Mapping[str, Any]) -> Message:
    """Return a recorded message of Flux. Raises ValueError."""
    kind = _MESSAGES.get(str(fields["type"]))
    if kind is None:
        raise ValueError(f"{fields['type']!r} is no message")
    rest = {name: value for name, value in fields.items() if name != "type"}
    if fields["type"] == "Other":
        rest["type"] = fields.get("said", "")
    if kind is messages.TurnInfo:
        rest = {"audio_window_end": None, **rest, "event": TurnEvent(rest["event"])}
    return _made(kind, rest)


_MESSAGES: Final[Mapping[str, Callable[..., Message]]] = {
    kind.__name__: kind
    for kind in (
        messages.Connected,
        messages.TurnInfo,
        messages.FluxWarning,
        messages.FluxFault,
        messages.Other,
        messages.Garbage,
    )
}


def _check(line: Mapping[str, Any]) -> None:
    """Raise what :func:`read` expects for a line that :func:`give` could not take."""
    if not isinstance(line["t"], int | float) or ("in" in line) == ("out" in line):
        raise ValueError("a time, and `in` or `out`, are needed")
    match line.get("in"):
        case "receive":
            read_message(line["message"])
        case "failed" | "lost":
            read_error(line["error"])
        case "opened":
            _made(Facts, line["facts"])
        case "feed" if not 0 <= line["bytes"] <= _LONGEST_FEED:
            raise ValueError("so much audio cannot have come at once")
        case _:
            pass


def _error(error: WyomingFluxError) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": type(error).__name__, "text": str(error)}
    for name in ("status", "upstream_code", "close_code", "parameters"):
        if value := getattr(error, name, None):
            fields[name] = value
    return fields


def _plain(one: Any) -> dict[str, Any]:
    """Return the fields of a dataclass without those that say nothing."""
    fields = {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
    if isinstance(one, messages.Other):
        return {"said": one.type}
    return {name: value for name, value in fields.items() if value is not None}


def _made(kind: Callable[..., T], fields: Any) -> T:
    known = {field.name for field in dataclasses.fields(cast("Any", kind))}
    given = {name: value for name, value in _object(fields).items() if name in known}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("an object is needed")
    return value
