"""Serving Wyoming on the network from inside Home Assistant, spoken to by wyoming's own client."""

import asyncio
import socket
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import EVENT_HOMEASSISTANT_STOP
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info

from tests.support.said_aloud import said_aloud

SENTENCE = "turn on the living room light"
FORMAT = {"rate": 16000, "width": 2, "channels": 1}


async def read(client: AsyncTcpClient, *kinds: str) -> Event:
    """Return the next event of one of these types."""
    async with asyncio.timeout(10):
        while True:
            event = await client.read_event()
            assert event is not None
            if event.type in kinds:
                return event


async def speak(client: AsyncTcpClient, pcm: bytes, *, end: bool = True) -> None:
    """Send an utterance."""
    await client.write_event(Transcribe(language="en").event())
    await client.write_event(AudioStart(**FORMAT).event())
    for start in range(0, len(pcm), 2560):
        chunk = AudioChunk(audio=pcm[start : start + 2560], **FORMAT)
        await client.write_event(chunk.event())
    if end:
        await client.write_event(AudioStop().event())


def listens(port: int) -> bool:
    """Return whether something listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_off_unless_chosen(hass: HomeAssistant, worker, set_up, unused_tcp_port: int) -> None:
    """Nobody finds an open port who did not ask for it."""
    await set_up(worker, {"serve_port": unused_tcp_port})
    assert not listens(unused_tcp_port)


async def test_client_on_the_network(
    hass: HomeAssistant,
    start_worker,
    set_up,
    audio,
    unused_tcp_port: int,
    caplog: pytest.LogCaptureFixture,
    eventually,
) -> None:
    """Another machine gets transcripts over Wyoming; minutes and key terms are the entry's."""
    worker = await start_worker(ingest_rate=0)
    entry = await set_up(
        worker,
        {
            "serve": True,
            "serve_port": unused_tcp_port,
            "keyterms": ["Ecobee"],
            "external_vad": True,
            "sensitivity": "relaxed",
        },
    )
    async with AsyncTcpClient("127.0.0.1", unused_tcp_port) as client:
        await client.write_event(Describe().event())
        info = Info.from_event(await read(client, "info"))
        assert info.asr[0].requires_external_vad
        await speak(client, audio.tone(1.6))
        heard = Transcript.from_event(await read(client, "transcript"))
    assert heard.text == SENTENCE
    query = worker.connections[-1].query
    assert ("keyterm", "Ecobee") in query
    assert ("eot_threshold", "0.85") in query
    # Counted once the utterance is closed, which nobody waits for.
    await eventually(lambda: entry.runtime_data.usage.seconds > 1.5)
    assert await hass.config_entries.async_unload(entry.entry_id)
    assert not listens(unused_tcp_port)
    assert said_aloud(caplog.records) == []


async def test_names_of_the_home_serve_the_network_too(
    hass: HomeAssistant, start_worker, set_up, audio, unused_tcp_port: int, area_registry
) -> None:
    """The names are asked for at each turn, so they are fresh there as well."""
    worker = await start_worker(ingest_rate=0)
    entry = await set_up(worker, {"serve": True, "serve_port": unused_tcp_port, "home_names": True})
    entry.runtime_data.names.names = ("Scullery",)
    async with AsyncTcpClient("127.0.0.1", unused_tcp_port) as client:
        await speak(client, audio.tone(1.6))
        await read(client, "transcript")
    assert ("keyterm", "Scullery") in worker.connections[-1].query


async def test_fault_on_the_network_is_a_fault_of_the_entry(
    hass: HomeAssistant, worker, set_up, audio, unused_tcp_port: int, eventually
) -> None:
    """A token that fails for a client on the network asks for a new one, too; a turn heals it."""
    entry = await set_up(worker, {"serve": True, "serve_port": unused_tcp_port})
    worker.token = "another"
    async with AsyncTcpClient("127.0.0.1", unused_tcp_port) as client:
        await speak(client, audio.tone(0.5))
        error = Error.from_event(await read(client, "error"))
        assert error.code == "auth"
        await hass.async_block_till_done()
        assert len(list(entry.async_get_active_flows(hass, {"reauth"}))) == 1
        assert hass.states.get("stt.deepgram_flux").state == "unavailable"
        worker.token = "door-opener"
        await speak(client, audio.tone(1.6))
        await read(client, "transcript")
    await eventually(lambda: hass.states.get("stt.deepgram_flux").state != "unavailable")


async def test_daily_limit_holds_for_the_network(
    hass: HomeAssistant, worker, set_up, audio, unused_tcp_port: int
) -> None:
    """The limit is one for all who speak."""
    entry = await set_up(worker, {"serve": True, "serve_port": unused_tcp_port, "daily_minutes": 1})
    entry.runtime_data.usage.add(60)
    before = len(worker.connections)
    async with AsyncTcpClient("127.0.0.1", unused_tcp_port) as client:
        await speak(client, audio.tone(0.5))
        assert Error.from_event(await read(client, "error")).code == "quota"
    assert len(worker.connections) == before


async def test_port_in_use(
    hass: HomeAssistant, worker, set_up, caplog: pytest.LogCaptureFixture, eventually
) -> None:
    """A port in use costs nobody the entity; it is said, and taken when it is free."""
    with (
        patch("custom_components.wyoming_flux.serve.RETRY", 0.05),
        socket.create_server(("0.0.0.0", 0)) as occupant,
    ):
        port = occupant.getsockname()[1]
        entry = await set_up(worker, {"serve": True, "serve_port": port})
        assert entry.state is ConfigEntryState.LOADED
        assert hass.states.get("stt.deepgram_flux").state != "unavailable"
        (issue,) = ir.async_get(hass).issues.values()
        assert issue.translation_key == "port_in_use"
        assert issue.translation_placeholders["port"] == str(port)
        occupant.close()
        await eventually(lambda: listens(port))
        await eventually(lambda: not ir.async_get(hass).issues)
    assert await hass.config_entries.async_unload(entry.entry_id)
    assert not listens(port)
    assert len(said_aloud(caplog.records)) == 1


async def test_unloaded_while_the_port_is_in_use(hass: HomeAssistant, worker, set_up) -> None:
    """Waiting for a port is no reason to stay."""
    with socket.create_server(("0.0.0.0", 0)) as occupant:
        port = occupant.getsockname()[1]
        entry = await set_up(worker, {"serve": True, "serve_port": port})
        assert await hass.config_entries.async_remove(entry.entry_id)
        assert not ir.async_get(hass).issues


@pytest.mark.parametrize("how", ["unload", "stop"])
async def test_ended_in_the_middle_of_a_turn(
    hass: HomeAssistant,
    worker,
    set_up,
    audio,
    unused_tcp_port: int,
    how: str,
    caplog: pytest.LogCaptureFixture,
    eventually,
) -> None:
    """A client in the middle of a turn is told, and Flux is closed."""
    entry = await set_up(worker, {"serve": True, "serve_port": unused_tcp_port})
    with patch("custom_components.wyoming_flux.serve.GRACE", 0.1):
        async with AsyncTcpClient("127.0.0.1", unused_tcp_port) as client:
            await speak(client, audio.tone(5), end=False)
            await eventually(lambda: worker.connections[-1].audio_bytes > 32000)
            if how == "unload":
                assert await hass.config_entries.async_unload(entry.entry_id)
            else:
                hass.bus.async_fire(EVENT_HOMEASSISTANT_STOP)
            assert Error.from_event(await read(client, "error")).code == "busy"
        await hass.async_block_till_done()
    await eventually(lambda: worker.connections[-1].closed_by_client)
    assert not listens(unused_tcp_port)
    assert said_aloud(caplog.records) == []
