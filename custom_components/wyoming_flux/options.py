"""What the entry's options mean to the library: the one place that reads them."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from wyoming_flux.keyterms import KeytermList, merge
from wyoming_flux.settings import (
    DEFAULT_SAMPLE_RATE,
    DEFAULT_WAKE_PHRASES,
    FluxSettings,
    Sensitivity,
    UtteranceSettings,
)

from .const import (
    CONF_DAILY_MINUTES,
    CONF_EAGER_EOT_THRESHOLD,
    CONF_ENHANCED_AUDIO,
    CONF_EOT_THRESHOLD,
    CONF_EOT_TIMEOUT_MS,
    CONF_EXTERNAL_VAD,
    CONF_HOME_NAMES,
    CONF_KEYTERMS,
    CONF_MAX_TURN,
    CONF_MIP_OPT_OUT,
    CONF_MODEL,
    CONF_NO_SPEECH_TIMEOUT,
    CONF_SAMPLE_RATE,
    CONF_SENSITIVITY,
    CONF_SERVE,
    CONF_SERVE_PORT,
    CONF_WAKE_PHRASES,
    DEFAULT_SERVE_PORT,
)

_FLUX = FluxSettings()
_TURN = UtteranceSettings()

DEFAULTS: Mapping[str, Any] = {
    CONF_SAMPLE_RATE: str(DEFAULT_SAMPLE_RATE),
    CONF_KEYTERMS: [],
    CONF_HOME_NAMES: True,
    CONF_SENSITIVITY: _FLUX.sensitivity,
    CONF_NO_SPEECH_TIMEOUT: _TURN.no_speech_timeout,
    CONF_MAX_TURN: _TURN.max_turn,
    CONF_WAKE_PHRASES: list(DEFAULT_WAKE_PHRASES),
    CONF_DAILY_MINUTES: None,
    CONF_MIP_OPT_OUT: False,
    CONF_ENHANCED_AUDIO: False,
    CONF_EXTERNAL_VAD: False,
    CONF_EOT_THRESHOLD: None,
    CONF_EAGER_EOT_THRESHOLD: None,
    CONF_EOT_TIMEOUT_MS: None,
    CONF_MODEL: _FLUX.model,
    CONF_SERVE: False,
    CONF_SERVE_PORT: DEFAULT_SERVE_PORT,
}
"""Every option with what it is when nobody has said anything."""


def complete(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with the defaults filled in."""
    return {**DEFAULTS, **options}


def flux_settings(options: Mapping[str, Any], keyterms: Iterable[str] = ()) -> FluxSettings:
    """Return what a stream is asked for.

    Raises :class:`wyoming_flux.errors.InvalidSetting`, naming the option.
    """
    known = complete(options)
    timeout = known[CONF_EOT_TIMEOUT_MS]
    return FluxSettings(
        sample_rate=int(known[CONF_SAMPLE_RATE]),
        sensitivity=sensitivity(known[CONF_SENSITIVITY]),
        eot_threshold=known[CONF_EOT_THRESHOLD],
        eager_eot_threshold=known[CONF_EAGER_EOT_THRESHOLD],
        eot_timeout_ms=None if timeout is None else int(timeout),
        keyterms=tuple(keyterms),
        mip_opt_out=known[CONF_MIP_OPT_OUT],
        model=known[CONF_MODEL],
    )


def sensitivity(name: str) -> Sensitivity:
    """Return a preset by its name; an unknown one is refused by :class:`FluxSettings`."""
    return cast("Sensitivity", name)


def turn_settings(options: Mapping[str, Any]) -> UtteranceSettings:
    """Return how an utterance is answered.

    Raises :class:`wyoming_flux.errors.InvalidSetting`, naming the option.
    """
    known = complete(options)
    return UtteranceSettings(
        no_speech_timeout=known[CONF_NO_SPEECH_TIMEOUT],
        max_turn=known[CONF_MAX_TURN],
        wake_phrases=tuple(known[CONF_WAKE_PHRASES]),
    )


def keyterms(options: Mapping[str, Any], home_names: Iterable[str] = ()) -> KeytermList:
    """Return the configured key terms and the names of the home as Flux can take them."""
    known = complete(options)
    return merge(known[CONF_KEYTERMS], home_names if known[CONF_HOME_NAMES] else ())


def clean_terms(terms: Iterable[str]) -> list[str]:
    """Return what was typed into a list, without blanks and repetitions, in the same order."""
    kept: dict[str, str] = {}
    for term in (" ".join(one.split()) for one in terms):
        if term:
            kept.setdefault(term.casefold(), term)
    return list(kept.values())
