"""*If Flux cannot be reached*: the text all the same, and Flux keeps its repair."""

import asyncio
import wave
from collections.abc import AsyncIterable
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from homeassistant.components import stt
from homeassistant.components.stt.const import DATA_COMPONENT
from homeassistant.components.stt.models import SpeechAudioProcessing
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import async_fire_time_changed
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event

from custom_components.wyoming_flux.health import RETRY_FIRST
from tests.support.said_aloud import said_aloud
from wyoming_flux.flux import Endpoint
from wyoming_flux.simulator import faults

SENTENCE = "turn on the living room light"
LOCAL = "stt.local"
FORM = {
    "home_names": False,
    "sample_rate": "16000",
    "sensitivity": "default",
    "no_speech_timeout": 8.0,
    "max_turn": 20.0,
    "mip_opt_out": False,
    "enhanced_audio": False,
    "external_vad": False,
    "keep_turns": 0,
    "network": {"serve": False, "serve_port": 10300},
    "expert": {},
}


class LocalEngine(stt.SpeechToTextEntity):
    """An engine of the home: it knows German and English, and hears what it is told to."""

    _attr_name = "Local"
    supported_languages = ["de-DE", "en-US"]  # noqa: RUF012
    supported_formats = [stt.AudioFormats.WAV]  # noqa: RUF012
    supported_codecs = [stt.AudioCodecs.PCM]  # noqa: RUF012
    supported_bit_rates = [stt.AudioBitRates.BITRATE_16]  # noqa: RUF012
    supported_sample_rates = [stt.AudioSampleRates.SAMPLERATE_16000]  # noqa: RUF012
    supported_channels = [stt.AudioChannels.CHANNEL_MONO]  # noqa: RUF012
    audio_processing = SpeechAudioProcessing(True, False, False)
    text: str | None = "what the home heard"

    def __init__(self) -> None:
        """Hear nothing yet."""
        self.heard: list[tuple[str, bytes]] = []

    async def async_process_audio_stream(
        self, metadata: stt.SpeechMetadata, stream: AsyncIterable[bytes]
    ) -> stt.SpeechResult:
        """Hear all of a turn, as an engine does that is not told when to stop."""
        audio = b"".join([chunk async for chunk in stream])
        self.heard.append((metadata.language, audio))
        if self.text is None:
            return stt.SpeechResult(None, stt.SpeechResultState.ERROR)
        return stt.SpeechResult(self.text, stt.SpeechResultState.SUCCESS)


@pytest.fixture(scope="module")
def speech() -> bytes:
    """A person who speaks: what detects speech takes a tone for none."""
    path = Path(__file__).parents[2] / "samples" / "turn_on_the_living_room_light.wav"
    with wave.open(str(path), "rb") as recording:
        return recording.readframes(recording.getnframes())


@pytest.fixture
async def local(hass: HomeAssistant) -> LocalEngine:
    """Another engine of this Home Assistant."""
    assert await async_setup_component(hass, "stt", {})
    engine = LocalEngine()
    await hass.data[DATA_COMPONENT].async_add_entities([engine])
    await hass.async_block_till_done()
    assert hass.states.get(LOCAL) is not None
    return engine


def issues(hass: HomeAssistant) -> set[str | None]:
    """Return the keys of the repairs."""
    return {issue.translation_key for issue in ir.async_get(hass).issues.values()}


async def test_another_engine_hears_the_sentence(
    hass: HomeAssistant, worker, set_up, audio, hear, speech, local: LocalEngine
) -> None:
    """It gets the sentence from its first word to its pause, in its own tag of the language."""
    entry = await set_up(worker, {"fallback_entity": LOCAL})
    worker.faults.append(faults.Refuse(status=402, body=""))
    result = await hear(audio.microphone(speech))
    assert result == stt.SpeechResult("what the home heard", stt.SpeechResultState.SUCCESS)
    ((language, heard),) = local.heard
    assert language == "en-US"
    assert speech[16000:48000] in heard
    assert len(heard) < len(speech) + 2 * 32000
    # Flux has its repair all the same, and nobody pays for what it did not hear.
    assert issues(hass) == {"payment"}
    assert entry.runtime_data.usage.seconds == 0
    worker.faults.clear()


async def test_wrong_token_falls_back_too(
    hass: HomeAssistant, worker, set_up, audio, hear, speech, local: LocalEngine
) -> None:
    """The sentence is answered, and a new token is asked for."""
    entry = await set_up(worker, {"fallback_entity": LOCAL})
    worker.token = "another"
    result = await hear(audio.microphone(speech))
    assert result.text == "what the home heard"
    assert len(list(entry.async_get_active_flows(hass, {"reauth"}))) == 1


async def test_used_up_minutes_fall_back_too(
    hass: HomeAssistant, worker, set_up, audio, hear, speech, local: LocalEngine
) -> None:
    """The user's own limit ends what costs money, not speech."""
    entry = await set_up(worker, {"fallback_entity": LOCAL, "daily_minutes": 1})
    entry.runtime_data.usage.add(60)
    connections = len(worker.connections)
    result = await hear(audio.microphone(speech))
    assert result.text == "what the home heard"
    assert len(worker.connections) == connections
    assert issues(hass) == {"daily_limit"}


async def test_flux_is_lost_in_mid_sentence(
    hass: HomeAssistant, worker, set_up, audio, hear, speech, eventually, local: LocalEngine
) -> None:
    """The simulator goes away while somebody speaks, for good: the text comes all the same."""
    await set_up(worker, {"fallback_entity": LOCAL})

    async def speak():
        async for chunk in audio.chunks(speech[:25600]):
            yield chunk
        await eventually(
            lambda: len(worker.connections) == 2 and worker.connections[1].audio_bytes > 0
        )
        await worker.__aexit__(None, None, None)
        async for chunk in audio.microphone(speech[25600:]):
            yield chunk

    result = await hear(speak())
    assert result.text == "what the home heard"
    ((_, heard),) = local.heard
    # What Flux had heard already is heard again, from the first word.
    assert speech[16000:48000] in heard


async def test_second_flux(
    hass: HomeAssistant, worker, start_worker, set_up, audio, hear, speech
) -> None:
    """Another endpoint of Flux, with its own token, is asked like the first."""
    second = await start_worker(token="second")
    entry = await set_up(worker, {"fallback_url": second.url, "fallback_token": "second"})
    worker.faults.append(faults.Refuse(status=402, body=""))
    result = await hear(audio.microphone(speech))
    assert result.text == SENTENCE
    assert len(second.connections) == 1
    assert issues(hass) == {"payment"}
    assert entry.runtime_data.usage.seconds > 0


@pytest.mark.parametrize(
    "fault",
    [
        faults.Refuse(status=401, code="10000"),
        faults.Refuse(status=302, location="https://x.cloudflareaccess.com/login", body=""),
        faults.Refuse(status=426, body=""),
        faults.Refuse(status=503),
        faults.Refuse(status=500, code="5030"),
        faults.ConnectLate(seconds=60),
        faults.ConnectedLate(seconds=60),
        faults.Dropped(code=1006, on="connected"),
        faults.Dropped(code=1011, after=1.0),
        faults.ErrorMessage(after=1.0),
        faults.Stall(after=1.0),
        faults.Gibberish(kind="binary", after=0.5),
        faults.SlowReader(rate=0.0, after=0.5),
    ],
    ids=repr,
)
async def test_no_fault_ends_without_text(
    hass: HomeAssistant, worker, set_up, audio, hear, speech, local: LocalEngine, fault
) -> None:
    """Whatever is wrong with Flux at each attempt, the sentence is heard once and as a whole."""
    await set_up(worker, {"fallback_entity": LOCAL})
    worker.faults.append(fault)
    result = await hear(audio.microphone(speech))
    assert result.text in ("what the home heard", SENTENCE)
    if result.text != SENTENCE:
        ((_, heard),) = local.heard
        assert speech[16000:48000] in heard


async def test_fallback_fails_as_well(
    hass: HomeAssistant, worker, set_up, audio, hear, speech, local: LocalEngine
) -> None:
    """Then there is an error, and it is that of Flux which is told."""
    entry = await set_up(worker, {"fallback_entity": LOCAL})
    worker.faults.append(faults.Refuse(status=402, body=""))
    local.text = None
    result = await hear(audio.microphone(speech))
    assert result.result is stt.SpeechResultState.ERROR
    assert entry.runtime_data.health.last_error == "payment"


async def test_flux_that_is_back_is_asked_first(
    hass: HomeAssistant, worker, set_up, audio, hear, speech, eventually, local: LocalEngine
) -> None:
    """As soon as the look beside the sentences has seen it, and not minutes later."""
    await set_up(worker, {"fallback_entity": LOCAL})
    worker.faults.append(faults.Refuse(status=503))
    assert (await hear(audio.microphone(speech))).text == "what the home heard"
    assert hass.states.get("stt.deepgram_flux").state == "unavailable"
    worker.faults.clear()
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=RETRY_FIRST + 1))
    await eventually(lambda: hass.states.get("stt.deepgram_flux").state != "unavailable")
    assert (await hear(audio.microphone(speech))).text == SENTENCE


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"fallback_entity": "stt.deepgram_flux"}, "fallback_to_itself"),
        ({"fallback_url": "ftp://x"}, "invalid_value"),
    ],
)
async def test_option_is_checked(
    hass: HomeAssistant, worker, set_up, fields: dict[str, str], error: str
) -> None:
    """An engine of ours, or an address that cannot be one, is said to be wrong."""
    entry = await set_up(worker)
    form = await hass.config_entries.options.async_init(entry.entry_id)
    values = {**FORM, "fallback": fields}
    result = await hass.config_entries.options.async_configure(form["flow_id"], values)
    assert result["errors"] == {"base": error}


async def test_token_of_the_second_flux_stays_here(
    hass: HomeAssistant, worker, start_worker, set_up
) -> None:
    """It is not sent to a browser; an empty field keeps it for the same URL, and for no other."""
    second = await start_worker(token="second")
    entry = await set_up(worker, {"fallback_url": second.url, "fallback_token": "second"})
    for url, token in ((second.url, "second"), ("ws://127.0.0.1:9", None)):
        form = await hass.config_entries.options.async_init(entry.entry_id)
        assert "second" not in str(form["data_schema"].schema)
        values = {**FORM, "fallback": {"fallback_url": url}}
        await hass.config_entries.options.async_configure(form["flow_id"], values)
        await hass.async_block_till_done()
        assert entry.options["fallback_token"] == token


async def on_the_network(port: int, pcm: bytes) -> Event:
    """Speak as a client on the network does; return the answer."""
    form = {"rate": 16000, "width": 2, "channels": 1}
    async with AsyncTcpClient("127.0.0.1", port) as client, asyncio.timeout(20):
        await client.write_event(Transcribe(language="en").event())
        await client.write_event(AudioStart(**form).event())
        await client.write_event(AudioChunk(audio=pcm, **form).event())
        await client.write_event(AudioStop().event())
        while (event := await client.read_event()) is not None:
            if event.type in ("transcript", "error"):
                return event
    raise AssertionError("no answer")


async def test_what_another_engine_heard_on_the_network_mends_nothing(
    hass: HomeAssistant, worker, set_up, speech, eventually, unused_tcp_port, local: LocalEngine
) -> None:
    """Flux has its repair, and is unavailable, although a client there has its text."""
    options = {"fallback_entity": LOCAL, "serve": True, "serve_port": unused_tcp_port}
    entry = await set_up(worker, options)
    worker.faults.append(faults.Refuse(status=402, body=""))
    answer = await on_the_network(unused_tcp_port, speech)
    assert answer.data["text"] == "what the home heard"
    await eventually(lambda: entry.runtime_data.health.last_error is not None)
    assert entry.runtime_data.health.last_error == "payment"
    assert issues(hass) == {"payment"}
    assert hass.states.get("stt.deepgram_flux").state == "unavailable"


async def test_token_of_the_second_flux_is_no_fault_of_the_first(
    hass: HomeAssistant, worker, start_worker, set_up, speech, eventually, unused_tcp_port
) -> None:
    """Nobody is asked for a new token of the first because that of the second is wrong."""
    second = await start_worker(token="second")
    entry = await set_up(
        worker,
        {
            "fallback_url": second.url,
            "fallback_token": "wrong",
            "serve": True,
            "serve_port": unused_tcp_port,
        },
    )
    worker.faults.append(faults.Refuse(status=402, body=""))
    assert (await on_the_network(unused_tcp_port, speech)).type == "error"
    await eventually(lambda: entry.runtime_data.health.last_error is not None)
    assert entry.runtime_data.health.last_error == "payment"
    assert not list(entry.async_get_active_flows(hass, {"reauth"}))


@pytest.mark.parametrize("serve", [False, True])
async def test_second_flux_that_does_not_have_the_model(
    hass: HomeAssistant,
    start_worker,
    set_up,
    audio,
    hear,
    serve: bool,
    unused_tcp_port,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The form refuses it; where it is there all the same, the first works without it."""
    worker = await start_worker(profile="deepgram")
    second = "ws://127.0.0.1:9"
    usual = Endpoint.from_url

    def from_url(url: str, **more: str) -> Endpoint:
        return usual(url, **more, route="auto" if url == second else "deepgram")

    options = {"model": "flux-general-multi", "fallback_url": second}
    with patch("custom_components.wyoming_flux.Endpoint.from_url", from_url):
        entry = await set_up(worker, options | {"serve": serve, "serve_port": unused_tcp_port})
        form = await hass.config_entries.options.async_init(entry.entry_id)
        values = {
            **FORM,
            "fallback": {"fallback_url": second},
            "expert": {"model": "flux-general-multi"},
        }
        result = await hass.config_entries.options.async_configure(form["flow_id"], values)
    assert result["errors"] == {"base": "invalid_value"}
    assert "only available from Deepgram" in result["description_placeholders"]["reason"]
    assert entry.state is ConfigEntryState.LOADED
    (said,) = said_aloud(caplog.records)
    assert "127.0.0.1:9 is not asked" in said
    assert (await hear(audio.microphone(audio.tone(1.6)))).text == SENTENCE
