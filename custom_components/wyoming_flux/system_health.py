"""The integration's lines on the page Settings > System > Repairs > System information."""

from typing import Any
from urllib.parse import urlsplit

from homeassistant.components import system_health
from homeassistant.core import HomeAssistant, callback

from wyoming_flux import __version__
from wyoming_flux.flux import Route

from .const import DOMAIN
from .data import FluxConfigEntry


@callback
def async_register(_hass: HomeAssistant, register: system_health.SystemHealthRegistration) -> None:
    """Register the lines."""
    register.async_register_info(_async_info)


async def _async_info(hass: HomeAssistant) -> dict[str, Any]:
    entries: list[FluxConfigEntry] = hass.config_entries.async_loaded_entries(DOMAIN)
    info: dict[str, Any] = {
        "library": __version__,
        "usable": f"{sum(entry.runtime_data.health.available for entry in entries)}"
        f" of {len(entries)}",
        "minutes_today": round(sum(entry.runtime_data.usage.seconds for entry in entries) / 60, 1),
    }
    if entries:
        # A request without cost: the Worker's /health, or any answer of the host.
        endpoint = entries[0].runtime_data.connector.endpoint
        scheme = "https" if endpoint.secure else "http"
        path = "/health" if endpoint.route is Route.WORKER else "/"
        host = urlsplit(endpoint.url).netloc
        info["can_reach_endpoint"] = system_health.async_check_can_reach_url(
            hass, f"{scheme}://{host}{path}"
        )
    return info
