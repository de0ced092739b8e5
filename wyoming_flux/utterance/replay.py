"""Runs a record through a machine once more: as it was, or with other settings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from wyoming_flux.settings import FluxSettings, UtteranceSettings

from .events import Answer
from .machine import Machine
from .record import InvalidRecord, Record, give, output


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a machine decided otherwise than the record says; None: nothing."""

    recorded: Mapping[str, Any] | None
    replayed: Mapping[str, Any] | None


def play(
    record: Record,
    *,
    utterance: UtteranceSettings | None = None,
    flux: FluxSettings | None = None,
) -> Iterator[tuple[Mapping[str, Any], object]]:
    """Yield each decision as it would be recorded, with the event (None: a state).

    Raises :class:`InvalidRecord` for inputs that no utterance can have had.
    """
    machine = Machine(utterance or record.utterance, flux or record.flux, record.endpoints, 0.0)
    state = machine.state
    at = 0.0
    for event in machine.events():
        yield {"t": at, **output(event)}, event
    for line in record.inputs:
        at = line["t"]
        try:
            give(machine, line)
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
            raise InvalidRecord(f"what came in at {at} s cannot have come: {error!r}") from None
        if machine.state is not state:
            state = machine.state
            yield {"t": at, "out": "state", "state": state.name}, None
        for event in machine.events():
            yield {"t": at, **output(event)}, event


def differences(record: Record) -> list[Difference]:
    """Return where a machine of today decides otherwise over the same inputs."""
    replayed = [line for line, _ in play(record)]
    both = zip_longest(record.outputs, replayed)
    return [
        Difference(old, new)
        for old, new in both
        if old is None or new is None or _canon(old) != _canon(new)
    ]


def _canon(value: Any) -> Any:
    """Return a value as it would be read from JSON."""
    if isinstance(value, Mapping):
        return {str(name): _canon(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_canon(one) for one in value]
    return str(value) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a run came to: the answer and when, or None where the record ends before."""

    answer: Answer | None
    at: float


def outcome(
    record: Record,
    *,
    utterance: UtteranceSettings | None = None,
    flux: FluxSettings | None = None,
) -> Replayed:
    """Return the answer of a machine with other settings over the same inputs."""
    at = 0.0
    for line, event in play(record, utterance=utterance, flux=flux):
        at = line["t"]
        if isinstance(event, Answer):
            return Replayed(event, at)
    return Replayed(None, at)
