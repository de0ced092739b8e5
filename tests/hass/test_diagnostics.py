"""Diagnostics and system health: enough to find a fault, and nothing private."""

import asyncio
import json

import pytest
from homeassistant.components.diagnostics import DOMAIN as DIAGNOSTICS
from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import get_system_health_info
from pytest_homeassistant_custom_component.components.diagnostics import (
    get_diagnostics_for_config_entry,
)
from pytest_homeassistant_custom_component.test_util.aiohttp import AiohttpClientMocker
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator
from syrupy.assertion import SnapshotAssertion
from syrupy.filters import props

from wyoming_flux import __version__


async def test_diagnostics(
    hass: HomeAssistant,
    worker,
    set_up,
    hass_client: ClientSessionGenerator,
    snapshot: SnapshotAssertion,
) -> None:
    """What a user attaches to an issue."""
    entry = await set_up(worker, {"keyterms": ["Ecobee"], "wake_phrases": ["hey honey"]})
    assert await async_setup_component(hass, DIAGNOSTICS, {})
    found = await get_diagnostics_for_config_entry(hass, hass_client, entry)
    assert found.pop("library") == __version__
    assert found == snapshot(exclude=props("created_at", "modified_at"))


@pytest.mark.parametrize("how", ["unloaded", "not set up"])
async def test_diagnostics_without_a_loaded_entry(
    hass: HomeAssistant, worker, set_up, hass_client: ClientSessionGenerator, how: str
) -> None:
    """Whoever cannot set it up needs them most."""
    entry = await set_up(worker, token="door-opener" if how == "unloaded" else "wrong")
    if how == "unloaded":
        assert await hass.config_entries.async_unload(entry.entry_id)
    assert await async_setup_component(hass, DIAGNOSTICS, {})
    found = await get_diagnostics_for_config_entry(hass, hass_client, entry)
    assert found["state"] == ("not_loaded" if how == "unloaded" else "setup_error")
    assert "door-opener" not in json.dumps(found)
    assert "health" not in found


async def test_diagnostics_hold_nothing_private(
    hass: HomeAssistant, start_worker, set_up, audio, hear, hass_client: ClientSessionGenerator
) -> None:
    """Neither token nor address, neither names nor what was said."""
    worker = await start_worker(ingest_rate=0)
    entry = await set_up(worker, {"keyterms": ["Ecobee"], "wake_phrases": ["hey honey"]})
    hass.config_entries.async_update_entry(entry, title=f"Deepgram Flux ({worker.url})")
    await hear(audio.chunks(audio.sentence()))
    assert await async_setup_component(hass, DIAGNOSTICS, {})
    text = json.dumps(await get_diagnostics_for_config_entry(hass, hass_client, entry))
    for secret in ("door-opener", worker.url, "127.0.0.1", "Ecobee", "honey", "living room"):
        assert secret not in text


async def test_system_health(
    hass: HomeAssistant, worker, set_up, aioclient_mock: AiohttpClientMocker
) -> None:
    """The page for bug reports tells whether the endpoint can be reached."""
    aioclient_mock.get(f"{worker.url.replace('ws:', 'http:')}/health", text="ok")
    await set_up(worker)
    assert await async_setup_component(hass, "system_health", {})
    info = await get_system_health_info(hass, "wyoming_flux")
    found = {
        key: await value if asyncio.iscoroutine(value) else value for key, value in info.items()
    }
    assert found == {
        "library": __version__,
        "usable": "1 of 1",
        "minutes_today": 0.0,
        "can_reach_endpoint": "ok",
    }


async def test_system_health_without_an_entry(hass: HomeAssistant, worker, set_up) -> None:
    """Entries that are not loaded are no reason to fail."""
    entry = await set_up(worker)
    assert await hass.config_entries.async_unload(entry.entry_id)
    assert await async_setup_component(hass, "system_health", {})
    info = await get_system_health_info(hass, "wyoming_flux")
    assert info["usable"] == "0 of 0"
