"""The last turns: kept on request, shown to administrators alone, told without what was said."""

import html
import json
import re
from datetime import datetime
from pathlib import Path

import pytest
from homeassistant.components.diagnostics import DOMAIN as DIAGNOSTICS
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.components.diagnostics import (
    get_diagnostics_for_config_entry,
)
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.wyoming_flux import last_turns


@pytest.fixture(autouse=True)
def _own_cache(hass: HomeAssistant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache folder of its own: that of the test helpers is shared by all."""
    monkeypatch.setattr(hass.config, "cache_path", lambda *path: str(tmp_path.joinpath(*path)))


def records(hass: HomeAssistant, entry) -> list[Path]:
    """Return what is kept."""
    return sorted(last_turns.folder(hass, entry).glob("*.jsonl"))


async def test_nothing_is_kept_unless_asked(
    hass: HomeAssistant, start_worker, set_up, audio, hear
) -> None:
    """A turn leaves nothing behind, and Configure is the form alone."""
    entry = await set_up(await start_worker(ingest_rate=0))
    await hear(audio.chunks(audio.sentence()))
    assert not records(hass, entry)
    result = await hass.config_entries.options.async_init(entry.entry_id)
    assert result["type"] is FlowResultType.FORM
    assert result["step_id"] == "init"


async def test_last_turns_in_configure(
    hass: HomeAssistant,
    start_worker,
    set_up,
    audio,
    hear,
    eventually,
    hass_client: ClientSessionGenerator,
    hass_client_no_auth: ClientSessionGenerator,
    hass_read_only_access_token: str,
) -> None:
    """Configure lists what was kept; a link opens the page, and nobody else can."""
    entry = await set_up(await start_worker(ingest_rate=0), {"keep_turns": 2})
    for _ in range(3):
        await hear(audio.chunks(audio.sentence()))
    await eventually(lambda: not entry.runtime_data.running)
    await hass.config_entries.async_unload(entry.entry_id)
    assert len(records(hass, entry)) == 2
    assert "www" not in last_turns.folder(hass, entry).parts
    assert await hass.config_entries.async_setup(entry.entry_id)
    # As the frontend does it: who asks is whom the links are signed for.
    assert await async_setup_component(hass, "config", {})
    admin = await hass_client()
    flows = "/api/config/config_entries/options/flow"
    result = await (await admin.post(flows, json={"handler": entry.entry_id})).json()
    assert result["type"] == FlowResultType.MENU
    flow = f"{flows}/{result['flow_id']}"
    result = await (await admin.post(flow, json={"next_step_id": "last_turns"})).json()
    turns = result["description_placeholders"]["turns"]
    links = re.findall(r'href="([^"]+)"', turns)
    assert len(links) == 2
    # By the clock of the home, and why each was answered, not what was said.
    header = json.loads(records(hass, entry)[-1].read_text("utf-8").partition("\n")[0])
    began = dt_util.as_local(datetime.fromisoformat(header["began"]))
    assert f"{began:%Y-%m-%d %H:%M:%S}: Answered " in turns
    assert "because the client had ended its audio." in turns
    assert "living room" not in turns
    stranger = await hass_client_no_auth()
    page = await stranger.get(links[0])
    assert page.status == 200
    assert page.headers["Cache-Control"] == "no-store"
    assert "living room" in await page.text()
    bare = links[0].partition("?")[0]
    assert (await stranger.get(bare)).status == 401
    reader = await hass_client(hass_read_only_access_token)
    assert (await reader.get(bare)).status == 401
    assert (await admin.get(bare)).status == 200
    folder, _, _ = bare.rpartition("/")
    for name in ("other", "..%2F..%2Fsecrets", "flux-*"):
        # Home Assistant itself refuses a path in a name.
        assert (await admin.get(f"{folder}/{name}")).status in (400, 404)
    result = await (await admin.post(flow, json={})).json()
    assert result["step_id"] == "init"


async def test_switched_off_what_was_kept_is_removed(
    hass: HomeAssistant, start_worker, set_up, audio, hear, eventually
) -> None:
    """Whoever wants none kept has none; nor after the entry is removed."""
    entry = await set_up(await start_worker(ingest_rate=0), {"keep_turns": 5})
    await hear(audio.chunks(audio.sentence()))
    await eventually(lambda: not entry.runtime_data.running)
    await hass.config_entries.async_unload(entry.entry_id)
    assert records(hass, entry)
    hass.config_entries.async_update_entry(entry, options={**entry.options, "keep_turns": 0})
    assert await hass.config_entries.async_setup(entry.entry_id)
    assert not last_turns.folder(hass, entry).exists()


async def test_diagnostics_tell_the_story(
    hass: HomeAssistant,
    start_worker,
    set_up,
    audio,
    hear,
    eventually,
    hass_client: ClientSessionGenerator,
) -> None:
    """The story of the last turn helps to find a fault, and holds neither text nor host."""
    worker = await start_worker(ingest_rate=0)
    entry = await set_up(worker, {"keep_turns": 1})
    await hear(audio.chunks(audio.sentence()))
    await eventually(lambda: not entry.runtime_data.running)
    await hass.config_entries.async_unload(entry.entry_id)
    assert await hass.config_entries.async_setup(entry.entry_id)
    assert await async_setup_component(hass, DIAGNOSTICS, {})
    found = await get_diagnostics_for_config_entry(hass, hass_client, entry)
    assert found["last_turn"]["outcome"]
    assert found["last_turn"]["story"]
    text = json.dumps(found)
    for secret in ("door-opener", worker.url, "127.0.0.1", "living room"):
        assert secret not in text


async def test_sensor_tells_of_early_guesses(
    hass: HomeAssistant, start_worker, set_up, audio, hear
) -> None:
    """With a confidence for early guesses the response time says how good they were."""
    await set_up(await start_worker(ingest_rate=0), {"eager_eot_threshold": 0.3})
    await hear(audio.chunks(audio.sentence()))
    await hass.async_block_till_done()
    (state,) = [one for one in hass.states.async_all() if one.entity_id.endswith("response_time")]
    assert "early_guess_ms" in state.attributes
    assert state.attributes["early_guess_wrong"] is False


def test_a_story_is_text_alone() -> None:
    """What an endpoint says of a fault cannot become a link or a tag in the list."""
    said = 'it said: <a href="x">*no*</a> [x](y) a_b'
    shown = last_turns._plain(said)
    assert not set(shown) & set('<>*[]_="')
    assert html.unescape(shown) == said
