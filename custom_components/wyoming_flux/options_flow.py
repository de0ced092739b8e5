"""Everything but URL and token, changed at any time."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import voluptuous as vol
from homeassistant.config_entries import ConfigFlowResult, OptionsFlowWithReload
from homeassistant.data_entry_flow import section
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.selector import (
    BooleanSelector,
    EntitySelector,
    EntitySelectorConfig,
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    Selector,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)

from wyoming_flux.declare import Setting
from wyoming_flux.errors import InvalidSetting
from wyoming_flux.flux import Endpoint, Route

from . import last_turns
from . import options as opt
from .check import FormError, keyterm_fault, plain_fault, setting_fault
from .const import (
    CONF_FALLBACK_ENTITY,
    CONF_FALLBACK_TOKEN,
    CONF_FALLBACK_URL,
    CONF_KEYTERMS,
    CONF_SERVE,
    CONF_WORKER_URL,
    DOCUMENTATION,
    DOMAIN,
)
from .data import FluxConfigEntry

_OWN: Final[Mapping[str, Selector[Any]]] = {
    CONF_FALLBACK_ENTITY: EntitySelector(EntitySelectorConfig(domain="stt")),
    CONF_FALLBACK_URL: TextSelector(TextSelectorConfig(type=TextSelectorType.URL)),
    CONF_FALLBACK_TOKEN: TextSelector(
        TextSelectorConfig(type=TextSelectorType.PASSWORD, autocomplete="off")
    ),
}


class FluxOptionsFlow(OptionsFlowWithReload):
    """One form; Home Assistant reloads the entry when something was changed."""

    config_entry: FluxConfigEntry

    async def async_step_init(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask what is wanted where turns were kept; otherwise there is the form alone."""
        if user_input is None and await last_turns.async_recent(self.hass, self.config_entry, 1):
            return await self.async_step_choose()
        return await self.async_step_settings(user_input)

    async def async_step_choose(
        self, _user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Show what there is to choose from."""
        return self.async_show_menu(step_id="choose", menu_options=["settings", "last_turns"])

    async def async_step_last_turns(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Show links to the last turns; the form follows."""
        if user_input is not None:
            return await self.async_step_settings()
        kept = await last_turns.async_recent(self.hass, self.config_entry)
        links = last_turns.async_links(self.hass, self.config_entry, kept)
        return self.async_show_form(
            step_id="last_turns",
            data_schema=vol.Schema({}),
            description_placeholders={"turns": links},
            last_step=False,
        )

    async def async_step_settings(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Show what is set and take what is changed."""
        fault: FormError | None = None
        shown = opt.complete(self.config_entry.options)
        if user_input is not None:
            kept = shown
            shown = flatten(user_input)
            if shown[CONF_FALLBACK_URL] and shown[CONF_FALLBACK_URL] == kept[CONF_FALLBACK_URL]:
                # It is not sent to a browser; an empty field keeps it, for the same URL alone.
                shown[CONF_FALLBACK_TOKEN] = shown[CONF_FALLBACK_TOKEN] or kept[CONF_FALLBACK_TOKEN]
            fault = self._fault(shown)
            if fault is None:
                return self.async_create_entry(data=shown)
        endpoint = Endpoint.from_url(self.config_entry.data[CONF_WORKER_URL])
        schema = options_schema(shown, multilingual=endpoint.route is Route.DEEPGRAM)
        errors: dict[str, str] = {}
        if fault is not None:
            # The frontend does not show errors inside a section.
            errors[fault.field if fault.field in schema.schema else "base"] = fault.key
        return self.async_show_form(
            step_id="init",
            data_schema=self.add_suggested_values_to_schema(schema, nest(shown)),
            errors=errors,
            description_placeholders={
                "documentation": DOCUMENTATION,
                **(fault.placeholders if fault is not None else {}),
            },
        )

    def _fault(self, chosen: Mapping[str, Any]) -> FormError | None:
        if (fault := keyterm_fault(chosen[CONF_KEYTERMS])) is not None:
            return fault
        try:
            settings = opt.flux_settings(chosen, opt.keyterms(chosen).terms)
            opt.turn_settings(chosen)
        except InvalidSetting as err:
            return setting_fault(err, url=self.config_entry.data[CONF_WORKER_URL], options=chosen)
        if second := chosen[CONF_FALLBACK_URL]:
            try:
                Endpoint.from_url(second, token=chosen[CONF_FALLBACK_TOKEN]).check(settings)
            except InvalidSetting as err:
                return FormError("base", "invalid_value", {"reason": str(err)})
        own = er.async_get(self.hass).async_get(chosen[CONF_FALLBACK_ENTITY] or "")
        if own is not None and own.platform == DOMAIN:
            return FormError("base", "fallback_to_itself")
        # Known without asking again: the entry in use has seen the endpoint.
        data = getattr(self.config_entry, "runtime_data", None)
        if data is not None and data.connector.plain:
            return plain_fault(settings)
        return None


def options_schema(values: Mapping[str, Any], *, multilingual: bool) -> vol.Schema:
    """Return the form; ``multilingual`` adds the choice of a model, which only Deepgram has."""
    form: dict[vol.Marker, object] = {
        marker(name): selector(option) for name, option in opt.MAIN.items()
    }
    collapsed = {
        "network": not values[CONF_SERVE],
        "fallback": not (values[CONF_FALLBACK_URL] or values[CONF_FALLBACK_ENTITY]),
        # Open where something is set, or was set wrongly.
        "expert": all(values[name] is None for name in opt.SECTIONS["expert"] if name != "model"),
    }
    for title, names in opt.SECTIONS.items():
        fields = {
            marker(name): selector(opt.OPTIONS[name])
            for name in names
            if name != "model" or multilingual
        }
        form[vol.Required(title)] = section(vol.Schema(fields), {"collapsed": collapsed[title]})
    return vol.Schema(form)


def flatten(user_input: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as they are stored: no sections, whole numbers whole, terms clean."""
    flat = {key: value for key, value in user_input.items() if key not in opt.SECTIONS}
    for title in opt.SECTIONS:
        flat |= user_input.get(title, {})
    for name, option in opt.OPTIONS.items():
        if option.kind == "texts":
            # A list that was emptied does not arrive at all.
            flat[name] = opt.clean_terms(flat.get(name, []))
        elif option.kind == "whole" and flat.get(name) is not None:
            flat[name] = int(flat[name])
    return opt.complete(flat)


def nest(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as the form holds them, without those that are not set."""
    known = {
        key: value
        for key, value in options.items()
        if value is not None and key != CONF_FALLBACK_TOKEN
    }
    sections = {
        title: {name: known[name] for name in names if name in known}
        for title, names in opt.SECTIONS.items()
    }
    return {**known, **sections}


def marker(name: str) -> vol.Marker:
    """Return the key of a field: what may be empty is optional."""
    option = opt.OPTIONS[name]
    empty = option.default is None or option.kind == "texts"
    return vol.Optional(name) if empty else vol.Required(name)


def selector(option: Setting) -> Selector[Any]:
    """Return what a person sets an option with."""
    if option.name in _OWN:
        return _OWN[option.name]
    match option.kind:
        case "switch":
            return BooleanSelector()
        case "whole" | "number" if option.limits is not None:
            low, high = option.limits
            number = NumberSelectorConfig(
                min=low, max=high, step=option.step, mode=NumberSelectorMode.BOX
            )
            if option.unit:
                number["unit_of_measurement"] = option.unit
            return NumberSelector(number)
        case "texts" if not option.default:
            return TextSelector(TextSelectorConfig(multiple=True))
        case "texts":
            # A list that takes little room, with suggestions, to which anything can be added.
            select = _dropdown(option.default)
            select["multiple"] = select["custom_value"] = True
        case _:
            select = _dropdown(option.choices)
            select["translation_key"] = option.name
    return SelectSelector(select)


def _dropdown(choices: Iterable[object]) -> SelectSelectorConfig:
    names = [str(one) for one in choices]
    return SelectSelectorConfig(options=names, mode=SelectSelectorMode.DROPDOWN)
