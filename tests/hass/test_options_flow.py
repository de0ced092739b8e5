"""The options: what is shown, what is stored, what cannot be, and what a turn then asks for."""

from typing import Any

import pytest
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from pytest_homeassistant_custom_component.common import MockConfigEntry

DEFAULTS: dict[str, Any] = {
    "sample_rate": "16000",
    "keyterms": [],
    "home_names": True,
    "sensitivity": "default",
    "no_speech_timeout": 8.0,
    "max_turn": 20.0,
    "hold": None,
    "wake_phrases": [
        "okay nabu",
        "ok nabu",
        "nabu",
        "hey jarvis",
        "jarvis",
        "hey mycroft",
        "alexa",
    ],
    "daily_minutes": None,
    "mip_opt_out": False,
    "enhanced_audio": False,
    "external_vad": False,
    "keep_turns": 0,
    "eot_threshold": None,
    "eager_eot_threshold": None,
    "eot_timeout_ms": None,
    "model": "flux-general-en",
    "serve": False,
    "serve_port": 10300,
    "fallback_url": None,
    "fallback_token": None,
    "fallback_entity": None,
}


def form_input(**changes: Any) -> dict[str, Any]:
    """Return what a browser sends: the form as shown, with changes."""
    values = DEFAULTS | changes
    sections = {
        "network": ("serve", "serve_port"),
        "fallback": ("fallback_url", "fallback_token", "fallback_entity"),
        "expert": ("eot_threshold", "eager_eot_threshold", "eot_timeout_ms"),
    }
    nested = {name for keys in sections.values() for name in (*keys, "model")}
    given = {key: value for key, value in values.items() if value not in (None, [])}
    return {key: value for key, value in given.items() if key not in nested} | {
        name: {key: given[key] for key in keys if key in given} for name, keys in sections.items()
    }


async def send(hass: HomeAssistant, form: Any, **changes: Any) -> Any:
    """Send the form as shown, with changes."""
    result = await hass.config_entries.options.async_configure(
        form["flow_id"], form_input(**changes)
    )
    await hass.async_block_till_done()
    return result


async def test_defaults_are_shown_and_kept(hass: HomeAssistant, worker, set_up) -> None:
    """Somebody who changes nothing changes nothing: the form shows what is in force."""
    entry: MockConfigEntry = await set_up(worker, {"home_names": True})
    form = await hass.config_entries.options.async_init(entry.entry_id)
    assert form["type"] is FlowResultType.FORM
    assert form["step_id"] == "init"
    shown: dict[str, Any] = {}
    for key, selector in form["data_schema"].schema.items():
        fields = selector.schema.schema if hasattr(selector, "options") else {key: selector}
        for field in fields:
            shown[str(field)] = (field.description or {}).get("suggested_value")
    # Lists that are empty and numbers that are not set show an empty field.
    assert {key: value for key, value in shown.items() if value not in (None, [])} == {
        key: value for key, value in DEFAULTS.items() if value not in (None, []) and key != "model"
    }
    assert (await send(hass, form))["type"] is FlowResultType.CREATE_ENTRY
    assert entry.options == DEFAULTS


async def test_everything_changed_reaches_flux(hass: HomeAssistant, worker, set_up) -> None:
    """What is chosen is stored flat, the entry is loaded anew, and the next stream asks for it."""
    entry: MockConfigEntry = await set_up(worker)
    form = await hass.config_entries.options.async_init(entry.entry_id)
    result = await send(
        hass,
        form,
        sample_rate="8000",
        keyterms=["Ecobee"],
        home_names=False,
        sensitivity="relaxed",
        no_speech_timeout=5.0,
        max_turn=60.0,
        hold=500.0,
        wake_phrases=[],
        daily_minutes=30.0,
        mip_opt_out=True,
        enhanced_audio=True,
        external_vad=True,
        eot_threshold=0.8,
        eager_eot_threshold=0.5,
        eot_timeout_ms=3000.0,
    )
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert entry.state is ConfigEntryState.LOADED
    assert entry.options["wake_phrases"] == []
    assert (entry.options["eot_timeout_ms"], entry.options["hold"]) == (3000, 500)
    assert "expert" not in entry.options
    data = entry.runtime_data
    assert data.turn.wake_phrases == ()
    assert (data.turn.no_speech_timeout, data.turn.max_turn) == (5.0, 60.0)
    assert data.turn.effective_hold(data.settings.sensitivity) == 500
    assert data.usage.minutes == 30.0
    assert dict(worker.connections[-1].query) == {
        "encoding": "linear16",
        "sample_rate": "8000",
        "mip_opt_out": "true",
        "eot_threshold": "0.8",
        "eager_eot_threshold": "0.5",
        "eot_timeout_ms": "3000",
        "keyterm": "Ecobee",
    }


@pytest.mark.parametrize(
    ("plain", "changes", "errors"),
    [
        (False, {"keyterms": ["x" * 101]}, {"keyterms": "keyterm_too_long"}),
        (False, {"keyterms": [f"term {n}" for n in range(101)]}, {"keyterms": "too_many_keyterms"}),
        (False, {"wake_phrases": ["x" * 101]}, {"wake_phrases": "invalid_value"}),
        # Inside a section the frontend shows no error, so it stands above the form.
        (
            False,
            {"eager_eot_threshold": 0.9, "eot_threshold": 0.6},
            {"base": "eager_above_threshold"},
        ),
        # What the ten-line Worker ignores cannot be chosen.
        (True, {"sample_rate": "8000"}, {"sample_rate": "plain_sample_rate"}),
        (True, {"mip_opt_out": True}, {"mip_opt_out": "plain_mip_opt_out"}),
        (True, {"keyterms": ["Ecobee"]}, {"keyterms": "plain_keyterms"}),
    ],
)
async def test_value_cannot_work(
    hass: HomeAssistant,
    start_worker,
    set_up,
    plain: bool,
    changes: dict[str, Any],
    errors: dict[str, str],
) -> None:
    """What Flux would refuse, or its Worker lose, is not stored; what was typed is not lost."""
    entry: MockConfigEntry = await set_up(await start_worker(plain=plain))
    before = dict(entry.options)
    form = await hass.config_entries.options.async_init(entry.entry_id)
    form = await send(hass, form, max_turn=33.0, **changes)
    assert form["errors"] == errors
    assert entry.options == before
    shown = {str(key): key.description for key in form["data_schema"].schema}
    assert shown["max_turn"] == {"suggested_value": 33.0}
    assert (await send(hass, form))["type"] is FlowResultType.CREATE_ENTRY


async def test_options_of_an_entry_that_is_not_loaded(hass: HomeAssistant, set_up) -> None:
    """Options can be changed while the entry has an error."""
    entry: MockConfigEntry = await set_up("not a URL at all", token=None)
    assert entry.state is ConfigEntryState.SETUP_ERROR
    hass.config_entries.async_update_entry(entry, data={"worker_url": "ws://127.0.0.1:9/"})
    form = await hass.config_entries.options.async_init(entry.entry_id)
    assert (await send(hass, form))["type"] is FlowResultType.CREATE_ENTRY


@pytest.mark.parametrize(
    ("url", "offered"),
    [("wss://api.deepgram.com/v2/listen", True), ("wss://flux.example/", False)],
)
async def test_only_deepgram_itself_offers_models(
    hass: HomeAssistant, url: str, offered: bool
) -> None:
    """Cloudflare has the English model alone."""
    entry = MockConfigEntry(domain="wyoming_flux", data={"worker_url": url})
    entry.add_to_hass(hass)
    form = await hass.config_entries.options.async_init(entry.entry_id)
    fields = {str(key) for key in form["data_schema"].schema["expert"].schema.schema}
    assert ("model" in fields) is offered
    if offered:
        chosen = form_input() | {"expert": {"model": "flux-general-multi"}}
        await hass.config_entries.options.async_configure(form["flow_id"], chosen)
        assert entry.options["model"] == "flux-general-multi"
