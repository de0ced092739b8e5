"""What one deployment of Flux is like: Deepgram's own, the build that Cloudflare hosts, or a file.

A profile file is JSON. It names the profile that it starts from, and what is different there; its
names are the fields of :class:`Profile`, for example::

    {
      "base": "workers-ai",
      "controls": ["CloseStream"],
      "unknown_control": "close",
      "flush": false,
      "close_code": 1006,
      "refused": {"eot_timeout_ms": {"status": 200, "body": "{}"}},
      "window_lag": 0.4
    }

A value of ``refused`` takes what the fault ``refuse`` takes: status, code, message, location, body.
Source of the two: protocol reference, sections 1.1, 2, 4 and 9.1.
"""

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from .faults import Refuse

ProfileName = Literal["workers-ai", "deepgram"]
Control = Literal["CloseStream", "ForceEndTurn", "Configure"]

NO_CODE: Final = 1005
"""A close frame without a code; what Flux sends after ``CloseStream``."""
ABORTED: Final = 1006
"""TCP closed without a close frame; never sent, only seen."""
_LARGEST: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one deployment of Flux knows, how it answers, and how it ends."""

    base: ProfileName
    """Whose paths, tokens, models and shapes of refusals it has."""
    controls: tuple[Control, ...]
    """Types of text messages that it takes."""
    unknown_control: Literal["error", "close", "ignore"] = "error"
    """What any other brings: ``Error`` and a close without a code, a close with 1011, nothing."""
    flush: bool = True
    """Whether what was sent before ``CloseStream`` is still decoded and told."""
    close_code: int = NO_CODE
    """How it closes after ``CloseStream``; 1006: TCP alone."""
    typed: bool = True
    """Whether messages have ``type``."""
    binary: bool = False
    """Whether messages come as binary frames."""
    trigger: bool
    """Whether ``EndOfTurn`` says what ended the turn."""
    word_times: bool
    """Whether words carry ``start`` and ``end``."""
    windows: Literal["true", "creeping", "missing"] = "true"
    """Ends of audio windows: as they are, at a twentieth of their speed, or absent."""
    window_lag: float = 0.0
    """Seconds by which they are behind what was heard."""
    end_of_turn_ms: int = 320
    """Silence after which a text that sounds complete ends the turn."""
    eot_threshold: float = 0.7
    """Where the request has none."""
    eot_timeout_ms: int = 5000
    """Where the request has none."""
    eot_threshold_limit: float
    """Largest ``eot_threshold``."""
    ignored: tuple[str, ...] = ()
    """Parameters that are taken and have no effect."""
    refused: Mapping[str, Refuse] = field(default_factory=dict)
    """Parameters that are not taken, and how a request with one of them is answered."""
    upgrade_delay: float = 0.0
    """Seconds until an upgrade is answered."""
    idle_timeout: float | None
    """Seconds without data after which the connection is dropped with TCP alone; None: never."""

    @property
    def models(self) -> tuple[str, ...]:
        """Models that may be asked for; empty: there is only one and it is not named."""
        return ("flux-general-en", "flux-general-multi") if self.base == "deepgram" else ()

    @property
    def request_id_header(self) -> str:
        """Response header with the request id."""
        return "dg-request-id" if self.base == "deepgram" else "cf-ai-req-id"


WORKERS_AI: Final = Profile(
    base="workers-ai",
    controls=("CloseStream", "Configure"),
    trigger=False,
    word_times=False,
    eot_threshold_limit=0.9,
    idle_timeout=10.0,
)
DEEPGRAM: Final = Profile(
    base="deepgram",
    controls=("CloseStream", "ForceEndTurn", "Configure"),
    trigger=True,
    word_times=True,
    eot_threshold_limit=1.0,
    idle_timeout=None,
)
PROFILES: Final[Mapping[str, Profile]] = {one.base: one for one in (WORKERS_AI, DEEPGRAM)}


def load(path: Path) -> Profile:
    """Read a profile file; raises OSError, or ValueError with one sentence."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def parse(text: str) -> Profile:
    """Read the text of a profile file; raises ValueError with one sentence."""
    table = json.loads(text)
    if not isinstance(table, dict):
        raise ValueError("a profile must be an object")  # noqa: TRY004 - the file's value is wrong
    base = table.get("base")
    if not isinstance(base, str) or base not in PROFILES:
        raise ValueError(f"base must be one of {', '.join(PROFILES)}")
    return dataclasses.replace(PROFILES[base], **_fields(Profile, table, "a profile"))


def _fields(kind: type[Any], table: Mapping[str, Any], what: str) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    hints.pop("connection", None)  # of the fault: a profile is that of each connection
    if unknown := set(table) - set(hints):
        raise ValueError(f"{what} has no {min(unknown)!r}; it has {', '.join(sorted(hints))}")
    return {name: _value(name, value, hints[name]) for name, value in table.items()}


def _value(name: str, value: Any, hint: Any) -> Any:
    """Return a JSON value as its field has it; raises ValueError."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        fits, wanted = value in options, "one of " + ", ".join(options)
    elif origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{name} must be a list")
        return tuple(_value(name, one, options[0]) for one in value)
    elif origin is Mapping:
        if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
            raise ValueError(f"{name} must be an object of objects")
        return {key: Refuse(**_fields(Refuse, one, f"{name}.{key}")) for key, one in value.items()}
    elif type(None) in options:
        return None if value is None else _value(name, value, options[0])
    elif hint in (int, float):
        kinds = (int,) if hint is int else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool) and 0 <= value <= _LARGEST
        wanted = "a whole number from 0" if hint is int else "a number from 0"
    else:
        fits, wanted = isinstance(value, hint), {bool: "true or false"}.get(hint, "a text")
    if not fits:
        raise ValueError(f"{name} must be {wanted}, not {json.dumps(value)}")
    return value
