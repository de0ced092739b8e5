"""All that a stream and a turn need, validated once: the one place with names, ranges and defaults.

Ranges are Deepgram's (``/v2/listen`` reference, 2026-08-28); Cloudflare documents a narrower
``eot_threshold`` (0.5 to 0.9), which its endpoint checks itself.
"""

import dataclasses
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, get_args

from .errors import InvalidSetting

Sensitivity = Literal["relaxed", "default", "aggressive"]
AnswerOn = Literal["end-of-turn", "audio-stop"]
Model = Literal["flux-general-en", "flux-general-multi"]

ENCODING: Final = "linear16"
SAMPLE_RATES: Final = (8000, 16000, 24000, 44100, 48000)
DEFAULT_SAMPLE_RATE: Final = 16000
MODELS: Final[tuple[Model, ...]] = get_args(Model)
SENSITIVITIES: Final[dict[Sensitivity, tuple[float, int]]] = {
    "relaxed": (0.85, 4000),
    "default": (0.7, 2000),
    "aggressive": (0.6, 1000),
}
"""Preset -> (``eot_threshold``, ``eot_timeout_ms``)."""

EOT_THRESHOLD_RANGE: Final = (0.5, 1.0)
EAGER_EOT_THRESHOLD_RANGE: Final = (0.3, 0.9)
EOT_TIMEOUT_MS_RANGE: Final = (500, 60_000)
NO_SPEECH_TIMEOUT_RANGE: Final = (1.0, 300.0)
MAX_TURN_RANGE: Final = (1.0, 600.0)
HOLD_RANGE: Final = (0, 2000)

MAX_KEYTERMS: Final = 100
MAX_KEYTERM_CHARACTERS: Final = 100
MAX_TAG_CHARACTERS: Final = 128

DEFAULT_WAKE_PHRASES: Final = (
    "okay nabu",
    "ok nabu",
    "nabu",
    "hey jarvis",
    "jarvis",
    "hey mycroft",
    "alexa",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FluxSettings:
    """What one Flux stream is asked for.

    Raises :class:`InvalidSetting`, naming the field, for a value that Flux would refuse.
    """

    sample_rate: int = DEFAULT_SAMPLE_RATE
    """Samples per second of the linear16 mono stream."""
    sensitivity: Sensitivity = "default"
    """Preset of ``eot_threshold`` and ``eot_timeout_ms``; explicit values win over it."""
    eot_threshold: float | None = None
    """Confidence at which a turn ends; None: the preset's."""
    eager_eot_threshold: float | None = None
    """Confidence of an early guess at the end; None: no such guesses."""
    eot_timeout_ms: int | None = None
    """Milliseconds of silence that end a turn whatever the confidence; None: the preset's."""
    keyterms: tuple[str, ...] = ()
    """Words and names to expect, strongest first; :mod:`wyoming_flux.keyterms` makes clean ones."""
    mip_opt_out: bool = False
    """Keep the audio out of Deepgram's model improvement programme."""
    tag: str | None = None
    """Label in the usage report."""
    model: Model = "flux-general-en"
    """Flux model; only the route ``deepgram`` has more than the English one."""
    language: str | None = None
    """Language expected by ``flux-general-multi``; None: Flux finds out."""

    def __post_init__(self) -> None:
        """Check every value, and those that depend on each other."""
        _one_of("sample_rate", self.sample_rate, SAMPLE_RATES)
        _one_of("sensitivity", self.sensitivity, tuple(SENSITIVITIES))
        _one_of("model", self.model, MODELS)
        _within("eot_threshold", self.eot_threshold, EOT_THRESHOLD_RANGE)
        _within("eager_eot_threshold", self.eager_eot_threshold, EAGER_EOT_THRESHOLD_RANGE)
        _within("eot_timeout_ms", self.eot_timeout_ms, EOT_TIMEOUT_MS_RANGE)
        if self.eot_timeout_ms is not None and self.eot_timeout_ms != int(self.eot_timeout_ms):
            raise InvalidSetting("eot_timeout_ms", "eot_timeout_ms must be a whole number")
        eager = self.eager_eot_threshold
        if eager is not None and eager > self.effective_eot_threshold:
            raise InvalidSetting(
                "eager_eot_threshold",
                f"eager_eot_threshold ({eager:g}) must not be above"
                f" eot_threshold ({self.effective_eot_threshold:g})",
            )
        if len(self.keyterms) > MAX_KEYTERMS:
            raise InvalidSetting("keyterms", f"at most {MAX_KEYTERMS} key terms are possible")
        for term in self.keyterms:
            _text("keyterms", "a key term", term, MAX_KEYTERM_CHARACTERS)
        if self.tag is not None:
            _text("tag", "the tag", self.tag, MAX_TAG_CHARACTERS)

    @property
    def effective_eot_threshold(self) -> float:
        """The confidence in force: the explicit one, else the preset's."""
        if self.eot_threshold is not None:
            return self.eot_threshold
        return SENSITIVITIES[self.sensitivity][0]

    @property
    def effective_eot_timeout_ms(self) -> int:
        """The timeout in force in milliseconds: the explicit one, else the preset's."""
        if self.eot_timeout_ms is not None:
            return self.eot_timeout_ms
        return SENSITIVITIES[self.sensitivity][1]

    def with_sensitivity(self, sensitivity: Sensitivity) -> Self:
        """Return these settings with another preset; explicit thresholds stay in force.

        Where the preset's ``eot_threshold`` is below ``eager_eot_threshold``, which Flux would
        refuse, the latter is lowered to it.
        """
        eager = self.eager_eot_threshold
        if eager is not None and self.eot_threshold is None:
            eager = min(eager, SENSITIVITIES[sensitivity][0])
        return dataclasses.replace(self, sensitivity=sensitivity, eager_eot_threshold=eager)

    def with_keyterms(self, keyterms: Iterable[str]) -> Self:
        """Return these settings with other key terms."""
        return dataclasses.replace(self, keyterms=tuple(keyterms))


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceSettings:
    """How one utterance is answered; times in seconds.

    Raises :class:`InvalidSetting`, naming the field.
    """

    answer_on: AnswerOn = "end-of-turn"
    """``end-of-turn``: as soon as Flux says so; ``audio-stop``: all turns until the client ends."""
    no_speech_timeout: float = 8.0
    """Audio without any text after which the answer is an empty transcript."""
    max_turn: float = 20.0
    """Audio after the first text at which the turn is brought to an end."""
    hold: int = 0
    """Milliseconds of audio that an end of turn waits for more of the sentence."""
    wake_phrases: tuple[str, ...] = DEFAULT_WAKE_PHRASES
    """What satellites let through before the command: ignored alone, cut off in front."""

    def __post_init__(self) -> None:
        """Check every value."""
        _one_of("answer_on", self.answer_on, get_args(AnswerOn))
        _within("no_speech_timeout", self.no_speech_timeout, NO_SPEECH_TIMEOUT_RANGE)
        _within("max_turn", self.max_turn, MAX_TURN_RANGE)
        _within("hold", self.hold, HOLD_RANGE)
        for phrase in self.wake_phrases:
            _text("wake_phrases", "a wake phrase", phrase, MAX_KEYTERM_CHARACTERS)


def _one_of(name: str, value: object, allowed: tuple[Any, ...]) -> None:
    # bool is an int: True would pass as the rate 1 elsewhere, so types are compared too.
    if not any(value == one and type(value) is type(one) for one in allowed):
        names = ", ".join(str(one) for one in allowed)
        raise InvalidSetting(name, f"{name} must be one of {names}, not {value!r}")


def _within(name: str, value: object, limits: tuple[float, float]) -> None:
    if value is None:
        return
    low, high = limits
    # bool is an int, and NaN is within no limits.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InvalidSetting(name, f"{name} must be between {low:g} and {high:g}, not {value!r}")


def _text(name: str, what: str, value: object, longest: int) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InvalidSetting(name, f"{what} must not be blank")
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise InvalidSetting(name, f"{what} must be text on one line: {value[:30]!r}")
    if len(value) > longest:
        raise InvalidSetting(
            name, f"{what} must have at most {longest} characters: {value[:30]!r}…"
        )
