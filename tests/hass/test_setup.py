"""Setting an entry up, in every state the endpoint can be in, and taking it down again."""

import asyncio
from datetime import timedelta
from unittest.mock import patch

import pytest
from homeassistant.components import stt
from homeassistant.config_entries import SOURCE_REAUTH, ConfigEntryState
from homeassistant.const import EVENT_HOMEASSISTANT_STOP
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import (
    async_capture_events,
    async_fire_time_changed,
)

from tests.support.said_aloud import said_aloud
from wyoming_flux import errors
from wyoming_flux.simulator import faults

ENGINE = "stt.deepgram_flux"
SENTENCE = "turn on the living room light"
FAILED = stt.SpeechResult(None, stt.SpeechResultState.ERROR)


def available(hass: HomeAssistant) -> bool:
    """Return whether the entity is shown as available."""
    return hass.states.get(ENGINE).state != "unavailable"


async def test_entry_is_set_up_and_unloaded(
    hass: HomeAssistant, worker, set_up, caplog: pytest.LogCaptureFixture, eventually
) -> None:
    """A Worker in good health gives an available entity; unloading leaves nothing, and no noise."""
    entry = await set_up(worker)
    assert entry.state is ConfigEntryState.LOADED
    assert available(hass)
    assert len(worker.connections) == 1
    assert await hass.config_entries.async_unload(entry.entry_id)
    assert entry.state is ConfigEntryState.NOT_LOADED
    await eventually(lambda: worker.connections[0].closed_by_client)
    assert said_aloud(caplog.records) == []


async def test_device(hass: HomeAssistant, worker, set_up) -> None:
    """All entities belong to one device, which is a service."""
    entry = await set_up(worker)
    (device,) = dr.async_entries_for_config_entry(dr.async_get(hass), entry.entry_id)
    assert device.entry_type is dr.DeviceEntryType.SERVICE
    assert (device.manufacturer, device.model, device.name) == (
        "Deepgram",
        "Flux",
        "Deepgram Flux",
    )


async def test_wrong_token_asks_for_a_new_one(hass: HomeAssistant, worker, set_up) -> None:
    """The entry waits for a token; no entity pretends to work."""
    entry = await set_up(worker, token="expired")
    assert entry.state is ConfigEntryState.SETUP_ERROR
    assert entry.error_reason_translation_key == "invalid_auth"
    assert [flow["context"]["source"] for flow in hass.config_entries.flow.async_progress()] == [
        SOURCE_REAUTH
    ]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.Refuse(status=404, body="error code: 1042"), "endpoint_not_found"),
        (
            faults.Refuse(status=301, location="https://a.example/", body=""),
            "endpoint_not_found",
        ),
        (faults.Refuse(status=200, body="<html>welcome</html>"), "not_flux"),
        (faults.Refuse(status=426, body=""), "not_flux"),
        (faults.Refuse(status=500, body=""), "unreachable"),
    ],
)
async def test_wrong_answer_passes(
    hass: HomeAssistant, start_worker, set_up, freezer, fault: faults.Refuse, error: str
) -> None:
    """A Worker that is just being deployed answers wrongly: it is looked at again, by itself."""
    worker = await start_worker(faults=[fault])
    entry = await set_up(worker)
    assert entry.state is ConfigEntryState.LOADED
    assert entry.runtime_data.health.last_error.replace("-", "_") == error
    assert not available(hass)
    worker.faults.clear()
    freezer.tick(timedelta(seconds=31))
    async_fire_time_changed(hass)
    await hass.async_block_till_done(wait_background_tasks=True)
    assert available(hass)


async def test_login_page_is_a_repair_not_a_question(
    hass: HomeAssistant, worker, start_worker, set_up, freezer, audio, hear
) -> None:
    """No token of ours opens Cloudflare Access: a repair says what to do, and goes by itself."""
    login = faults.Refuse(
        status=302, location="https://team.cloudflareaccess.com/cdn-cgi/access/login/x", body=""
    )
    worker = await start_worker(faults=[login])
    entry = await set_up(worker)
    assert entry.state is ConfigEntryState.LOADED
    await hear(audio.microphone(audio.tone(1)))
    assert not available(hass)
    assert hass.config_entries.flow.async_progress() == []
    (issue,) = ir.async_get(hass).issues.values()
    assert issue.translation_key == "login_page"
    assert issue.translation_placeholders["host"] == worker.url.removeprefix("ws://")
    worker.faults.clear()
    freezer.tick(timedelta(seconds=31))
    async_fire_time_changed(hass)
    await hass.async_block_till_done(wait_background_tasks=True)
    assert available(hass)
    assert ir.async_get(hass).issues == {}


async def test_failure_carries_the_request_id(
    hass: HomeAssistant, worker, set_up, audio, hear, caplog: pytest.LogCaptureFixture
) -> None:
    """What the endpoint calls a request is what its support can look up."""
    entry = await set_up(worker)
    worker.faults.append(faults.Refuse(status=402, body=""))
    await hear(audio.microphone(audio.tone(1)))
    found = entry.runtime_data.health.last_request_id
    assert found
    assert f"(request {found})" in said_aloud(caplog.records)[0]


async def test_options_that_no_longer_work(hass: HomeAssistant, worker, set_up) -> None:
    """Options from elsewhere are checked like all others."""
    entry = await set_up(worker, {"eot_threshold": 7.0})
    assert entry.state is ConfigEntryState.SETUP_ERROR
    assert entry.error_reason_translation_key == "invalid_setting"
    assert worker.connections == []


async def test_endpoint_is_down_at_start(
    hass: HomeAssistant,
    start_worker,
    set_up,
    audio,
    unused_tcp_port: int,
    caplog: pytest.LogCaptureFixture,
    hear,
) -> None:
    """The entity is there, and the first turn after the endpoint is back works."""
    url = f"ws://127.0.0.1:{unused_tcp_port}"
    entry = await set_up(f"{url}/")
    assert entry.state is ConfigEntryState.LOADED
    assert not available(hass)
    assert len(said_aloud(caplog.records)) == 1
    await start_worker(uri=url)
    result = await hear(audio.microphone(audio.tone(1.6)))
    assert result.text == SENTENCE
    assert available(hass)
    assert len(said_aloud(caplog.records)) == 1


async def test_a_turn_without_audio_proves_nothing(
    hass: HomeAssistant, set_up, audio, caplog: pytest.LogCaptureFixture, hear
) -> None:
    """A satellite that gives up before it sends anything does not mend an endpoint that is down."""
    await set_up("ws://127.0.0.1:9/")
    assert (await hear(audio.chunks(b""))).text == ""
    assert not available(hass)
    assert "can be used again" not in caplog.text


async def test_endpoint_comes_back_unnoticed(
    hass: HomeAssistant, start_worker, set_up, unused_tcp_port: int, freezer
) -> None:
    """Nobody has to speak for the entity to become available again."""
    url = f"ws://127.0.0.1:{unused_tcp_port}"
    await set_up(f"{url}/")
    # Looked at after half a minute, in vain, and again a minute later.
    worker = None
    for seconds in (31, 61):
        assert not available(hass)
        freezer.tick(timedelta(seconds=seconds))
        async_fire_time_changed(hass)
        await hass.async_block_till_done(wait_background_tasks=True)
        worker = worker or await start_worker(uri=url)
    assert available(hass)
    assert len(worker.connections) == 1


@pytest.mark.parametrize("how", ["unload", "stop"])
async def test_ended_in_the_middle_of_a_turn(
    hass: HomeAssistant,
    worker,
    set_up,
    audio,
    how: str,
    caplog: pytest.LogCaptureFixture,
    hear,
    eventually,
) -> None:
    """Unloading, or stopping Home Assistant, ends the turn at once: Flux closed, no traceback."""
    entry = await set_up(worker)
    turn = asyncio.create_task(hear(audio.microphone(audio.tone(60))))
    await eventually(lambda: len(worker.connections) == 2 and worker.connections[1].audio_bytes > 0)
    if how == "unload":
        assert await hass.config_entries.async_unload(entry.entry_id)
    else:
        hass.bus.async_fire(EVENT_HOMEASSISTANT_STOP)
    assert await turn == FAILED
    await hass.async_block_till_done()
    await eventually(lambda: worker.connections[1].closed_by_client)
    assert said_aloud(caplog.records) == []
    if how == "stop":
        # What comes after is refused, not begun.
        assert await hear(audio.microphone()) == FAILED
        assert len(worker.connections) == 2


async def test_unloaded_after_a_stop(
    hass: HomeAssistant, worker, set_up, caplog: pytest.LogCaptureFixture
) -> None:
    """An entry may be unloaded when Home Assistant's stop is over: nothing is taken back twice."""
    entry = await set_up(worker)
    hass.bus.async_fire(EVENT_HOMEASSISTANT_STOP)
    await hass.async_block_till_done()
    assert await hass.config_entries.async_unload(entry.entry_id)
    assert "Unable to remove unknown job listener" not in caplog.text


async def test_token_fails_later(
    hass: HomeAssistant, worker, set_up, audio, caplog: pytest.LogCaptureFixture, hear
) -> None:
    """A token that expires gives one prompt and one line, however often somebody speaks."""
    entry = await set_up(worker)
    worker.token = "another"
    prompts = async_capture_events(hass, "repairs_issue_registry_updated")
    for _ in range(3):
        assert await hear(audio.microphone(audio.tone(1))) == FAILED
        await hass.async_block_till_done()
    assert len(list(entry.async_get_active_flows(hass, {SOURCE_REAUTH}))) == 1
    assert len([event for event in prompts if event.data["action"] == "create"]) == 1
    assert len(said_aloud(caplog.records)) == 1
    assert not available(hass)

    (flow,) = hass.config_entries.flow.async_progress()
    result = await hass.config_entries.flow.async_configure(flow["flow_id"], {"token": "another"})
    assert result["reason"] == "reauth_successful"
    await hass.async_block_till_done()
    assert (await hear(audio.microphone(audio.tone(1.6)))).text == SENTENCE
    assert available(hass)


async def test_bad_network_is_said_once(
    hass: HomeAssistant, worker, set_up, caplog: pytest.LogCaptureFixture
) -> None:
    """A network that fails in one way after the other is one line, until it has worked again."""
    health = (await set_up(worker)).runtime_data.health
    for error in (errors.Unreachable("a"), errors.FluxTimeout("b"), errors.ConnectionLost("c")):
        health.failed(error)
    assert len(said_aloud(caplog.records)) == 1
    health.succeeded()
    health.failed(errors.Unreachable("d"))
    assert len(said_aloud(caplog.records)) == 2


async def test_ten_turns_a_reload_and_a_stop_are_quiet(
    hass: HomeAssistant, start_worker, set_up, audio, caplog: pytest.LogCaptureFixture, hear
) -> None:
    """Ordinary life is not worth a line in the log."""
    worker = await start_worker(ingest_rate=0)
    entry = await set_up(worker)
    for _ in range(10):
        assert (await hear(audio.chunks(audio.sentence()))).text == SENTENCE
    assert await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done()
    await hass.async_stop()
    assert said_aloud(caplog.records) == []
    assert all(connection.mistakes == [] for connection in worker.connections)


async def test_numpy_is_there_before_the_first_turn(
    hass: HomeAssistant, start_worker, set_up, audio, hear
) -> None:
    """At a rate other than the pipeline's the filter is made at set-up, outside of the loop."""
    worker = await start_worker(ingest_rate=0)
    with patch.object(
        hass, "async_add_executor_job", wraps=hass.async_add_executor_job
    ) as executor:
        await set_up(worker, {"sample_rate": "24000"})
    assert "Converter" in {
        getattr(call.args[0], "__name__", "") for call in executor.call_args_list
    }
    assert (await hear(audio.chunks(audio.sentence()))).text == SENTENCE
    assert ("sample_rate", "24000") in worker.connections[-1].query


async def test_removed_entry_leaves_no_file(
    hass: HomeAssistant, worker, set_up, hass_storage: dict[str, object]
) -> None:
    """What was counted is forgotten with the entry."""
    entry = await set_up(worker)
    key = f"wyoming_flux.{entry.entry_id}"
    assert await hass.config_entries.async_unload(entry.entry_id)
    assert key in hass_storage
    await hass.config_entries.async_remove(entry.entry_id)
    assert key not in hass_storage
