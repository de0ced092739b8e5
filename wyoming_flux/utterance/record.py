"""One utterance as JSON lines: each input and each decision of the machine, enough to replay it.

In the spirit of qlog (one event a line, times relative to the first, a version in the header). The
format is ``docs/records.md``; it is made here and nowhere else. The machine's clock begins at 0 and
goes in steps of 0.1 ms, so that a time that was read from a file is the time that was decided on.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar

from wyoming_flux import errors
from wyoming_flux.errors import EndpointError, WyomingFluxError
from wyoming_flux.flux import messages
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import Message, TurnEvent
from wyoming_flux.settings import FluxSettings, UtteranceSettings

from .events import Event
from .machine import Machine
from .outcome import Trigger

VERSION: Final = 2
"""Of the format; it changes when a reader of the old one would go wrong."""
_LONGEST_FEED: Final = 64 * 1024 * 1024

T = TypeVar("T")


class InvalidRecord(WyomingFluxError, ValueError):
    """A file is no record, or one of another version; the text says which line is wrong."""

    code = "invalid-record"


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
        # Not splitlines(): to that more ends a line than JSON escapes.
        for written in text.removesuffix("\n").split("\n"):
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
        each: list[Mapping[str, Any]] = []
        for line in lines[1:]:
            number += 1
            each += _each(line)
        return Record(header, utterance, flux, names, tuple(each))
    except InvalidRecord:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidRecord(f"line {number} is not one of a record: {error}") from None


def give(machine: Machine, line: Mapping[str, Any]) -> bytes | str | None:
    """Give a recorded input to a machine, audio as silence; return what it sends, if it does."""
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
            machine.failed(line["attempt"], readerror_fields(line["error"]), at)
        case "lost":
            machine.lost(line["attempt"], readerror_fields(line["error"]), at)
        case "receive":
            machine.receive(line["attempt"], read_message(line["message"]), at)
        case "tick":
            machine.tick(at)
        case "next":
            return machine.next_to_send(line["attempt"], at)
        case _:
            pass
    return None


def output(event: Event) -> dict[str, Any]:
    """Return a decision as it stands in a record, without its time."""
    fields = {name: getattr(event, name) for name in names_of(type(event))}
    for name, value in fields.items():
        if isinstance(value, WyomingFluxError):
            fields[name] = error_fields(value)
        elif name == "faults":
            fields[name] = [[endpoint, error_fields(error)] for endpoint, error in value]
        elif name == "fact":
            fields[name] = value.name
    return {"out": type(event).__name__.lower(), **fields}


def readerror_fields(fields: Mapping[str, Any]) -> EndpointError:
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


def _each(line: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the inputs that stand in one line: audio, and the frames that went out with it."""
    if line.get("in") != "feed":
        _check(line)
        yield line
        return
    for at, size, sent in zip(line["t"], line["bytes"], line["sent"], strict=True):
        feed = {"t": at, "in": "feed", "bytes": size}
        _check(feed)
        yield feed
        if not 0 <= sent <= _LONGEST_FEED // size:
            raise ValueError("so much cannot have been sent at once")
        yield from ({"t": at, "in": "next", "attempt": line["attempt"]} for _ in range(sent))


def _check(line: Mapping[str, Any]) -> None:
    """Raise what :func:`read` expects for a line that :func:`give` could not take."""
    if not isinstance(line["t"], int | float) or ("in" in line) == ("out" in line):
        raise ValueError("a time, and `in` or `out`, are needed")
    match line.get("in"):
        case "receive":
            read_message(line["message"])
        case "failed" | "lost":
            readerror_fields(line["error"])
        case "opened":
            _made(Facts, line["facts"])
        case "feed" if not 0 <= line["bytes"] <= _LONGEST_FEED:
            raise ValueError("so much audio cannot have come at once")
        case _:
            pass


def error_fields(error: WyomingFluxError) -> dict[str, Any]:
    """Return an error as it stands in a record."""
    fields: dict[str, Any] = {"kind": type(error).__name__, "text": str(error)}
    for name in ("status", "upstream_code", "close_code", "parameters"):
        if value := getattr(error, name, None):
            fields[name] = value
    return fields


def plain(one: Any) -> dict[str, Any]:
    """Return the fields of a dataclass without those that say nothing."""
    fields = ((name, getattr(one, name)) for name in names_of(type(one)))
    return {name: value for name, value in fields if value is not None}


names_of: Final[Callable[[Any], tuple[str, ...]]] = cache(
    lambda kind: tuple(field.name for field in dataclasses.fields(kind))
)
"""Returns the names of the fields of a dataclass."""


def _made(kind: Callable[..., T], fields: Any) -> T:
    known = names_of(kind)
    given = {name: value for name, value in _object(fields).items() if name in known}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("an object is needed")
    return value
