"""What helps to find a fault, and nothing private: no token, URL, name or word said."""

from collections.abc import Mapping
from typing import Any, Final

from homeassistant.components.diagnostics import async_redact_data
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant

from wyoming_flux import __version__

from . import last_turns
from .const import (
    CONF_FALLBACK_TOKEN,
    CONF_FALLBACK_URL,
    CONF_KEYTERMS,
    CONF_TOKEN,
    CONF_WAKE_PHRASES,
    CONF_WORKER_URL,
)
from .data import FluxConfigEntry, FluxData

# The title may hold the host.
_REDACTED: Final = frozenset(
    {
        CONF_FALLBACK_TOKEN,
        CONF_FALLBACK_URL,
        CONF_TOKEN,
        CONF_WORKER_URL,
        CONF_KEYTERMS,
        CONF_WAKE_PHRASES,
        "title",
        "unique_id",
    }
)


async def async_get_config_entry_diagnostics(
    hass: HomeAssistant, entry: FluxConfigEntry
) -> dict[str, Any]:
    """Return the diagnostics of an entry."""
    found: dict[str, Any] = {
        "library": __version__,
        "entry": async_redact_data(_plain(entry.as_dict()), _REDACTED),
        "state": entry.state.value,
    }
    # Left by an entry that was not set up, or is unloaded: there is no more to tell of it.
    data: FluxData | None = getattr(entry, "runtime_data", None)
    if data is None or entry.state is not ConfigEntryState.LOADED:
        return found
    connector = data.connector
    return found | {
        "endpoint": {
            "route": connector.endpoint.route.value,
            "encrypted": connector.endpoint.secure,
            "has_token": connector.endpoint.token is not None,
            "plain_worker": connector.plain,
            "refused_parameters": list(connector.dropped),
        },
        "stream": {
            "sample_rate": data.settings.sample_rate,
            "model": data.settings.model,
            "eot_threshold": data.settings.effective_eot_threshold,
            "eot_timeout_ms": data.settings.effective_eot_timeout_ms,
            "keyterms": len(data.settings.keyterms),
            "keyterms_that_do_not_fit": data.keyterms_cut,
            "names_of_the_home": len(data.names.names),
        },
        "health": {
            "available": data.health.available,
            "last_error": data.health.last_error,
            "last_error_request_id": data.health.last_request_id,
            "last_response_ms": data.health.last_response_ms,
        },
        "minutes_today": round(data.usage.seconds / 60, 3),
        "last_turn": await last_turns.async_story(hass, entry),
    }


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry with how many terms there are, where the terms themselves are left out."""
    options = entry.get("options", {})
    counts = {
        f"{key}_count": len(options[key])
        for key in (CONF_KEYTERMS, CONF_WAKE_PHRASES)
        if key in options
    }
    return {**entry, "options": {**options, **counts}}
