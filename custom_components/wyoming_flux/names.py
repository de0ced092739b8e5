"""The names of this home, collected whenever they change, so that a turn finds them ready."""

import logging
from collections.abc import Callable
from typing import Any, Final

from homeassistant.components.homeassistant.const import DATA_EXPOSED_ENTITIES
from homeassistant.components.homeassistant.exposed_entities import (
    async_listen_entity_updates,
    async_should_expose,
)
from homeassistant.const import EVENT_STATE_CHANGED
from homeassistant.core import CALLBACK_TYPE, Event, EventStateChangedData, HomeAssistant, callback
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.helpers import intent
from homeassistant.helpers.debounce import Debouncer

from wyoming_flux.names import Place, Thing, rank, short_name

_LOGGER: Final = logging.getLogger(__name__)

SETTLE: Final = 2.0
"""Seconds that changes are gathered for: a start or a rename fires hundreds of events."""

_ASSISTANT: Final = "conversation"
_ENTITY_FIELDS: Final = frozenset({"aliases", "area_id", "device_id", "name", "original_name"})
_DEVICE_FIELDS: Final = frozenset({"area_id", "name", "name_by_user", "parent_device_id"})


class HomeNames:
    """The ranked names of this home, kept fresh."""

    def __init__(self, hass: HomeAssistant, changed: Callable[[], None]) -> None:
        """Take whom to tell when :attr:`names` are others than before."""
        self.names: tuple[str, ...] = ()
        self._hass = hass
        self._changed = changed
        self._unsubscribe: list[CALLBACK_TYPE] = []
        self._refresh = Debouncer[None](
            hass, _LOGGER, cooldown=SETTLE, immediate=False, function=self._collect
        )

    @callback
    def async_start(self) -> None:
        """Collect the names now, and again after every change that may matter."""
        listen = self._hass.bus.async_listen
        self._unsubscribe = [
            listen(ar.EVENT_AREA_REGISTRY_UPDATED, self._event),
            listen(fr.EVENT_FLOOR_REGISTRY_UPDATED, self._event),
            listen(er.EVENT_ENTITY_REGISTRY_UPDATED, self._event, event_filter=_entity_matters),
            listen(dr.EVENT_DEVICE_REGISTRY_UPDATED, self._event, event_filter=_device_matters),
            listen(EVENT_STATE_CHANGED, self._event, event_filter=_came_or_went),
        ]
        if DATA_EXPOSED_ENTITIES in self._hass.data:
            self._unsubscribe.append(
                async_listen_entity_updates(
                    self._hass, _ASSISTANT, self._refresh.async_schedule_call
                )
            )
        self._collect()

    @callback
    def async_stop(self) -> None:
        """Listen no longer."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()
        self._refresh.async_shutdown()

    @callback
    def _event(self, _event: Event[Any]) -> None:
        self._refresh.async_schedule_call()

    @callback
    def _collect(self) -> None:
        names = collect(self._hass)
        if names != self.names:
            self.names = names
            self._changed()


@callback
def collect(hass: HomeAssistant) -> tuple[str, ...]:
    """Return the ranked names of what is exposed to Assist in this Home Assistant."""
    if DATA_EXPOSED_ENTITIES not in hass.data:
        return ()  # nothing can be exposed before the core integration is there
    entities = er.async_get(hass)
    things: list[Thing] = []
    for state in hass.states.async_all():
        if not async_should_expose(hass, _ASSISTANT, state.entity_id):
            continue
        entry = entities.async_get(state.entity_id)
        names = tuple(intent.async_get_entity_aliases(hass, entry, state=state))
        if entry is None:
            things.append(Thing(state.domain, names))
            continue
        # Where the user took the name off the list, its short form is not wanted either.
        short = _short_name(hass, entry) if er.COMPUTED_NAME in entry.aliases else ""
        area_id = er.async_get_effective_area_id(hass, entry)
        things.append(Thing(state.domain, names, short, area_id))
    return rank(
        [
            Place(area.id, (area.name, *sorted(area.aliases)), area.floor_id)
            for area in ar.async_get(hass).areas.values()
        ],
        [
            Place(floor.floor_id, (floor.name, *sorted(floor.aliases)))
            for floor in fr.async_get(hass).floors.values()
        ],
        things,
    )


@callback
def _short_name(hass: HomeAssistant, entry: er.RegistryEntry) -> str:
    """Return an entity's name without that of its device; "" if it has none of its own."""
    device = dr.async_get(hass).async_get(entry.device_id) if entry.device_id else None
    device_name = (device.name_by_user or device.name or "") if device is not None else ""
    return short_name(entry.name or entry.original_name or "", device_name)


@callback
def _entity_matters(data: er.EventEntityRegistryUpdatedData) -> bool:
    return data["action"] == "update" and not _ENTITY_FIELDS.isdisjoint(data["changes"])


@callback
def _device_matters(data: dr.EventDeviceRegistryUpdatedData) -> bool:
    return data["action"] == "update" and not _DEVICE_FIELDS.isdisjoint(data["changes"])


@callback
def _came_or_went(data: EventStateChangedData) -> bool:
    return data["old_state"] is None or data["new_state"] is None
