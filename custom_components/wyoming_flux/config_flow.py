"""Set-up and reconfiguration: nothing is saved before Flux has answered."""

import logging
from collections.abc import Mapping
from typing import Any, Final, override

import voluptuous as vol
from homeassistant.config_entries import ConfigFlow, ConfigFlowResult, OptionsFlow
from homeassistant.core import callback
from homeassistant.helpers.selector import (
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)
from homeassistant.util.ssl import get_default_context

from wyoming_flux.errors import InvalidSetting, WyomingFluxError
from wyoming_flux.flux import Connector, Endpoint, check_flux

from . import options as opt
from .check import Fault, endpoint_fault, keyterm_fault, plain_fault, setting_fault
from .const import (
    CONF_HOME_NAMES,
    CONF_KEYTERMS,
    CONF_SAMPLE_RATE,
    CONF_TOKEN,
    CONF_WORKER_URL,
    DOCUMENTATION,
    DOMAIN,
    TITLE,
)
from .data import FluxConfigEntry
from .options_flow import FluxOptionsFlow, selector

_LOGGER: Final = logging.getLogger(__name__)

_URL: Final = TextSelector(TextSelectorConfig(type=TextSelectorType.URL, autocomplete="url"))
_TOKEN: Final = TextSelector(TextSelectorConfig(type=TextSelectorType.PASSWORD, autocomplete="off"))

USER_SCHEMA: Final = vol.Schema(
    {
        vol.Required(CONF_WORKER_URL): _URL,
        vol.Optional(CONF_TOKEN): _TOKEN,
        vol.Required(CONF_SAMPLE_RATE, default=opt.DEFAULTS[CONF_SAMPLE_RATE]): selector(
            opt.OPTIONS[CONF_SAMPLE_RATE]
        ),
        vol.Optional(CONF_KEYTERMS): selector(opt.OPTIONS[CONF_KEYTERMS]),
        vol.Required(CONF_HOME_NAMES, default=opt.DEFAULTS[CONF_HOME_NAMES]): selector(
            opt.OPTIONS[CONF_HOME_NAMES]
        ),
    }
)
RECONFIGURE_SCHEMA: Final = vol.Schema(
    {vol.Required(CONF_WORKER_URL): _URL, vol.Optional(CONF_TOKEN): _TOKEN}
)
REAUTH_SCHEMA: Final = vol.Schema({vol.Required(CONF_TOKEN): _TOKEN})

_PLACEHOLDERS: Final = {
    "documentation": DOCUMENTATION,
    "example_url": "https://flux.example.workers.dev",
}


class FluxConfigFlow(ConfigFlow, domain=DOMAIN):
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
        """Ask for all that is needed, once."""
        fault: Fault | None = None
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
                title = TITLE
                if self._async_current_entries():
                    title = f"{TITLE} ({Endpoint.from_url(data[CONF_WORKER_URL]).host})"
                return self.async_create_entry(title=title, data=data, options=chosen)
        return self._show("user", USER_SCHEMA, user_input, fault)

    async def async_step_reconfigure(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Change the URL, the token or both."""
        entry = self._get_reconfigure_entry()
        fault: Fault | None = None
        if user_input is not None:
            # The present token is never sent to a browser; an empty field keeps it.
            token = user_input.get(CONF_TOKEN) or entry.data.get(CONF_TOKEN)
            data, fault = await self._async_try(user_input[CONF_WORKER_URL], token, entry.options)
            if fault is None:
                return self.async_update_reload_and_abort(entry, data=data)
        suggested = user_input or {CONF_WORKER_URL: entry.data[CONF_WORKER_URL]}
        return self._show("reconfigure", RECONFIGURE_SCHEMA, suggested, fault)

    async def async_step_reauth(self, _entry_data: Mapping[str, Any]) -> ConfigFlowResult:
        """Begin asking for a new token."""
        return await self.async_step_reauth_confirm()

    async def async_step_reauth_confirm(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask for a new token."""
        entry = self._get_reauth_entry()
        fault: Fault | None = None
        if user_input is not None:
            data, fault = await self._async_try(
                entry.data[CONF_WORKER_URL], user_input[CONF_TOKEN], entry.options
            )
            if fault is None:
                return self.async_update_reload_and_abort(entry, data=data)
        return self._show("reauth_confirm", REAUTH_SCHEMA, None, fault)

    async def _async_try(
        self, url: str, token: str | None, options: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Fault | None]:
        """Return the entry data for a URL and a token, or what is wrong with them."""
        if (fault := keyterm_fault(options.get(CONF_KEYTERMS, []))) is not None:
            return {}, fault
        try:
            endpoint = Endpoint.from_url(url, token=token)
            settings = opt.flux_settings(options, opt.keyterms(options).terms)
        except InvalidSetting as err:
            return {}, setting_fault(err, url=url, options=options)
        data = {CONF_WORKER_URL: endpoint.url}
        if endpoint.token is not None:
            data[CONF_TOKEN] = endpoint.token
        self._async_abort_entries_match({CONF_WORKER_URL: endpoint.url})
        connector = Connector(
            endpoint,
            ssl_context=await self.hass.async_add_executor_job(get_default_context),
        )
        try:
            dropped = (await check_flux(connector, settings)).refused
        except InvalidSetting as err:
            return {}, setting_fault(err, url=url, options=options)
        except WyomingFluxError as err:
            _LOGGER.debug("The check of %s failed: %s: %s", endpoint.host, err.code, err)
            return {}, endpoint_fault(err, connector, settings)
        except Exception:
            # A fault of ours: a form that says so is worth more than a dialogue that breaks.
            _LOGGER.exception("The check of %s failed unexpectedly", endpoint.host)
            return {}, Fault("base", "unknown")
        if connector.plain:
            return data, plain_fault(settings)
        if "keyterm" in dropped and settings.keyterms:
            return data, Fault(CONF_KEYTERMS, "refused_keyterms")
        return data, None

    def _show(
        self,
        step_id: str,
        schema: vol.Schema,
        suggested: Mapping[str, Any] | None,
        fault: Fault | None,
    ) -> ConfigFlowResult:
        errors: dict[str, str] = {}
        placeholders = dict(_PLACEHOLDERS)
        if fault is not None:
            # What the form does not ask for is said above it.
            field = fault.field if fault.field in schema.schema else "base"
            errors[field] = fault.key
            placeholders |= fault.placeholders
        return self.async_show_form(
            step_id=step_id,
            data_schema=self.add_suggested_values_to_schema(schema, suggested),
            errors=errors,
            description_placeholders=placeholders,
        )
