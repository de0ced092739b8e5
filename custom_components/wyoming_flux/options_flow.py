"""Everything but URL and token, changed at any time."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import voluptuous as vol
from homeassistant.config_entries import ConfigFlowResult, OptionsFlowWithReload
from homeassistant.data_entry_flow import section
from homeassistant.helpers.selector import (
    BooleanSelector,
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TextSelector,
    TextSelectorConfig,
)

from wyoming_flux.errors import InvalidSetting
from wyoming_flux.flux import Endpoint, Route
from wyoming_flux.settings import (
    EAGER_EOT_THRESHOLD_RANGE,
    EOT_THRESHOLD_RANGE,
    EOT_TIMEOUT_MS_RANGE,
    MAX_TURN_RANGE,
    MODELS,
    NO_SPEECH_TIMEOUT_RANGE,
    SAMPLE_RATES,
    SENSITIVITIES,
)

from . import options as opt
from .check import Fault, keyterm_fault, plain_fault, setting_fault
from .const import (
    CONF_DAILY_MINUTES,
    CONF_EAGER_EOT_THRESHOLD,
    CONF_ENHANCED_AUDIO,
    CONF_EOT_THRESHOLD,
    CONF_EOT_TIMEOUT_MS,
    CONF_EXPERT,
    CONF_EXTERNAL_VAD,
    CONF_HOME_NAMES,
    CONF_KEYTERMS,
    CONF_MAX_TURN,
    CONF_MIP_OPT_OUT,
    CONF_MODEL,
    CONF_NETWORK,
    CONF_NO_SPEECH_TIMEOUT,
    CONF_SAMPLE_RATE,
    CONF_SENSITIVITY,
    CONF_SERVE,
    CONF_SERVE_PORT,
    CONF_WAKE_PHRASES,
    CONF_WORKER_URL,
    DOCUMENTATION,
)
from .data import FluxConfigEntry

_EXPERT: Final = (CONF_EOT_THRESHOLD, CONF_EAGER_EOT_THRESHOLD, CONF_EOT_TIMEOUT_MS)
_SECTIONS: Final = (CONF_EXPERT, CONF_NETWORK)
_PORT_RANGE: Final = (1024, 65535)
_MINUTES_A_DAY: Final = 24 * 60


class FluxOptionsFlow(OptionsFlowWithReload):
    """One form; Home Assistant reloads the entry when something was changed."""

    config_entry: FluxConfigEntry

    async def async_step_init(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show what is set and take what is changed."""
        fault: Fault | None = None
        shown = opt.complete(self.config_entry.options)
        if user_input is not None:
            shown = flatten(user_input)
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

    def _fault(self, chosen: Mapping[str, Any]) -> Fault | None:
        if (fault := keyterm_fault(chosen[CONF_KEYTERMS])) is not None:
            return fault
        try:
            settings = opt.flux_settings(chosen, opt.keyterms(chosen).terms)
            opt.turn_settings(chosen)
        except InvalidSetting as err:
            return setting_fault(err, url=self.config_entry.data[CONF_WORKER_URL], options=chosen)
        # Known without asking again: the entry in use has seen the endpoint.
        data = getattr(self.config_entry, "runtime_data", None)
        if data is not None and data.connector.plain:
            return plain_fault(settings)
        return None


def options_schema(values: Mapping[str, Any], *, multilingual: bool) -> vol.Schema:
    """Return the form; ``multilingual`` adds the choice of a model, which only Deepgram has."""
    expert: dict[vol.Marker, object] = {
        vol.Optional(CONF_EOT_THRESHOLD): _number(EOT_THRESHOLD_RANGE, step=0.01),
        vol.Optional(CONF_EAGER_EOT_THRESHOLD): _number(EAGER_EOT_THRESHOLD_RANGE, step=0.01),
        vol.Optional(CONF_EOT_TIMEOUT_MS): _number(EOT_TIMEOUT_MS_RANGE, step=100, unit="ms"),
    }
    if multilingual:
        expert[vol.Required(CONF_MODEL)] = _select(MODELS, CONF_MODEL)
    network = {
        vol.Required(CONF_SERVE): BooleanSelector(),
        vol.Required(CONF_SERVE_PORT): _number(_PORT_RANGE, step=1),
    }
    return vol.Schema(
        {
            vol.Required(CONF_SAMPLE_RATE): _select(
                [str(rate) for rate in SAMPLE_RATES], CONF_SAMPLE_RATE
            ),
            vol.Optional(CONF_KEYTERMS): TextSelector(TextSelectorConfig(multiple=True)),
            vol.Required(CONF_HOME_NAMES): BooleanSelector(),
            vol.Required(CONF_SENSITIVITY): _select(SENSITIVITIES, CONF_SENSITIVITY),
            vol.Required(CONF_NO_SPEECH_TIMEOUT): _number(
                NO_SPEECH_TIMEOUT_RANGE, step=0.5, unit="s"
            ),
            vol.Required(CONF_MAX_TURN): _number(MAX_TURN_RANGE, step=1, unit="s"),
            vol.Optional(CONF_WAKE_PHRASES): _chips(opt.DEFAULTS[CONF_WAKE_PHRASES]),
            vol.Optional(CONF_DAILY_MINUTES): _number((1, _MINUTES_A_DAY), step=1, unit="min"),
            vol.Required(CONF_MIP_OPT_OUT): BooleanSelector(),
            vol.Required(CONF_ENHANCED_AUDIO): BooleanSelector(),
            vol.Required(CONF_EXTERNAL_VAD): BooleanSelector(),
            vol.Required(CONF_NETWORK): section(
                vol.Schema(network), {"collapsed": not values[CONF_SERVE]}
            ),
            vol.Required(CONF_EXPERT): section(
                # Open where something is set, or was set wrongly.
                vol.Schema(expert),
                {"collapsed": all(values[key] is None for key in _EXPERT)},
            ),
        }
    )


def flatten(user_input: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as they are stored: no sections, whole numbers whole, terms clean."""
    flat = {key: value for key, value in user_input.items() if key not in _SECTIONS}
    for name in _SECTIONS:
        flat |= user_input.get(name, {})
    for key in (CONF_KEYTERMS, CONF_WAKE_PHRASES):
        # A list that was emptied does not arrive at all.
        flat[key] = opt.clean_terms(flat.get(key, []))
    for key in (CONF_EOT_TIMEOUT_MS, CONF_SERVE_PORT):
        if flat.get(key) is not None:
            flat[key] = int(flat[key])
    return opt.complete(flat)


def nest(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as the form holds them, without those that are not set."""
    known = {key: value for key, value in options.items() if value is not None}
    expert = (*_EXPERT, CONF_MODEL)
    network = (CONF_SERVE, CONF_SERVE_PORT)
    return {
        **known,
        CONF_EXPERT: {key: known[key] for key in expert if key in known},
        CONF_NETWORK: {key: known[key] for key in network if key in known},
    }


def _number(limits: tuple[float, float], *, step: float, unit: str | None = None) -> NumberSelector:
    config = NumberSelectorConfig(
        min=limits[0], max=limits[1], step=step, mode=NumberSelectorMode.BOX
    )
    if unit is not None:
        config["unit_of_measurement"] = unit
    return NumberSelector(config)


def _chips(suggestions: list[str]) -> SelectSelector:
    """Return a list that takes little room, with suggestions, to which anything can be added."""
    return SelectSelector(
        SelectSelectorConfig(
            options=suggestions,
            multiple=True,
            custom_value=True,
            mode=SelectSelectorMode.DROPDOWN,
        )
    )


def _select(names: Iterable[str], translation_key: str) -> SelectSelector:
    return SelectSelector(
        SelectSelectorConfig(
            options=list(names),
            mode=SelectSelectorMode.DROPDOWN,
            translation_key=translation_key,
        )
    )
