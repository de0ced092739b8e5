"""The last step of the dialogue: an assistant that hears with the new engine at once."""

import pytest
from homeassistant.components.assist_pipeline.pipeline import (
    async_get_pipeline,
    async_get_pipelines,
    async_update_pipeline,
)
from homeassistant.config_entries import SOURCE_USER
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.setup import async_setup_component

DOMAIN = "wyoming_flux"
FIELDS = {"sample_rate": "16000", "home_names": False, "token": "door-opener"}


@pytest.fixture
async def assist(hass: HomeAssistant) -> None:
    """Assist with its one assistant, in English."""
    for component in ("homeassistant", "conversation", "assist_pipeline"):
        assert await async_setup_component(hass, component, {})


async def last_step(hass: HomeAssistant, url: str):
    """Walk through the dialogue up to what comes after the URL."""
    menu = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    form = await hass.config_entries.flow.async_configure(menu["flow_id"], {"next_step_id": "url"})
    return await hass.config_entries.flow.async_configure(
        form["flow_id"], {**FIELDS, "worker_url": url}
    )


@pytest.mark.parametrize("use", [True, False])
async def test_used_at_once(hass: HomeAssistant, worker, assist, use: bool) -> None:
    """The preferred assistant gets the engine, in its own language, unless that is turned off."""
    before = async_get_pipeline(hass).stt_engine
    form = await last_step(hass, worker.url)
    assert form["step_id"] == "assistant"
    proposed = {str(key): key.default() for key in form["data_schema"].schema}
    assert proposed == {"use_in_assistant": True, "assistant": async_get_pipeline(hass).id}
    result = await hass.config_entries.flow.async_configure(
        form["flow_id"], {**proposed, "use_in_assistant": use}
    )
    await hass.async_block_till_done()
    assert result["type"] is FlowResultType.CREATE_ENTRY
    pipeline = async_get_pipeline(hass)
    if use:
        assert (pipeline.stt_engine, pipeline.stt_language) == ("stt.deepgram_flux", "en")
    else:
        assert pipeline.stt_engine == before


async def test_assistant_in_another_language(hass: HomeAssistant, worker, assist) -> None:
    """An assistant that speaks what the engine does not understand is not offered."""
    await async_update_pipeline(hass, async_get_pipeline(hass), language="de")
    result = await last_step(hass, worker.url)
    await hass.async_block_till_done()
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert async_get_pipelines(hass)[0].stt_engine is None


async def test_without_assist(hass: HomeAssistant, worker) -> None:
    """Where there are no assistants, nothing is asked."""
    result = await last_step(hass, worker.url)
    await hass.async_block_till_done()
    assert result["type"] is FlowResultType.CREATE_ENTRY
