"""What all entities of an entry have in common: the device."""

from homeassistant.helpers.device_registry import DeviceEntryType, DeviceInfo
from homeassistant.helpers.entity import Entity

from wyoming_flux import __version__

from .const import DOMAIN
from .data import FluxConfigEntry


class FluxEntity(Entity):
    """An entity of one way to Flux."""

    _attr_has_entity_name = True
    _attr_should_poll = False

    def __init__(self, entry: FluxConfigEntry, key: str | None = None) -> None:
        """Take the entry, and the key if this is not its main entity."""
        self._data = entry.runtime_data
        self._attr_unique_id = entry.entry_id if key is None else f"{entry.entry_id}_{key}"
        self._attr_device_info = DeviceInfo(
            identifiers={(DOMAIN, entry.entry_id)},
            entry_type=DeviceEntryType.SERVICE,
            manufacturer="Deepgram",
            model="Flux",
            model_id=self._data.settings.model,
            name=entry.title,
            sw_version=__version__,
        )
