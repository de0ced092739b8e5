"""Sensors, repair issues, and the minutes of the day."""

from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.config_entries import ConfigEntryDisabler
from homeassistant.const import Platform
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import (
    async_fire_time_changed,
    snapshot_platform,
)
from syrupy.assertion import SnapshotAssertion

from wyoming_flux.simulator import faults

ENTRY_ID = "01JTEST00000000000000000FX"
STORED = f"wyoming_flux.{ENTRY_ID}"
MINUTES = "sensor.deepgram_flux_minutes_today"
RESPONSE = "sensor.deepgram_flux_last_response_time"
ERROR = "sensor.deepgram_flux_last_error"


def issues(hass: HomeAssistant) -> set[str]:
    """Return the translation keys of our repair issues."""
    return {
        str(issue.translation_key)
        for (domain, _), issue in ir.async_get(hass).issues.items()
        if domain == "wyoming_flux"
    }


@pytest.mark.parametrize("platform", [Platform.SENSOR, Platform.STT])
@pytest.mark.usefixtures("entity_registry_enabled_by_default")
async def test_entities(
    hass: HomeAssistant,
    worker,
    set_up,
    platform: Platform,
    entity_registry: er.EntityRegistry,
    snapshot: SnapshotAssertion,
) -> None:
    """What entities there are, and what they look like before anybody has spoken."""
    with patch("custom_components.wyoming_flux.PLATFORMS", (platform,)):
        await set_up(worker)
    await snapshot_platform(hass, entity_registry, snapshot, ENTRY_ID)


async def test_last_error_is_disabled_by_default(hass: HomeAssistant, worker, set_up) -> None:
    """Most people never need it."""
    await set_up(worker)
    entry = er.async_get(hass).async_get(ERROR)
    assert entry is not None
    assert entry.disabled_by is er.RegistryEntryDisabler.INTEGRATION
    assert hass.states.get(ERROR) is None


async def test_turn_shows_in_the_sensors(
    hass: HomeAssistant, start_worker, set_up, audio, hear
) -> None:
    """A turn costs what Flux was sent, and took as long as the person waited."""
    worker = await start_worker(ingest_rate=0)
    entry = await set_up(worker)
    await hear(audio.microphone(audio.tone(1.6)))
    sent = worker.connections[-1].audio_bytes / 32000
    assert float(hass.states.get(MINUTES).state) == pytest.approx(sent / 60, abs=0.001)
    # The simulator needs 320 ms of audio, and that audio came faster than real time.
    assert 0 < float(hass.states.get(RESPONSE).state) < 2000
    assert entry.runtime_data.usage.seconds == pytest.approx(sent)


@pytest.mark.usefixtures("entity_registry_enabled_by_default")
async def test_error_shows_in_its_sensor(hass: HomeAssistant, worker, set_up, audio, hear) -> None:
    """The last error stays to be seen, each code with a text of its own."""
    await set_up(worker)
    assert hass.states.get(ERROR).state == "unknown"
    worker.faults.append(faults.Refuse(status=404, body="error code: 1042"))
    await hear(audio.microphone(audio.tone(1)))
    assert hass.states.get(ERROR).state == "endpoint_not_found"
    worker.faults.clear()
    await hear(audio.microphone(audio.tone(1.6)))
    assert hass.states.get(ERROR).state == "endpoint_not_found"


async def test_minutes_survive_a_restart(
    hass: HomeAssistant,
    worker,
    set_up,
    hass_storage: dict[str, Any],
    freezer: FrozenDateTimeFactory,
) -> None:
    """What was counted before a restart counts on the same day, in UTC, and not on the next."""
    freezer.move_to("2026-11-22T22:00:00Z")
    hass_storage[STORED] = {
        "version": 1,
        "key": STORED,
        "data": {"day": "2026-11-22", "seconds": 90.0},
    }
    entry = await set_up(worker)
    assert float(hass.states.get(MINUTES).state) == 1.5
    entry.runtime_data.usage.add(30)
    assert float(hass.states.get(MINUTES).state) == 2.0
    assert await hass.config_entries.async_unload(entry.entry_id)
    assert hass_storage[STORED]["data"] == {"day": "2026-11-22", "seconds": 120.0}

    freezer.move_to("2026-11-23T00:30:00Z")
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    assert float(hass.states.get(MINUTES).state) == 0


@pytest.mark.parametrize(
    "stored", [{"day": "2026-11-22", "seconds": -1}, {"day": 7}, {"seconds": "many"}]
)
async def test_stored_minutes_are_broken(
    hass: HomeAssistant,
    worker,
    set_up,
    hass_storage: dict[str, Any],
    stored: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A broken file is one line in the log and no minutes, not an entry that does not load."""
    hass_storage[STORED] = {"version": 1, "key": STORED, "data": stored}
    await set_up(worker)
    assert float(hass.states.get(MINUTES).state) == 0
    assert "minutes used today cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("fault", "issue"),
    [
        (faults.Refuse(status=429, code="3036"), "quota"),
        (faults.Refuse(status=402, body=""), "payment"),
    ],
)
async def test_account_needs_attention(
    hass: HomeAssistant, worker, set_up, audio, fault: faults.Refuse, issue: str, hear
) -> None:
    """What only the account's owner can mend is a repair issue until it is mended."""
    entry = await set_up(worker)
    assert issues(hass) == set()
    worker.faults.append(fault)
    await hear(audio.microphone(audio.tone(1)))
    assert issues(hass) == {issue}
    worker.faults.clear()
    await hear(audio.microphone(audio.tone(1.6)))
    assert issues(hass) == set()

    worker.faults.append(fault)
    await hear(audio.microphone(audio.tone(1)))
    assert issues(hass) == {issue}
    await hass.config_entries.async_remove(entry.entry_id)
    assert issues(hass) == set()


async def test_ignored_issue_stays_ignored(
    hass: HomeAssistant, worker, set_up, audio, hear
) -> None:
    """A change of options loads the entry again, which is no reason to show the issue again."""
    entry = await set_up(worker)
    worker.faults.append(faults.Refuse(status=402, body=""))
    await hear(audio.microphone(audio.tone(1)))
    (known,) = ir.async_get(hass).issues.values()
    ir.async_ignore_issue(hass, "wyoming_flux", known.issue_id, True)
    await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done()
    (again,) = ir.async_get(hass).issues.values()
    assert again.dismissed_version is not None
    await hass.config_entries.async_set_disabled_by(entry.entry_id, ConfigEntryDisabler.USER)
    assert issues(hass) == set()


async def test_daily_limit_is_over_at_midnight(
    hass: HomeAssistant, worker, set_up, audio, hear, freezer: FrozenDateTimeFactory
) -> None:
    """The new day shows by itself and has minutes again: nobody has to be told any more."""
    freezer.move_to("2026-11-22T23:59:30Z")
    entry = await set_up(worker, {"daily_minutes": 1})
    entry.runtime_data.usage.add(60)
    await hear(audio.microphone(audio.tone(1)))
    assert issues(hass) == {"daily_limit"}
    assert float(hass.states.get(MINUTES).state) == 1
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    freezer.move_to(midnight)
    async_fire_time_changed(hass, midnight)
    await hass.async_block_till_done()
    assert issues(hass) == set()
    assert float(hass.states.get(MINUTES).state) == 0


async def test_daily_limit_is_an_issue_of_its_own(
    hass: HomeAssistant, worker, set_up, audio, hear
) -> None:
    """The user's own limit is not mended at the account."""
    entry = await set_up(worker, {"daily_minutes": 1})
    entry.runtime_data.usage.add(60)
    await hear(audio.microphone(audio.tone(1)))
    assert issues(hass) == {"daily_limit"}
    entry.runtime_data.usage.add(-60)
    await hear(audio.microphone(audio.tone(1.6)))
    assert issues(hass) == set()


async def test_refused_parameters_are_named(
    hass: HomeAssistant, start_worker, set_up, audio, hear
) -> None:
    """Flux works on without what it refuses, and the user learns what that is once it is sure."""
    refused = [faults.Refuse(status=400, code="5004", connection=number) for number in (1, 2, 4, 5)]
    worker = await start_worker(faults=refused)
    await set_up(worker, {"keyterms": ["Ecobee"], "home_names": False})
    assert issues(hass) == set()
    await hear(audio.microphone(audio.tone(1.6)))
    (issue,) = ir.async_get(hass).issues.values()
    assert issue.translation_key == "parameters_refused"
    assert "keyterm" in issue.translation_placeholders["parameters"]
    assert "Ecobee" not in str(issue)


async def test_plain_worker_is_an_issue(
    hass: HomeAssistant, start_worker, set_up, audio, hear
) -> None:
    """The ten-line Worker works, and the user learns what it does not do."""
    await set_up(await start_worker(plain=True), {"home_names": True})
    assert issues(hass) == {"plain_worker"}
    result = await hear(audio.microphone(audio.tone(1.6)))
    assert result.text == "turn on the living room light"
    assert issues(hass) == {"plain_worker"}
