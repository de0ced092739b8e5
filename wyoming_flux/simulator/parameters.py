"""What a stream was asked for: strict reading of query parameters and of the binding's inputs.

A value that Flux would refuse raises :class:`InvalidParameter`; :mod:`.upgrade` gives it the
shape of the profile. Source: protocol reference, sections 1 and 1.1.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .faults import Refuse
from .profiles import Profile

SAMPLE_RATES: Final = (8000, 16000, 24000, 44100, 48000)
LANGUAGES: Final = ("en", "es", "fr", "de", "hi", "ru", "pt", "ja", "it", "nl")
MULTILINGUAL: Final = "flux-general-multi"
MAX_KEYTERMS: Final = 100
MAX_KEYTERM_CHARACTERS: Final = 100
MAX_TAG_CHARACTERS: Final = 128
EAGER_RANGE: Final = (0.3, 0.9)
EOT_LOWEST: Final = 0.5
TIMEOUT_RANGE: Final = (500, 60_000)

_WORKERS_AI_NAMES: Final = frozenset(
    "encoding sample_rate eot_threshold eager_eot_threshold eot_timeout_ms keyterm mip_opt_out"
    " tag".split()
)
_DEEPGRAM_NAMES: Final = _WORKERS_AI_NAMES | {
    "model",
    "language_hint",
    "numerals",
    "profanity_filter",
    "redact",
}
_REPEATABLE: Final = frozenset(("keyterm", "language_hint", "tag", "redact"))


class InvalidParameter(ValueError):
    """Flux would refuse this; the message is its sentence, ``name`` the parameter."""

    def __init__(self, name: str, message: str) -> None:
        """Remember the parameter."""
        super().__init__(message)
        self.name = name


class WrongInputType(InvalidParameter):
    """The binding's inputs hold something other than strings (AiError 5030)."""


class UnknownModel(InvalidParameter):
    """No access to this model (403 at Deepgram)."""


class NotTaken(InvalidParameter):
    """The profile says that this parameter is refused, and how."""

    def __init__(self, name: str, refusal: Refuse) -> None:
        """Remember the refusal."""
        super().__init__(name, refusal.message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamParameters:
    """What is in force on one connection; ``Configure`` replaces it."""

    sample_rate: int
    model: str = "flux-general-en"
    eot_threshold: float = 0.7
    eager_eot_threshold: float | None = None
    eot_timeout_ms: int = 5000
    keyterms: tuple[str, ...] = ()
    language_hints: tuple[str, ...] = ()
    numerals: bool = False
    profanity_filter: bool = False
    redact: tuple[str, ...] = ()
    mip_opt_out: bool = False
    tags: tuple[str, ...] = ()


def from_query(query: Sequence[tuple[str, str]], profile: Profile) -> StreamParameters:
    """Read the query of an upgrade, in its order; raises :class:`InvalidParameter`."""
    known = _DEEPGRAM_NAMES if profile.models else _WORKERS_AI_NAMES
    values: dict[str, list[str]] = {}
    for name, value in query:
        if name in profile.refused:
            raise NotTaken(name, profile.refused[name])
        if name not in known:
            raise InvalidParameter(
                name, f"unknown field `{name}`, expected one of {_quoted(known)}"
            )
        if name in values and name not in _REPEATABLE:
            raise InvalidParameter(name, f"duplicate field `{name}`")
        values.setdefault(name, []).append(value)
    parameters = _parameters(values, profile)
    if set(profile.ignored) & set(values):
        kept = {name: several for name, several in values.items() if name not in profile.ignored}
        parameters = _parameters(kept, profile)
    return parameters


def from_inputs(inputs: object, profile: Profile) -> StreamParameters:
    """Read the ``inputs`` of ``env.AI.run``; raises :class:`InvalidParameter`.

    Every value must be a string; ``keyterm`` may be an array of strings.
    """
    if not isinstance(inputs, Mapping):
        raise WrongInputType("inputs", "inputs must be an object")
    query: list[tuple[str, str]] = []
    for name, value in inputs.items():
        several = value if isinstance(value, list) and name == "keyterm" else [value]
        for one in several:
            if not isinstance(one, str):
                raise WrongInputType(str(name), f"{name} must be a string")
            query.append((str(name), one))
    return from_query(query, profile)


def check(parameters: StreamParameters, profile: Profile) -> None:
    """Raise :class:`InvalidParameter` where a value is out of its range, or does not fit others."""
    eot, eager = parameters.eot_threshold, parameters.eager_eot_threshold
    if not EOT_LOWEST <= eot <= profile.eot_threshold_limit:
        raise InvalidParameter(
            "eot_threshold",
            f"eot_threshold must be between 0.5 and {profile.eot_threshold_limit:g}",
        )
    if not TIMEOUT_RANGE[0] <= parameters.eot_timeout_ms <= TIMEOUT_RANGE[1]:
        raise InvalidParameter("eot_timeout_ms", "eot_timeout_ms must be between 500 and 60000")
    if eager is not None and not EAGER_RANGE[0] <= eager <= EAGER_RANGE[1]:
        raise InvalidParameter(
            "eager_eot_threshold", "eager_eot_threshold must be between 0.3 and 0.9"
        )
    if eager is not None and eager > eot:
        raise InvalidParameter(
            "eager_eot_threshold", "eager_eot_threshold must be less than or equal to eot_threshold"
        )
    _check_keyterms(parameters.keyterms)
    for hint in parameters.language_hints:
        if parameters.model != MULTILINGUAL:
            raise InvalidParameter(
                "language_hint", f"language_hint is not supported for model {parameters.model}"
            )
        if hint.split("-")[0].lower() not in LANGUAGES:
            raise InvalidParameter("language_hint", f"language_hint {hint!r} is not supported")
    if any(len(tag) > MAX_TAG_CHARACTERS for tag in parameters.tags):
        raise InvalidParameter("tag", f"tag must have at most {MAX_TAG_CHARACTERS} characters")
    if not set(parameters.redact) <= {"numbers", "aggressive_numbers"}:
        raise InvalidParameter("redact", "redact must be numbers or aggressive_numbers")


def _check_keyterms(keyterms: Sequence[str]) -> None:
    if len(keyterms) > MAX_KEYTERMS:
        raise InvalidParameter("keyterm", f"at most {MAX_KEYTERMS} keyterms are allowed")
    for term in keyterms:
        if not term.strip():
            raise InvalidParameter("keyterm", "keyterm must not be blank")
        if len(term) > MAX_KEYTERM_CHARACTERS:
            raise InvalidParameter(
                "keyterm", f"keyterm must have at most {MAX_KEYTERM_CHARACTERS} characters"
            )


def _parameters(values: Mapping[str, list[str]], profile: Profile) -> StreamParameters:
    model = values.get("model", [None])[0]
    if profile.models and model is None:
        raise InvalidParameter("model", "missing field `model`")
    if model is not None and model not in profile.models:
        raise UnknownModel("model", "Project does not have access to the requested model.")
    if values.get("encoding") != ["linear16"]:
        raise InvalidParameter("encoding", "encoding must be linear16")
    if "sample_rate" not in values:
        raise InvalidParameter("sample_rate", "missing field `sample_rate`")
    optional: dict[str, Any] = {
        "eot_threshold": profile.eot_threshold,
        "eot_timeout_ms": profile.eot_timeout_ms,
    }
    if model is not None:
        optional["model"] = model
    for name, read in _READERS.items():
        if name in values:
            optional[name] = read(name, values[name][0])
    parameters = StreamParameters(
        keyterms=tuple(values.get("keyterm", ())),
        language_hints=tuple(values.get("language_hint", ())),
        redact=tuple(values.get("redact", ())),
        tags=tuple(values.get("tag", ())),
        **optional,
    )
    check(parameters, profile)
    return parameters


def _digits(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise InvalidParameter(name, f"{name}: invalid digit found in string")
    return int(value)


def _sample_rate(name: str, value: str) -> int:
    if (rate := _digits(name, value)) not in SAMPLE_RATES:
        raise InvalidParameter(name, f"sample_rate must be one of {_quoted(SAMPLE_RATES)}")
    return rate


def _decimal(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    # Python also reads "1_0", " 1 " and "inf"; Flux does not.
    if not math.isfinite(number) or not set(value) <= set("0123456789.+-eE"):
        raise InvalidParameter(name, f"{name}: invalid float literal")
    return number


def _boolean(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise InvalidParameter(name, f"{name}: provided string was not `true` or `false`")
    return value == "true"


_READERS: Final = {
    "sample_rate": _sample_rate,
    "eot_threshold": _decimal,
    "eager_eot_threshold": _decimal,
    "eot_timeout_ms": _digits,
    "numerals": _boolean,
    "profanity_filter": _boolean,
    "mip_opt_out": _boolean,
}


def _quoted(names: Iterable[object]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names, key=str))
