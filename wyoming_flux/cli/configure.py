"""Options become settings; which option was wrong is told by ``Values.explain``."""

from collections.abc import Mapping
from typing import Any, Final

from wyoming_flux import keyterms
from wyoming_flux.errors import InvalidSetting
from wyoming_flux.flux import Endpoint
from wyoming_flux.settings import FluxSettings, UtteranceSettings

from .values import Values

_FLUX: Final = (
    "sample_rate",
    "model",
    "language",
    "mip_opt_out",
    "tag",
    "sensitivity",
    "eot_threshold",
    "eot_timeout_ms",
    "eager_eot_threshold",
)
_TURN: Final = ("answer_on", "no_speech_timeout", "max_turn")


def endpoint(values: Values) -> Endpoint:
    """Return where Flux is. Raises :class:`InvalidSetting`."""
    url = values.text("worker_url")
    if url is None:
        raise InvalidSetting(
            "",
            "the URL of your Worker is missing: give --worker-url wss://NAME.ACCOUNT.workers.dev,"
            " or set WYOMING_FLUX_WORKER_URL",
        )
    return Endpoint.from_url(
        url,
        route=values.text("route") or "auto",
        token=values.text("token"),
        headers=_headers(values.texts("header") or ()),
    )


def flux_settings(values: Values) -> tuple[FluxSettings, int]:
    """Return the settings of a stream, and how many key terms did not fit.

    Raises :class:`InvalidSetting`.
    """
    path = values.text("keyterms_file")
    merged = keyterms.merge(
        values.texts("keyterm") or (), keyterms.read_file(path) if path is not None else ()
    )
    fields: dict[str, Any] = values.pick(*_FLUX)
    return FluxSettings(keyterms=merged.terms, **fields), merged.cut


def turn_settings(values: Values, **usual: Any) -> UtteranceSettings:
    """Return how turns are answered; *usual* are other defaults. Raises :class:`InvalidSetting`."""
    fields: dict[str, Any] = {**usual, **values.pick(*_TURN)}
    phrases = values.texts("wake_phrase")
    if phrases is not None:
        fields["wake_phrases"] = phrases
    return UtteranceSettings(**fields)


def _headers(lines: tuple[str, ...]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        name, colon, value = line.partition(":")
        if not colon:
            # The line itself may be a secret.
            raise InvalidSetting("headers", f"line {number} is not a header like 'Name: value'")
        headers[name.strip()] = value.strip()
    return headers
