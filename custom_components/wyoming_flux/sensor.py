"""What a person may want to see: minutes, response time, last error."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, override

from homeassistant.components.sensor import (
    SensorDeviceClass,
    SensorEntity,
    SensorEntityDescription,
    SensorStateClass,
)
from homeassistant.const import EntityCategory, UnitOfTime
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.helpers.typing import StateType

from .data import FluxConfigEntry, FluxData
from .entity import FluxEntity

PARALLEL_UPDATES: Final = 0

ERROR_CODES: Final = (
    "auth",
    "connection_lost",
    "endpoint_not_found",
    "internal",
    "invalid_audio",
    "not_flux",
    "payment",
    "quota",
    "refused",
    "timeout",
    "unreachable",
)


@dataclass(frozen=True, kw_only=True)
class FluxSensorDescription(SensorEntityDescription):
    """A sensor, and where its value is."""

    value: Callable[[FluxData], StateType]
    attributes: Callable[[FluxData], dict[str, StateType] | None] = lambda _: None


def _guesses(data: FluxData) -> dict[str, StateType] | None:
    """Tell how good an early guess was, where they were asked for."""
    report = data.health.last_report
    if data.settings.eager_eot_threshold is None or report is None:
        return None
    earlier = report.guess_ms
    return {
        "early_guess_ms": None if earlier is None else round(earlier),
        "early_guess_wrong": report.guess_wrong,
    }


SENSORS: Final = (
    FluxSensorDescription(
        key="minutes_today",
        translation_key="minutes_today",
        device_class=SensorDeviceClass.DURATION,
        state_class=SensorStateClass.TOTAL_INCREASING,
        native_unit_of_measurement=UnitOfTime.MINUTES,
        suggested_display_precision=1,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda data: round(data.usage.seconds / 60, 3),
    ),
    FluxSensorDescription(
        key="response_time",
        translation_key="response_time",
        device_class=SensorDeviceClass.DURATION,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfTime.MILLISECONDS,
        suggested_display_precision=0,
        entity_category=EntityCategory.DIAGNOSTIC,
        value=lambda data: data.health.last_response_ms and round(data.health.last_response_ms),
        attributes=_guesses,
    ),
    FluxSensorDescription(
        key="last_error",
        translation_key="last_error",
        device_class=SensorDeviceClass.ENUM,
        options=list(ERROR_CODES),
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
        value=lambda data: data.health.last_error and data.health.last_error.replace("-", "_"),
    ),
)


async def async_setup_entry(
    _hass: HomeAssistant,
    entry: FluxConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Make the sensors of an entry."""
    async_add_entities(FluxSensor(entry, description) for description in SENSORS)


class FluxSensor(FluxEntity, SensorEntity):
    """One value of an entry, told when it changes."""

    def __init__(self, entry: FluxConfigEntry, description: FluxSensorDescription) -> None:
        """Take the entry and what to show of it."""
        super().__init__(entry, description.key)
        self.entity_description = description
        self._value = description.value
        self._attributes = description.attributes

    @property
    @override
    def native_value(self) -> StateType:
        """Return the value as it is now."""
        return self._value(self._data)

    @property
    @override
    def extra_state_attributes(self) -> dict[str, StateType] | None:
        """Return what belongs to the value."""
        return self._attributes(self._data)

    @override
    async def async_added_to_hass(self) -> None:
        """Listen to where the values come from."""
        self.async_on_remove(self._data.usage.async_listen(self.async_write_ha_state))
        self.async_on_remove(self._data.health.async_listen(self.async_write_ha_state))
