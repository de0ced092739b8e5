"""The entry's options: which there are, what they are stored as, and what they mean."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from wyoming_flux.declare import Checked, Setting, setting, settings_of
from wyoming_flux.keyterms import KeytermList, merge, split
from wyoming_flux.settings import FluxSettings, ServerSettings, UtteranceSettings

from .const import CONF_HOME_NAMES, CONF_KEYTERMS


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryOptions(Checked):
    """What only Home Assistant has."""

    home_names: bool = setting(True, "listen for the names of areas and exposed things", "switch")
    enhanced_audio: bool = setting(False, "ask satellites for audio that is cleaned", "switch")
    keep_turns: int = setting(0, "keep the last turns for a look", "whole", limits=(0, 50))
    fallback_entity: str | None = setting(None, "who hears where Flux cannot be reached")
    fallback_url: str | None = setting(None, "another Flux for the same")
    fallback_token: str | None = setting(None, "its token")
    serve: bool = setting(False, "run a Wyoming server for other machines", "switch")
    serve_port: int = setting(10300, "its TCP port", "whole", limits=(1024, 65535))


_KNOWN: Final[Mapping[str, Setting]] = {
    **settings_of(FluxSettings),
    **settings_of(UtteranceSettings),
    **settings_of(ServerSettings),
    **settings_of(EntryOptions),
}
_SHOWN: Final = (
    "sensitivity hold home_names keyterms no_speech_timeout max_turn wake_phrases daily_minutes"
    " keep_turns mip_opt_out enhanced_audio external_vad sample_rate"
).split()
SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "fallback": ("fallback_url", "fallback_token", "fallback_entity"),
    "network": ("serve", "serve_port"),
    "expert": ("eot_threshold", "eager_eot_threshold", "eot_timeout_ms", "model"),
}
MAIN: Final[Mapping[str, Setting]] = {name: _KNOWN[name] for name in _SHOWN}
"""What the form shows, in its order; the rest is in its sections."""
OPTIONS: Final[Mapping[str, Setting]] = {
    **MAIN,
    **{name: _KNOWN[name] for names in SECTIONS.values() for name in names},
}


def stored(option: Setting, value: Any) -> Any:
    """Return a value as it is stored: a selector knows lists, and texts to choose from."""
    if isinstance(value, tuple):
        return list(value)
    return str(value) if option.kind == "choice" else value


def _meant(option: Setting, value: Any) -> Any:
    """Return a stored value as the settings have it."""
    if option.kind == "texts":
        return tuple(value)
    whole = option.kind == "whole" or (isinstance(option.default, int) and option.kind == "choice")
    return int(value) if whole and value is not None else value


DEFAULTS: Final[Mapping[str, Any]] = {
    name: stored(option, option.default) for name, option in OPTIONS.items()
}
"""Every option with what it is when nobody has said anything."""


def complete(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with the defaults filled in."""
    return {**DEFAULTS, **options}


def _settings[T](kind: Callable[..., T], options: Mapping[str, Any], **more: Any) -> T:
    known = complete(options)
    names = settings_of(cast("Any", kind)).keys() & OPTIONS.keys()
    return kind(**{**{name: _meant(OPTIONS[name], known[name]) for name in names}, **more})


def flux_settings(options: Mapping[str, Any], keyterms: Iterable[str] = ()) -> FluxSettings:
    """Return what a stream is asked for.

    Raises :class:`wyoming_flux.errors.InvalidSetting`, naming the option.
    """
    return _settings(FluxSettings, options, keyterms=tuple(keyterms))


def turn_settings(options: Mapping[str, Any]) -> UtteranceSettings:
    """Return how an utterance is answered.

    Raises :class:`wyoming_flux.errors.InvalidSetting`, naming the option.
    """
    return _settings(UtteranceSettings, options)


def keyterms(options: Mapping[str, Any], home_names: Iterable[str] = ()) -> KeytermList:
    """Return the configured key terms and the names of the home as Flux can take them."""
    known = complete(options)
    return merge(known[CONF_KEYTERMS], home_names if known[CONF_HOME_NAMES] else ())


def clean_terms(terms: Iterable[str]) -> list[str]:
    """Return what was typed into a list, without blanks and repetitions, in the same order.

    A list in one field ("ecobee, nest, hue") is taken apart.
    """
    kept: dict[str, str] = {}
    for term in (" ".join(one.split()) for one in split(terms)):
        if term:
            kept.setdefault(term.casefold(), term)
    return list(kept.values())
