"""What the machine decides, and the transcriber carries out."""

from dataclasses import dataclass
from enum import Enum, auto

from wyoming_flux.errors import EndpointError, WyomingFluxError

from .outcome import Trigger


class Fact(Enum):
    """What an utterance learnt of an endpoint."""

    WORKS = auto()
    """It answered with a message of Flux."""
    DOWN = auto()
    """It could not be used."""
    CONTROL_FAILS = auto()
    """A control message did not do what was proven of it."""
    NO_WINDOWS = auto()
    """Its window ends cannot be used."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection to an endpoint; ``attempt`` is its number from now on."""

    attempt: int
    endpoint: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection of an attempt, or stop trying; ``prove``: this control first."""

    attempt: int
    prove: str | None = None
    sent: float = 0.0
    """Seconds of audio that were sent on it."""


@dataclass(frozen=True, slots=True)
class Partial:
    """Words to append to those that were shown."""

    text: str


@dataclass(frozen=True, slots=True)
class Learnt:
    """Something to remember of an endpoint."""

    endpoint: int
    fact: Fact
    control: str | None = None
    """Of which control message."""
    error: EndpointError | None = None
    """Why it could not be used."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The one outcome: a text, or an error where there is none, or both where it is incomplete."""

    text: str
    trigger: Trigger
    missing: float
    endpoint: int | None
    """Which one gave it."""
    faults: tuple[tuple[int, WyomingFluxError], ...]
    """What went wrong before, with the endpoint."""
    error: WyomingFluxError | None = None


Event = Connect | Drop | Partial | Learnt | Answer
