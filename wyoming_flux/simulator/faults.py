"""What can be made to go wrong on purpose, and how a command line says it.

A fault is written ``name`` or ``name:key=value,key=value``, for example
``drop:after=1.5,code=1011`` or ``refuse:status=429,code=3036,connection=1``. Every fault takes
``connection=N``: it then strikes only the N-th connection (counted from 1, refused ones included),
so that the next succeeds. Faults in the middle of a stream strike ``after`` seconds of audio, and
where ``on`` is given, not before that has happened: ``connected``, ``start-of-turn``,
``end-of-turn``, ``force-end-turn`` or ``close-stream``. A :class:`Quirk` is how the endpoint is, on
the whole connection: it changes the profile.
"""

import dataclasses
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

Moment = Literal["connected", "start-of-turn", "end-of-turn", "force-end-turn", "close-stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong."""

    connection: int | None = None
    """Which connection, counted from 1; None: each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(Fault):
    """The upgrade is answered with an HTTP status."""

    status: int = 503
    code: str = ""
    """Error code in the profile's own body, for example ``3036`` or ``ASR_PAYMENT_REQUIRED``."""
    message: str = "refused on purpose"
    location: str = ""
    """Target of a redirect."""
    body: str | None = None
    """Instead of the profile's own body; on a command line it takes the rest of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectLate(Fault):
    """The upgrade is answered late."""

    seconds: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedLate(Fault):
    """``Connected``, and what would follow it, comes late; or only once audio has come."""

    seconds: float = 0.0
    after_audio: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Midway(Fault):
    """A fault that strikes in the middle of a stream."""

    after: float = 0.0
    """Seconds of audio consumed."""
    on: Moment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped(Midway):
    """The connection ends: 1006 without a close frame, 1005 with one that has no code."""

    code: int = 1006
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall(Midway):
    """Messages stop, though audio is taken; they are lost, not late."""

    seconds: float | None = None
    """Seconds of audio that stay without a message; None: all that follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMessage(Midway):
    """Flux reports a fatal error and closes without a code."""

    code: str = "INTERNAL_SERVER_ERROR"
    description: str | None = "An internal server error occurred."


@dataclass(frozen=True, slots=True, kw_only=True)
class Gibberish(Midway):
    """Something comes that Flux never says, once."""

    kind: Literal["text", "json", "binary", "empty"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowReader(Midway):
    """Audio is taken slower than it comes: ``rate`` times real time; 0: not at all."""

    rate: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Jitter(Fault):
    """Each message comes up to ``seconds`` late, in order; the same for the same ``seed``."""

    seconds: float = 0.3
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoiledEnd(Fault):
    """Each ``EndOfTurn`` comes empty, as seen on Workers AI; or twice; or after what follows it."""

    kind: Literal["empty", "twice", "late"] = "empty"


class Quirk(Fault):
    """How the endpoint is; :func:`changes` has the fields of the profile."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window(Quirk):
    """Ends of audio windows lag ``seconds`` behind, creep, or are missing."""

    kind: Literal["lagging", "creeping", "missing"] = "lagging"
    seconds: float = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Untyped(Quirk):
    """Messages have no ``type``, as in the schema of Workers AI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryFrames(Quirk):
    """Messages come as binary frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unflushed(Quirk):
    """``CloseStream`` closes at once: what was not told yet is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoControls(Quirk):
    """No control message is known: an ``Error``, a close with 1011, or nothing comes of them."""

    answer: Literal["error", "close", "ignore"] = "error"


KINDS: Final[dict[str, type[Fault]]] = {
    "refuse": Refuse,
    "connect-late": ConnectLate,
    "connected-late": ConnectedLate,
    "drop": Dropped,
    "stall": Stall,
    "error": ErrorMessage,
    "garbage": Gibberish,
    "slow-reader": SlowReader,
    "jitter": Jitter,
    "end": SpoiledEnd,
    "window": Window,
    "untyped": Untyped,
    "binary": BinaryFrames,
    "unflushed": Unflushed,
    "no-controls": NoControls,
}

_F = TypeVar("_F", bound=Fault)


def parse(text: str) -> Fault:
    """Read one fault as a command line writes it; raises ValueError with one sentence."""
    name, _, rest = text.partition(":")
    if name not in KINDS:
        raise ValueError(f"unknown fault {name!r}; there are {', '.join(KINDS)}")
    kind = KINDS[name]
    types = typing.get_type_hints(kind)
    values: dict[str, object] = {}
    while rest:
        key, equals, value = rest.partition("=")
        if key not in types or not equals:
            known = ", ".join(field.name for field in dataclasses.fields(kind))
            raise ValueError(f"fault {name!r} does not take {key!r}; it takes {known}")
        rest = ""
        if key != "body":
            value, _, rest = value.partition(",")
        values[key] = _value(f"{name}:{key}", value, types[key])
    return kind(**values)  # type: ignore[arg-type]  # each value was made of its field's type


def for_connection(faults: Iterable[Fault], number: int) -> tuple[Fault, ...]:
    """Return the faults that strike the connection with this number."""
    return tuple(one for one in faults if one.connection in (None, number))


def changes(faults: Iterable[Fault]) -> dict[str, Any]:
    """Return the fields of the profile that quirks set."""
    changed: dict[str, Any] = {}
    for fault in faults:
        match fault:
            case Window(kind="lagging"):
                changed["window_lag"] = fault.seconds
            case Window():
                changed["windows"] = fault.kind
            case Untyped():
                changed["typed"] = False
            case BinaryFrames():
                changed["binary"] = True
            case Unflushed():
                changed["flush"] = False
            case NoControls():
                changed.update(controls=(), unknown_control=fault.answer)
            case _:
                pass  # something that goes wrong, once or in the middle
    return changed


def first(kind: type[_F], faults: Iterable[Fault]) -> _F | None:
    """Return the first fault of a kind."""
    return next((one for one in faults if isinstance(one, kind)), None)


def _value(where: str, value: str, hint: object) -> object:
    options = typing.get_args(hint) or (hint,)
    choices = [one for option in options for one in (typing.get_args(option) or (option,))]
    named = [one for one in choices if isinstance(one, str)]
    try:
        if named:
            if value not in named:
                raise ValueError
            return value
        if bool in choices:
            return {"true": True, "false": False}[value]
        if int in choices:
            number: float = int(value)
        elif float in choices:
            number = float(value)
        else:
            return value
        if not 0 <= number < 1e9:
            raise ValueError
        return number
    except (ValueError, KeyError):
        wanted = ", ".join(named) or ("true or false" if bool in choices else "a number from 0")
        raise ValueError(f"{where} must be {wanted}, not {value!r}") from None
