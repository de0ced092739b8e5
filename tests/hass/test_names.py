"""The names of the home: where they are found, and how they stay fresh."""

from datetime import timedelta

import pytest
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import floor_registry as fr
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_fire_time_changed

from custom_components.wyoming_flux.names import SETTLE, collect
from tests.support.paper_home import USUAL

ASSISTANT = "conversation"


@pytest.fixture
async def home(hass: HomeAssistant) -> MockConfigEntry:
    """A floor, two areas, a lamp, a heater with a power switch, and a hidden sensor."""
    await async_setup_component(hass, "homeassistant", {})
    owner = MockConfigEntry(domain="test")
    owner.add_to_hass(hass)
    floor = fr.async_get(hass).async_create("Ground floor")
    areas = ar.async_get(hass)
    kitchen = areas.async_create("Kitchen", aliases={"Galley"}, floor_id=floor.floor_id)
    areas.async_create("Attic")
    devices = dr.async_get(hass)
    heater = devices.async_get_or_create(
        config_entry_id=owner.entry_id, identifiers={("test", "heater")}, name="Ecobee"
    )
    devices.async_update_device(heater.id, area_id=kitchen.id)
    entities = er.async_get(hass)
    entities.async_get_or_create(
        "switch",
        "test",
        "power",
        config_entry=owner,
        device_id=heater.id,
        has_entity_name=True,
        original_name="Boost mode",
        suggested_object_id="power",
    )
    entities.async_get_or_create(
        "light", "test", "lamp", original_name="Incubi lamp", suggested_object_id="lamp"
    )
    entities.async_update_entity("light.lamp", aliases=[er.COMPUTED_NAME, "Reading light"])
    entities.async_get_or_create("sensor", "test", "s", original_name="Secret thing")
    for entity_id in ("switch.power", "light.lamp", "sensor.test_s"):
        hass.states.async_set(entity_id, "on", {"friendly_name": "unused"})
    for entity_id in ("switch.power", "light.lamp"):
        async_expose_entity(hass, ASSISTANT, entity_id, True)
    async_expose_entity(hass, ASSISTANT, "sensor.test_s", False)
    return owner


async def test_names_of_a_home(hass: HomeAssistant, home: MockConfigEntry) -> None:
    """What is exposed, with and without the device's name, its aliases, its area and floor."""
    assert collect(hass) == USUAL


@pytest.mark.parametrize(("own", "short"), [("Ecobee fan", "fan"), ("Ecobee", None)])
async def test_names_with_and_without_the_device(
    hass: HomeAssistant, home: MockConfigEntry, own: str, short: str | None
) -> None:
    """Whether an integration puts the device's name in front itself or not."""
    (heater,) = dr.async_entries_for_config_entry(dr.async_get(hass), home.entry_id)
    er.async_get(hass).async_get_or_create(
        "vacuum",
        "test",
        "fan",
        config_entry=home,
        device_id=heater.id,
        original_name=own,
        suggested_object_id="fan",
    )
    hass.states.async_set("vacuum.fan", "on")
    async_expose_entity(hass, ASSISTANT, "vacuum.fan", True)
    found = collect(hass)[7:]
    assert found[-1] == (short if short is not None else found[0])
    assert "Ecobee" in found[0]


async def test_name_that_was_taken_off(hass: HomeAssistant, home: MockConfigEntry) -> None:
    """Where the user left only aliases, neither the name nor its short form is told."""
    er.async_get(hass).async_update_entity("switch.power", aliases=["Turbo"])
    found = collect(hass)
    assert "Turbo" in found
    assert "Boost mode" not in found
    assert "Ecobee Boost mode" not in found


async def test_things_without_a_registry_entry(hass: HomeAssistant, home: MockConfigEntry) -> None:
    """Things from YAML have a name, too."""
    hass.states.async_set("script.movie", "off", {"friendly_name": "Movie night"})
    async_expose_entity(hass, ASSISTANT, "script.movie", True)
    assert "Movie night" in collect(hass)


async def test_before_home_assistant_is_ready(hass: HomeAssistant) -> None:
    """Without the core integration nothing is exposed, and nothing fails."""
    assert collect(hass) == ()


def told(worker) -> list[str]:
    """Return the key terms of the last stream."""
    return [term for name, term in worker.connections[-1].query if name == "keyterm"]


async def test_names_reach_flux(
    hass: HomeAssistant, home: MockConfigEntry, start_worker, set_up, audio, hear
) -> None:
    """The configured terms first, then the names of the home."""
    worker = await start_worker(ingest_rate=0)
    await set_up(worker, {"home_names": True, "keyterms": ["Jellyfin"]})
    await hear(audio.chunks(audio.sentence()))
    assert told(worker)[:2] == ["Jellyfin", "Kitchen"]
    assert "Ecobee Boost mode" in told(worker)
    assert "Secret thing" not in told(worker)


async def test_nothing_is_sent_when_off(
    hass: HomeAssistant, home: MockConfigEntry, start_worker, set_up, audio, hear
) -> None:
    """With the option off not one name leaves the house, nor is one collected."""
    worker = await start_worker(ingest_rate=0)
    entry = await set_up(worker, {"home_names": False})
    await hear(audio.chunks(audio.sentence()))
    assert all("keyterm" not in dict(one.query) for one in worker.connections)
    assert entry.runtime_data.names.names == ()


@pytest.mark.parametrize(
    "change", ["rename", "alias", "area", "floor", "device", "expose", "add", "remove"]
)
async def test_changes_are_noticed(
    hass: HomeAssistant, home: MockConfigEntry, worker, set_up, freezer, change: str
) -> None:
    """After any change of names the next turn knows them, without a reload."""
    entry = await set_up(worker, {"home_names": True})
    before = entry.runtime_data.settings.keyterms
    entities = er.async_get(hass)
    match change:
        case "rename":
            entities.async_update_entity("light.lamp", name="Sun")
        case "alias":
            entities.async_update_entity("light.lamp", aliases=[er.COMPUTED_NAME, "Moon"])
        case "area":
            ar.async_get(hass).async_update("kitchen", name="Scullery")
        case "floor":
            fr.async_get(hass).async_update("ground_floor", name="Parterre")
        case "device":
            devices = dr.async_get(hass)
            (heater,) = dr.async_entries_for_config_entry(devices, home.entry_id)
            devices.async_update_device(heater.id, name_by_user="Nest")
        case "expose":
            async_expose_entity(hass, ASSISTANT, "sensor.test_s", True)
        case "add":
            hass.states.async_set("light.new", "on", {"friendly_name": "Comet"})
        case "remove":
            hass.states.async_remove("light.lamp")
    # Nothing is computed in the way of a turn: only once things have settled.
    assert entry.runtime_data.settings.keyterms == before
    freezer.tick(timedelta(seconds=SETTLE + 0.1))
    async_fire_time_changed(hass)
    await hass.async_block_till_done()
    assert entry.runtime_data.settings.keyterms != before


@pytest.mark.parametrize("token", ["door-opener", "expired"])
async def test_nobody_listens_afterwards(
    hass: HomeAssistant, home: MockConfigEntry, worker, set_up, token: str
) -> None:
    """After unloading, or a set-up that failed, changes of names move nothing."""
    before = hass.bus.async_listeners()
    entry = await set_up(worker, {"home_names": True}, token=token)
    if token == "door-opener":
        assert hass.bus.async_listeners() != before
        assert await hass.config_entries.async_unload(entry.entry_id)
    left = hass.bus.async_listeners()
    registries = [name for name in left if name.endswith("_registry_updated")]
    assert {name: left[name] for name in registries} == {
        name: before.get(name, 0) for name in registries
    }
    # A listener that was left would begin to wait for the change to settle.
    hass.states.async_set("light.late", "on")
    await hass.async_block_till_done()


async def test_too_many_terms_are_counted(
    hass: HomeAssistant, home: MockConfigEntry, worker, set_up, caplog: pytest.LogCaptureFixture
) -> None:
    """What does not fit is counted and said once, without the names."""
    entry = await set_up(
        worker, {"home_names": True, "keyterms": [f"term {n}" for n in range(100)]}
    )
    assert len(entry.runtime_data.settings.keyterms) == 100
    assert entry.runtime_data.keyterms_cut == 7
    assert caplog.text.count("7 key terms do not fit") == 1
    assert "Kitchen" not in caplog.text
