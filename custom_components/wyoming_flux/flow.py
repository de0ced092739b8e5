"""What all dialogues that make or change an entry have in common."""

import logging
from collections.abc import Mapping
from typing import Any, Final, override

import voluptuous as vol
from homeassistant.config_entries import ConfigEntry, ConfigFlow, ConfigFlowResult
from homeassistant.data_entry_flow import AbortFlow
from homeassistant.helpers.selector import (
    BooleanSelector,
    SelectOptionDict,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)
from homeassistant.util.ssl import get_default_context

from wyoming_flux.cloudflare import token_page
from wyoming_flux.errors import InvalidSetting, WyomingFluxError
from wyoming_flux.flux import Connector, Endpoint, check_flux

from . import options as opt
from .assistant import async_assistants, async_use_in
from .check import FormError, endpoint_fault, keyterm_fault, plain_fault, setting_fault
from .const import (
    CONF_ASSISTANT,
    CONF_KEYTERMS,
    CONF_MODEL,
    CONF_TOKEN,
    CONF_USE,
    CONF_WORKER_URL,
    DOCUMENTATION,
    TITLE,
)

_LOGGER: Final = logging.getLogger(__name__)

URL: Final = TextSelector(TextSelectorConfig(type=TextSelectorType.URL, autocomplete="url"))
SECRET: Final = TextSelector(TextSelectorConfig(type=TextSelectorType.PASSWORD, autocomplete="off"))

_PLACEHOLDERS: Final = {
    "documentation": DOCUMENTATION,
    "example_url": "https://flux.example.workers.dev",
    "token_page": token_page("Home Assistant"),
    "console": "https://console.deepgram.com",
}


def assistant_schema(assistants: Mapping[str, str]) -> vol.Schema:
    """Return the last form: whether, and where, the new engine is used."""
    choices = [SelectOptionDict(value=key, label=name) for key, name in assistants.items()]
    return vol.Schema(
        {
            vol.Required(CONF_USE, default=True): BooleanSelector(),
            vol.Required(CONF_ASSISTANT, default=next(iter(assistants), "")): SelectSelector(
                SelectSelectorConfig(options=choices, mode=SelectSelectorMode.DROPDOWN)
            ),
        }
    )


class FluxFlow(ConfigFlow):
    """Nothing is saved before Flux has answered."""

    _data: Mapping[str, Any]
    """Of the entry that will be made, once Flux has answered."""
    _options: Mapping[str, Any]
    _assistant: str | None = None
    """Which assistant is to use the new engine."""

    async def _async_made(
        self, data: Mapping[str, Any], options: Mapping[str, Any]
    ) -> ConfigFlowResult:
        """Go on to the last question; there is none where no assistant could use the engine."""
        self._data, self._options = data, options
        if async_assistants(self.hass, opt.complete(options)[CONF_MODEL]):
            return await self.async_step_assistant()
        return self._create()

    async def async_step_assistant(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask which assistant is to use it."""
        if user_input is not None:
            self._assistant = user_input[CONF_ASSISTANT] if user_input[CONF_USE] else None
            return self._create()
        assistants = async_assistants(self.hass, opt.complete(self._options)[CONF_MODEL])
        return self._show("assistant", assistant_schema(assistants), None, None)

    def _create(self) -> ConfigFlowResult:
        title = TITLE
        if self._async_current_entries():
            title = f"{TITLE} ({Endpoint.from_url(self._data[CONF_WORKER_URL]).host})"
        return self.async_create_entry(title=title, data=self._data, options=self._options)

    @override
    async def async_on_create_entry(self, result: ConfigFlowResult) -> ConfigFlowResult:
        """Give the new engine to the assistant: only now is it there."""
        if self._assistant is not None:
            await async_use_in(self.hass, result["result"], self._assistant)
        return result

    def _entry_at(self, url: str, model: str | None = None) -> ConfigEntry | None:
        """Return another entry that leads to a URL, with this model if one is given."""
        for entry in self._async_current_entries(include_ignore=False):
            if (
                entry.entry_id != self.context.get("entry_id")
                and entry.data.get(CONF_WORKER_URL) == url
                and model in (None, opt.complete(entry.options)[CONF_MODEL])
            ):
                return entry
        return None

    async def _async_try(
        self, url: str, token: str | None, options: Mapping[str, Any]
    ) -> tuple[dict[str, Any], FormError | None]:
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
        if self._entry_at(endpoint.url, settings.model) is not None:
            raise AbortFlow("already_configured")
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
            return {}, FormError("base", "unknown")
        if connector.plain:
            return data, plain_fault(settings)
        if "keyterm" in dropped and settings.keyterms:
            return data, FormError(CONF_KEYTERMS, "refused_keyterms")
        return data, None

    def _show(
        self,
        step_id: str,
        schema: vol.Schema,
        suggested: Mapping[str, Any] | None,
        fault: FormError | None,
        **placeholders: str,
    ) -> ConfigFlowResult:
        errors: dict[str, str] = {}
        if fault is not None:
            # What the form does not ask for is said above it.
            field = fault.field if fault.field in schema.schema else "base"
            errors[field] = fault.key
            placeholders |= fault.placeholders
        return self.async_show_form(
            step_id=step_id,
            data_schema=self.add_suggested_values_to_schema(schema, suggested),
            errors=errors,
            description_placeholders={**_PLACEHOLDERS, **placeholders},
        )
