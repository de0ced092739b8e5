"""Repair issues: only what a person can do something about, gone as soon as it is mended."""

from typing import Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import issue_registry as ir

from .const import DOCUMENTATION, DOMAIN

QUOTA: Final = "quota"
PAYMENT: Final = "payment"
DAILY_LIMIT: Final = "daily_limit"
PARAMETERS_REFUSED: Final = "parameters_refused"
PLAIN_WORKER: Final = "plain_worker"
PORT_IN_USE: Final = "port_in_use"
LOGIN_PAGE: Final = "login_page"
WORKER_OUTDATED: Final = "worker_outdated"

ALL: Final = (
    QUOTA,
    PAYMENT,
    DAILY_LIMIT,
    PARAMETERS_REFUSED,
    PLAIN_WORKER,
    PORT_IN_USE,
    LOGIN_PAGE,
    WORKER_OUTDATED,
)


@callback
def create(hass: HomeAssistant, entry: ConfigEntry, key: str, **placeholders: str) -> None:
    """Raise an issue of an entry; raising it again changes nothing."""
    ir.async_create_issue(
        hass,
        DOMAIN,
        _issue_id(entry, key),
        is_fixable=False,
        severity=ir.IssueSeverity.WARNING,
        translation_key=key,
        translation_placeholders={"entry": entry.title, **placeholders},
        learn_more_url=f"{DOCUMENTATION}#troubleshooting",
    )


@callback
def clear(hass: HomeAssistant, entry: ConfigEntry, *keys: str) -> None:
    """Take issues back."""
    for key in keys:
        ir.async_delete_issue(hass, DOMAIN, _issue_id(entry, key))


@callback
def toggle(hass: HomeAssistant, entry: ConfigEntry, key: str, *, on: bool, **text: str) -> None:
    """Raise an issue or take it back."""
    if on:
        create(hass, entry, key, **text)
    else:
        clear(hass, entry, key)


def _issue_id(entry: ConfigEntry, key: str) -> str:
    return f"{key}_{entry.entry_id}"
