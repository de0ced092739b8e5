"""Who hears: Flux, and the fallbacks that were given."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wyoming_flux.address import parse_uri
from wyoming_flux.ear import Ear, usable_model
from wyoming_flux.errors import InvalidSetting
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.remote import Remote
from wyoming_flux.settings import FallbackSettings, ProgramSettings

from .environment import Given

LOCAL: Final = "local"
EMPTY: Final = "-"
_ENGINES: Final = ("tcp://", "unix://")

Way = Connector | Ear | Remote


def endpoints(given: Given) -> tuple[Way, ...]:
    """Return who is to be asked, in order. Raises :class:`InvalidSetting`."""
    settings = given.make(FallbackSettings)
    names = list(settings.fallback)
    if twice := next((one for one in names if names.count(one) > 1), None):
        raise InvalidSetting("fallback", f"{twice} is named twice")
    without_worker = settings.local and given.make(ProgramSettings).worker_url is None
    if settings.local:
        names = [one for one in names if one != LOCAL]
        names.insert(0 if without_worker else len(names), LOCAL)
    if settings.local_model is not None and LOCAL not in names:
        raise InvalidSetting("local_model", "it has no effect without --local or --fallback local")
    tokens = _tokens(names, settings.fallback_token)
    found = [_fallback(name, tokens.get(name), settings) for name in names]
    return (*found,) if without_worker else (Connector(given.endpoint()), *found)


def _tokens(names: Sequence[str], tokens: Sequence[str]) -> dict[str, str | None]:
    urls = [one for one in names if one != LOCAL and not one.startswith(_ENGINES)]
    if tokens and len(tokens) != len(urls):
        raise InvalidSetting(
            "fallback_token",
            f"{len(urls)} fallbacks have a URL of Flux, and {len(tokens)} tokens were given:"
            f" one per line, {EMPTY} for none",
        )
    given = (None if one == EMPTY else one for one in tokens)
    return dict(zip(urls, given, strict=False))


def _fallback(name: str, token: str | None, settings: FallbackSettings) -> Way:
    if name == LOCAL:
        path = settings.local_model
        return Ear(usable_model(Path(path) if path is not None else None))
    try:
        if name.startswith(_ENGINES):
            parse_uri(name)
            return Remote(name)
        return Connector(Endpoint.from_url(name, token=token))
    except InvalidSetting as error:
        at = "fallback_token" if error.name == "token" else "fallback"
        raise InvalidSetting(at, str(error)) from None
