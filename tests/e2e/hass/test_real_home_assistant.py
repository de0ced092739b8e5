"""A spoken sample, in real time, through a real Home Assistant, to a light that goes on."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Process
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.server import Server
from wyoming_flux.settings import FluxSettings, ServerSettings, UtteranceSettings

ROOT = Path(__file__).parents[3]
LIGHT = "light.living_room_light"


def entry_input(worker: Any, stage: Any, **changes: Any) -> dict[str, Any]:
    """Return what a person types into the dialogue."""
    return {
        "worker_url": worker.url,
        "token": stage.TOKEN,
        "sample_rate": "16000",
        "home_names": True,
        **changes,
    }


async def switch_off(home_assistant: Any) -> None:
    """Put the light out."""
    await home_assistant.call("POST", "/api/services/light/turn_off", json={"entity_id": LIGHT})
    await home_assistant.wait_state(LIGHT, "off")


async def speak_to_server(home_assistant: Any, stage: Any, uri: str) -> Any:
    """Add a Wyoming server to core's own integration, and say the sample to an assistant of it."""
    port = int(uri.rpartition(":")[2])
    entry = await home_assistant.add_entry("wyoming", {"host": "127.0.0.1", "port": port})
    async with home_assistant.websocket() as socket:
        pipeline = await stage.make_pipeline(socket, await stage.engine_of(socket, entry))
        return await stage.run_pipeline(socket, pipeline, stage.sample())


async def test_our_entity_for_a_day(start, stage, worker) -> None:
    """Set-up, ten commands, a reload, other options, a stop: the light obeys, the log is quiet."""
    home_assistant = await start()
    entry = await home_assistant.add_flux(entry_input(worker, stage))
    async with home_assistant.websocket() as socket:
        engine = await stage.engine_of(socket, entry)
        pipeline = await stage.make_pipeline(socket, engine)
        for _ in range(10):
            run = await stage.run_pipeline(socket, pipeline, stage.sample())
            assert (run.text, run.speech) == (stage.SENTENCE, "Turned on the light")
            await home_assistant.wait_state(LIGHT, "on")
            await switch_off(home_assistant)
        # The names of this home were told to Flux.
        assert ("keyterm", "Living room light") in worker.connections[-1].query

        await home_assistant.call("POST", f"/api/config/config_entries/entry/{entry}/reload")
        await home_assistant.wait_loaded(entry)
        form = stage.OPTIONS | {"sample_rate": "24000"}
        await home_assistant.set_options(entry, form)
        run = await stage.run_pipeline(socket, pipeline, stage.sample())
        assert run.text == stage.SENTENCE
        assert ("sample_rate", "24000") in worker.connections[-1].query

        minutes = float(await home_assistant.state("sensor.deepgram_flux_minutes_today"))
        assert 0.4 < minutes < 0.8
        health = await home_assistant.call("GET", f"/api/diagnostics/config_entry/{entry}")
        assert health["data"]["health"]["available"]
    await home_assistant.stop()
    assert home_assistant.loud() == []
    assert "Detected blocking call" not in home_assistant.log()
    assert "Attempting install" not in home_assistant.log()
    assert all(connection.mistakes == [] for connection in worker.connections)


async def test_minutes_survive_a_real_restart(start, stage, worker) -> None:
    """What was counted is there again after Home Assistant was stopped and started."""
    home_assistant = await start()
    entry = await home_assistant.add_flux(entry_input(worker, stage))
    async with home_assistant.websocket() as socket:
        engine = await stage.engine_of(socket, entry)
        pipeline = await stage.make_pipeline(socket, engine)
        await stage.run_pipeline(socket, pipeline, stage.sample())
    sensor = "sensor.deepgram_flux_minutes_today"
    minutes = [f"{thousandth / 1000:.3f}".rstrip("0") for thousandth in range(20, 80)]
    before = await home_assistant.wait_state(sensor, *minutes)
    await home_assistant.stop()
    await home_assistant.start()
    await home_assistant.wait_running()
    assert await home_assistant.state(sensor) == before
    assert home_assistant.loud() == []


async def test_core_wyoming_on_our_server(start, stage, worker) -> None:
    """Home Assistant's own Wyoming integration takes our early transcript."""
    connector = Connector(Endpoint.from_url(worker.url, token=stage.TOKEN))
    server = Server(
        connector,
        FluxSettings(),
        UtteranceSettings(),
        ServerSettings(uri="tcp://127.0.0.1:0"),
    )
    await server.start()
    try:
        home_assistant = await start()
        run = await speak_to_server(home_assistant, stage, server.uri)
        assert (run.text, run.speech) == (stage.SENTENCE, "Turned on the light")
        assert "stt-vad-end" not in run.times
        await home_assistant.wait_state(LIGHT, "on")
        await home_assistant.stop()
        assert home_assistant.loud() == []
    finally:
        await server.stop(0)


@pytest.mark.skipif(
    importlib.util.find_spec("moonshine_voice") is None, reason="needs the extra local"
)
async def test_ear_of_this_machine_as_the_first_engine(start, stage, tmp_path: Path) -> None:
    """A fresh Home Assistant and ``serve --local``, no account, no network: the light goes on."""
    async with await Process.serve("--local", home=tmp_path) as server:
        home_assistant = await start()
        run = await speak_to_server(home_assistant, stage, server.uri)
        print(f"{run.latency_ms:.0f} ms after the last word")
        assert (run.text, run.speech) == ("Turn on the living room light.", "Turned on the light")
        assert "endpoint local" in await server.wait_for(r"(Utterance 1: .*)")
        await home_assistant.wait_state(LIGHT, "on")
        await home_assistant.stop()
        assert home_assistant.loud() == []


async def test_real_satellite(start, stage, worker, tmp_path: Path) -> None:
    """A real wyoming-satellite hears a wake word, then a recording: the light goes on."""
    python = ROOT / ".venv-satellite" / "bin" / "python"
    home_assistant = await start()
    entry = await home_assistant.add_flux(entry_input(worker, stage))
    async with home_assistant.websocket() as socket:
        engine = await stage.engine_of(socket, entry)
        await stage.make_pipeline(socket, engine, preferred=True)
    async with stage.satellite(python, tmp_path, stage.sample()) as satellite:
        await satellite.said("Ready")
        await home_assistant.add_entry("wyoming", {"host": "127.0.0.1", "port": satellite.port})
        satellite.woken.set()
        await home_assistant.wait_state(LIGHT, "on")
        # The satellite was given the text, and listens for its wake word again.
        await satellite.said("Waiting for wake word", 2)
        await satellite.said(stage.SENTENCE)
        await home_assistant.stop()
    assert home_assistant.loud() == []
