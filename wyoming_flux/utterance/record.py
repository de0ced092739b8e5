"""One utterance as JSON lines: each input and each decision of the machine, enough to replay it.

In the spirit of qlog (one event a line, times relative to the first, a version in the header). The
format is ``docs/records.md``; it is made here and nowhere else. The machine's clock begins at 0 and
goes in steps of 0.1 ms, so that a time that was read from a file is the time that was decided on.
"""

import dataclasses
import itertools
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

VERSION: Final = 3
"""Of the format; it changes when a reader of the old one would go wrong."""
STEPS: Final = 10_000
"""Steps of the record's clock in a second."""
_LONGEST_FEED: Final = 64 * 1024 * 1024
_MOST_SENT: Final = 100_000
"""What is taken for possible: bytes that came at once, frames that went out at once."""

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
            raise InvalidRecord(_other_version(header))
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
            machine.failed(line["attempt"], read_error(line["error"]), at)
        case "lost":
            machine.lost(line["attempt"], read_error(line["error"]), at)
        case "receive":
            machine.receive(line["attempt"], read_message(line["message"]), at)
        case "tick":
            machine.tick(at)
        case "next":
            return machine.next_to_send(line["attempt"])
        case _:
            pass
    return None


def output(event: Event) -> dict[str, Any]:
    """Return a decision as it stands in a record, without its time."""
    kind = type(event)
    fields: dict[str, Any] = {"out": kind.__name__.lower()}
    for name in names_of(kind):
        value = getattr(event, name)
        if name == "fact":
            value = value.name
        elif name == "faults":
            value = [[endpoint, error_fields(error)] for endpoint, error in value]
        elif name == "error" and value is not None:
            value = error_fields(value)
        fields[name] = value
    return fields


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


def message_fields(message: Message) -> dict[str, Any]:
    """Return a message of Flux as it stands in a record."""
    kind = type(message)
    fields: dict[str, Any] = {"type": kind.__name__}
    for name in names_of(kind):
        if (value := getattr(message, name)) is not None:
            fields["said" if name == "type" else name] = value
    return fields


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


def _other_version(header: Mapping[str, Any]) -> str:
    writer = header.get("version", "of another version")
    return (
        f"the record has version {header['record']!r} of the format, and this program reads"
        f" {VERSION}: use the wyoming-flux {writer} that wrote it, or record once more"
    )


def _each(line: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the inputs that stand in one line: audio, ticks, and each frame that was sent."""
    match line.get("in"):
        case "feed":
            sent = itertools.pairwise(line["frames"])
            columns = zip(line["steps"], line["bytes"], sent, strict=True)
            for step, size, (before, after) in columns:
                one: dict[str, Any] = {"t": step / STEPS, "in": "tick"}
                if size is not None:
                    one |= {"in": "feed", "bytes": size}
                _check(one)
                yield one
                yield from _sent(one["t"], line["attempt"], after - before)
        case "next":
            yield from _sent(line["t"], line["attempt"], line["frames"])
        case _:
            _check(line)
            yield line


def _sent(at: float, attempt: int, frames: int) -> Iterator[Mapping[str, Any]]:
    if not 0 <= frames <= _MOST_SENT:
        raise ValueError("so much cannot have been sent at once")
    yield from itertools.repeat({"t": at, "in": "next", "attempt": attempt}, frames)


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


def error_fields(error: WyomingFluxError) -> dict[str, Any]:
    """Return an error as it stands in a record."""
    fields: dict[str, Any] = {"kind": type(error).__name__, "text": str(error)}
    for name in ("status", "upstream_code", "close_code", "parameters"):
        if value := getattr(error, name, None):
            fields[name] = value
    return fields


def plain(one: Any) -> dict[str, Any]:
    """Return the fields of a dataclass without those that say nothing."""
    names = names_of(type(one))
    return {name: value for name in names if (value := getattr(one, name)) is not None}


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
