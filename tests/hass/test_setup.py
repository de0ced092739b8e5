"""Setting an entry up, in every state the endpoint can be in, and taking it down again."""

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry


async def test_entry_is_set_up_and_unloaded(hass: HomeAssistant, worker, set_up) -> None:
    """A Worker in good health gives an available entity, and unloading leaves nothing."""
    entry: MockConfigEntry = await set_up(worker)
    assert entry.state is ConfigEntryState.LOADED
    assert hass.states.get("stt.deepgram_flux").state == "unknown"
    assert await hass.config_entries.async_unload(entry.entry_id)
    assert entry.state is ConfigEntryState.NOT_LOADED
