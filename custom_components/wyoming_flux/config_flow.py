"""The ways in: a URL, a Worker that is made, a key of Deepgram; and the changes of an entry."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, override

import voluptuous as vol
from homeassistant.config_entries import ConfigFlowResult, OptionsFlow
from homeassistant.core import callback

from wyoming_flux.errors import InvalidSetting
from wyoming_flux.flux import Endpoint, Route

from . import options as opt
from .check import FormError
from .const import (
    CONF_HOME_NAMES,
    CONF_KEYTERMS,
    CONF_MODEL,
    CONF_SAMPLE_RATE,
    CONF_TOKEN,
    CONF_WORKER_URL,
    DEEPGRAM_URL,
    DOCUMENTATION,
    DOMAIN,
)
from .data import FluxConfigEntry
from .flow import SECRET, URL
from .options_flow import FluxOptionsFlow, selector
from .worker_flow import WorkerFlow


def _field(name: str) -> dict[vol.Marker, object]:
    return {vol.Required(name, default=opt.DEFAULTS[name]): selector(opt.OPTIONS[name])}


_KEYTERMS: Final = {vol.Optional(CONF_KEYTERMS): selector(opt.OPTIONS[CONF_KEYTERMS])}

URL_SCHEMA: Final = vol.Schema(
    {
        vol.Required(CONF_WORKER_URL): URL,
        vol.Optional(CONF_TOKEN): SECRET,
        **_field(CONF_HOME_NAMES),
        **_KEYTERMS,
        **_field(CONF_SAMPLE_RATE),
    }
)
DEEPGRAM_SCHEMA: Final = vol.Schema(
    {
        vol.Required(CONF_TOKEN): SECRET,
        **_field(CONF_MODEL),
        **_field(CONF_HOME_NAMES),
        **_KEYTERMS,
    }
)
RECONFIGURE_SCHEMA: Final = vol.Schema(
    {vol.Required(CONF_WORKER_URL): URL, vol.Optional(CONF_TOKEN): SECRET}
)
REAUTH_SCHEMA: Final = vol.Schema({vol.Required(CONF_TOKEN): SECRET})

WAYS: Final = ("worker", "url", "deepgram")
CHANGES: Final = ("reconfigure_url", "worker")


class FluxConfigFlow(WorkerFlow, domain=DOMAIN):
    """The dialogues that make an entry and change where it leads."""

    VERSION = 1
    MINOR_VERSION = 1

    @staticmethod
    @callback
    @override
    def async_get_options_flow(config_entry: FluxConfigEntry) -> OptionsFlow:
        """Return the dialogue for everything but URL and token."""
        return FluxOptionsFlow()

    @override
    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for the way to Flux."""
        return self.async_show_menu(
            step_id="user",
            menu_options=list(WAYS),
            description_placeholders={"documentation": DOCUMENTATION},
        )

    async def async_step_url(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for the URL and what is sent there."""
        fault: FormError | None = None
        if user_input is not None:
            chosen = {
                CONF_SAMPLE_RATE: user_input[CONF_SAMPLE_RATE],
                CONF_KEYTERMS: opt.clean_terms(user_input.get(CONF_KEYTERMS, [])),
                CONF_HOME_NAMES: user_input[CONF_HOME_NAMES],
            }
            data, fault = await self._async_try(
                user_input[CONF_WORKER_URL], user_input.get(CONF_TOKEN), chosen
            )
            if fault is None:
                return await self._async_made(data, chosen)
        return self._show("url", URL_SCHEMA, user_input, fault)

    async def async_step_deepgram(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask for Deepgram's key; propose the model that knows Home Assistant's language."""
        fault: FormError | None = None
        suggested = user_input
        if user_input is None:
            here = self.hass.config.language.partition("-")[0]
            many = here != "en" and here in Endpoint.languages("flux-general-multi")
            suggested = {CONF_MODEL: "flux-general-multi" if many else "flux-general-en"}
        else:
            chosen = {
                CONF_MODEL: user_input[CONF_MODEL],
                CONF_KEYTERMS: opt.clean_terms(user_input.get(CONF_KEYTERMS, [])),
                CONF_HOME_NAMES: user_input[CONF_HOME_NAMES],
            }
            data, fault = await self._async_try(DEEPGRAM_URL, user_input[CONF_TOKEN], chosen)
            if fault is None:
                return await self._async_made(data, chosen)
        return self._show("deepgram", DEEPGRAM_SCHEMA, suggested, fault)

    async def async_step_reconfigure(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask what is to be changed, where there is more than one thing."""
        endpoint = Endpoint.from_url(self._get_reconfigure_entry().data[CONF_WORKER_URL])
        name, _, domain = endpoint.host.partition(".")
        if endpoint.route is not Route.WORKER or not domain.endswith(".workers.dev"):
            return await self.async_step_reconfigure_url()
        self._plan = replace(self._plan, name=name)
        return self.async_show_menu(step_id="reconfigure", menu_options=list(CHANGES))

    async def async_step_reconfigure_url(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Change the URL, the token or both."""
        entry = self._get_reconfigure_entry()
        fault: FormError | None = None
        if user_input is not None:
            url, token = user_input[CONF_WORKER_URL], user_input.get(CONF_TOKEN)
            if not token and _same_host(url, entry.data[CONF_WORKER_URL]):
                # The present token is never sent to a browser, nor to another host.
                token = entry.data.get(CONF_TOKEN)
            data, fault = await self._async_try(url, token, entry.options)
            if fault is None:
                return self.async_update_reload_and_abort(entry, data=data)
        suggested = user_input or {CONF_WORKER_URL: entry.data[CONF_WORKER_URL]}
        return self._show("reconfigure_url", RECONFIGURE_SCHEMA, suggested, fault)

    async def async_step_reauth(self, _entry_data: Mapping[str, Any]) -> ConfigFlowResult:
        """Begin asking for a new token."""
        return await self.async_step_reauth_confirm()

    async def async_step_reauth_confirm(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask for a new token."""
        entry = self._get_reauth_entry()
        fault: FormError | None = None
        if user_input is not None:
            data, fault = await self._async_try(
                entry.data[CONF_WORKER_URL], user_input[CONF_TOKEN], entry.options
            )
            if fault is None:
                return self.async_update_reload_and_abort(entry, data=data)
        return self._show("reauth_confirm", REAUTH_SCHEMA, None, fault)


def _same_host(url: str, present: str) -> bool:
    """Whether a URL leads where the token goes already, not less encrypted than now."""
    try:
        one, other = Endpoint.from_url(url), Endpoint.from_url(present)
    except InvalidSetting:
        return False
    return one.host == other.host and one.secure >= other.secure
