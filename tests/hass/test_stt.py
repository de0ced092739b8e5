"""The speech-to-text entity, called as a pipeline and the HTTP interface call it."""

import asyncio
import io
import logging
import wave
from collections.abc import AsyncGenerator, AsyncIterator
from http import HTTPStatus
from typing import Any

import pytest
from homeassistant.components import stt
from homeassistant.components.stt.const import DATA_COMPONENT
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from wyoming_flux.simulator import faults

ENGINE = "stt.deepgram_flux"
SENTENCE = "turn on the living room light"
METADATA = stt.SpeechMetadata(
    language="en",
    format=stt.AudioFormats.WAV,
    codec=stt.AudioCodecs.PCM,
    bit_rate=stt.AudioBitRates.BITRATE_16,
    sample_rate=stt.AudioSampleRates.SAMPLERATE_16000,
    channel=stt.AudioChannels.CHANNEL_MONO,
)
HEADER = "format=wav; codec=pcm; sample_rate={rate}; bit_rate=16; channel={channels}; language=en"


@pytest.fixture
async def fast_worker(start_worker):
    """A Worker that hears as fast as audio comes."""
    return await start_worker(ingest_rate=0)


def entity(hass: HomeAssistant) -> stt.SpeechToTextEntity:
    """Return the entity."""
    found = hass.data[DATA_COMPONENT].get_entity(ENGINE)
    assert found is not None
    return found


def ours(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    """Return what our loggers said aloud."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= level
        and ("wyoming_flux" in record.name or record.name.startswith("homeassistant.components"))
        and "simulator" not in record.name
    ]


async def test_what_the_entity_says_of_itself(hass: HomeAssistant, worker, set_up) -> None:
    """A pipeline can use it, and leaves the end of speech to it."""
    await set_up(worker)
    engine = entity(hass)
    assert {"en", "en-US", "en-GB"} <= set(engine.supported_languages)
    assert "de" not in engine.supported_languages
    assert engine.check_metadata(METADATA)
    assert engine.audio_processing == stt.models.SpeechAudioProcessing(
        requires_external_vad=False,
        prefers_auto_gain_enabled=False,
        prefers_noise_reduction_enabled=False,
    )


async def test_options_change_what_it_says_of_itself(hass: HomeAssistant, worker, set_up) -> None:
    """Enhanced audio and Home Assistant's own detection are asked for when chosen."""
    await set_up(worker, {"enhanced_audio": True, "external_vad": True})
    assert entity(hass).audio_processing == stt.models.SpeechAudioProcessing(
        requires_external_vad=True,
        prefers_auto_gain_enabled=True,
        prefers_noise_reduction_enabled=True,
    )


async def test_ten_languages_at_deepgram(
    hass: HomeAssistant, start_worker, set_up, audio, hear, deepgram
) -> None:
    """With the multilingual model the pipeline's language is Flux's hint, without its region."""
    flux = await start_worker(profile="deepgram", ingest_rate=0)
    with deepgram():
        await set_up(flux, {"model": "flux-general-multi"})
    assert {"de", "de-AT", "ja", "en-US"} <= set(entity(hass).supported_languages)
    result = await hear(audio.chunks(audio.sentence()), "de-AT")
    assert result.text == SENTENCE
    query = flux.connections[-1].query
    assert ("model", "flux-general-multi") in query
    assert [value for name, value in query if name == "language_hint"] == ["de"]


async def test_answers_while_the_microphone_is_open(
    hass: HomeAssistant, worker, set_up, audio, hear, eventually
) -> None:
    """The answer comes on EndOfTurn; then the audio's source and Flux are closed."""
    await set_up(worker)
    closed = asyncio.Event()

    async def microphone() -> AsyncIterator[bytes]:
        try:
            async for chunk in audio.microphone(audio.tone(1.6)):
                yield chunk
        finally:
            closed.set()

    result = await hear(microphone())
    assert (result.text, result.result) == (SENTENCE, stt.SpeechResultState.SUCCESS)
    assert closed.is_set()
    turn = worker.connections[-1]
    await eventually(lambda: turn.close_code is not None)
    # Our doing either way: the proof of a control message asks Flux to close.
    assert turn.closed_by_client or {"type": "CloseStream"} in turn.controls
    assert turn.mistakes == []


async def test_home_assistant_ends_first(
    hass: HomeAssistant, fast_worker, set_up, audio, hear
) -> None:
    """When the audio ends before the turn does, Flux is asked for what it has."""
    await set_up(fast_worker)
    result = await hear(audio.chunks(audio.tone(1.6)))
    assert (result.text, result.result) == (SENTENCE, stt.SpeechResultState.SUCCESS)


@pytest.mark.parametrize("size", [1, 2, 319, 320, 4096, 1 << 20])
async def test_chunks_of_any_size(
    hass: HomeAssistant, fast_worker, set_up, audio, size: int, hear
) -> None:
    """However the audio is cut, Flux gets the same samples."""
    await set_up(fast_worker)
    speech = audio.tone(0.5) + audio.silence(0.5)
    result = await hear(audio.chunks(speech, size))
    assert result.result is stt.SpeechResultState.SUCCESS
    assert bytes(fast_worker.connections[-1].audio).startswith(speech[: len(audio.tone(0.8))])


async def test_nobody_speaks(hass: HomeAssistant, fast_worker, set_up, audio, hear) -> None:
    """Silence is an empty transcript, which a pipeline calls no text, not an error."""
    await set_up(fast_worker)
    result = await hear(audio.chunks(audio.silence(1)))
    assert (result.text, result.result) == ("", stt.SpeechResultState.SUCCESS)


async def test_microphone_stays_open_without_speech(
    hass: HomeAssistant, fast_worker, set_up, audio, hear
) -> None:
    """An open microphone does not spend money for ever."""
    await set_up(fast_worker, {"no_speech_timeout": 2.0})
    result = await hear(audio.microphone())
    assert (result.text, result.result) == ("", stt.SpeechResultState.SUCCESS)
    assert len(fast_worker.connections[-1].audio) < 2 * 16000 * 4


async def test_cancelled_in_the_middle(
    hass: HomeAssistant, worker, set_up, audio, caplog: pytest.LogCaptureFixture, hear, eventually
) -> None:
    """A pipeline that is cancelled closes Flux and leaves no trace in the log."""
    entry = await set_up(worker)
    turn = asyncio.create_task(hear(audio.microphone(audio.tone(60))))
    await eventually(lambda: len(worker.connections) == 2 and worker.connections[1].audio_bytes > 0)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    await eventually(lambda: worker.connections[1].closed_by_client)
    await eventually(lambda: entry.runtime_data.usage.seconds > 0)
    assert ours(caplog) == []


async def test_source_of_the_audio_fails(
    hass: HomeAssistant, worker, set_up, audio, caplog: pytest.LogCaptureFixture, hear, eventually
) -> None:
    """An upload that breaks off is one line in the log, and Flux is closed."""
    await set_up(worker)

    async def broken() -> AsyncIterator[bytes]:
        yield audio.tone(0.2)
        raise ConnectionResetError("gone")

    result = await hear(broken())
    assert result == stt.SpeechResult(None, stt.SpeechResultState.ERROR)
    (line,) = ours(caplog)
    assert "the audio broke off: ConnectionResetError" in line
    await eventually(lambda: worker.connections[-1].closed_by_client)


async def test_source_that_does_not_close(
    hass: HomeAssistant, worker, set_up, audio, caplog: pytest.LogCaptureFixture, hear
) -> None:
    """A source that fails to close costs nobody the answer."""
    await set_up(worker)

    class Source:
        """Gives audio; raises when it is closed."""

        def __init__(self) -> None:
            self._audio = audio.microphone(audio.tone(1.6))

        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> bytes:
            return await anext(self._audio)

        async def aclose(self) -> None:
            await self._audio.aclose()
            raise RuntimeError

    result = await hear(Source())
    assert result.text == SENTENCE
    assert ours(caplog) == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (faults.Refuse(status=429, code="3036"), "quota"),
        (faults.Refuse(status=402, body=""), "payment"),
        (faults.Refuse(status=404, body="error code: 1042"), "endpoint_not_found"),
        (faults.Refuse(status=451, body=""), "refused"),
    ],
)
async def test_errors_become_results(
    hass: HomeAssistant,
    worker,
    set_up,
    audio,
    caplog: pytest.LogCaptureFixture,
    fault: faults.Refuse,
    code: str,
    hear,
) -> None:
    """Our errors are one line in the log and an error result; a second one is no second line."""
    entry = await set_up(worker)
    worker.faults.append(fault)
    for _ in range(2):
        result = await hear(audio.microphone(audio.tone(1)))
        assert result == stt.SpeechResult(None, stt.SpeechResultState.ERROR)
    assert len(ours(caplog)) == 1
    assert entry.runtime_data.health.last_error.replace("-", "_") == code
    assert hass.states.get(ENGINE).state == "unavailable"

    worker.faults.clear()
    result = await hear(audio.microphone(audio.tone(1.6)))
    assert result.text == SENTENCE
    assert hass.states.get(ENGINE).state != "unavailable"
    assert len(ours(caplog)) == 1
    assert "can be used again" in caplog.text


async def test_daily_limit(
    hass: HomeAssistant, fast_worker, set_up, audio, caplog: pytest.LogCaptureFixture, hear
) -> None:
    """Past the user's own limit no turn begins; it is said once."""
    entry = await set_up(fast_worker, {"daily_minutes": 1})
    entry.runtime_data.usage.add(60)
    before = len(fast_worker.connections)
    for _ in range(2):
        result = await hear(audio.microphone(audio.tone(1)))
        assert result == stt.SpeechResult(None, stt.SpeechResultState.ERROR)
    assert len(fast_worker.connections) == before
    (line,) = ours(caplog)
    assert "limit of 1 minutes a day" in line
    # Nothing is wrong with Flux.
    assert hass.states.get(ENGINE).state != "unavailable"


async def test_nothing_private_is_logged(
    hass: HomeAssistant, fast_worker, set_up, audio, caplog: pytest.LogCaptureFixture, hear
) -> None:
    """Not even debug logging shows what was said, the key terms or the token."""
    caplog.set_level(logging.DEBUG, "custom_components.wyoming_flux")
    caplog.set_level(logging.DEBUG, "wyoming_flux")
    await set_up(fast_worker, {"keyterms": ["Ecobee"]})
    await hear(audio.chunks(audio.tone(1.6)))
    said = "\n".join(ours(caplog, logging.DEBUG))
    assert "29 characters" in said
    assert SENTENCE not in said
    assert "Ecobee" not in said
    assert "door-opener" not in said


# --- POST /api/stt ----------------------------------------------------------------------------


def wav(pcm: bytes, rate: int = 16000, channels: int = 1) -> bytes:
    """Return a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(pcm)
    return file.getvalue()


async def post(
    hass_client: ClientSessionGenerator, body: bytes, rate: int = 16000, channels: int = 1
) -> dict[str, Any]:
    """Send audio to the entity over HTTP, as fast as it is taken."""
    client = await hass_client()
    header = HEADER.format(rate=rate, channels=channels)
    async with asyncio.timeout(20):
        response = await client.post(
            f"/api/stt/{ENGINE}", data=body, headers={"X-Speech-Content": header}
        )
        assert response.status == HTTPStatus.OK
        return await response.json()


async def test_http_with_bare_samples(
    hass: HomeAssistant, fast_worker, set_up, audio, hass_client: ClientSessionGenerator
) -> None:
    """Home Assistant's own interface for speech-to-text works with samples alone."""
    await set_up(fast_worker)
    answer = await post(hass_client, audio.sentence())
    assert answer == {"text": SENTENCE, "result": "success"}


async def test_http_with_a_riff_header(
    hass: HomeAssistant, fast_worker, set_up, audio, hass_client: ClientSessionGenerator
) -> None:
    """A WAV file's header is not heard as a noise."""
    await set_up(fast_worker)
    speech = audio.tone(0.5) + audio.silence(0.5)
    answer = await post(hass_client, wav(speech))
    assert answer["result"] == "success"
    assert bytes(fast_worker.connections[-1].audio).startswith(speech)


async def test_http_with_another_format(
    hass: HomeAssistant, fast_worker, set_up, audio, hass_client: ClientSessionGenerator
) -> None:
    """Stereo at 48 kHz is converted, outside of the event loop."""
    await set_up(fast_worker)
    mono = type(audio)(48000).sentence()
    stereo = b"".join(mono[i : i + 2] * 2 for i in range(0, len(mono), 2))
    answer = await post(hass_client, wav(stereo, 48000, 2), 48000, 2)
    assert answer == {"text": SENTENCE, "result": "success"}
    spoken = fast_worker.connections[-1].audio.rstrip(b"\0")
    # Not at three times, or twice, the speed; the filter rings for some samples.
    assert len(spoken) / 2 / 16000 == pytest.approx(1.6, abs=0.02)


@pytest.mark.parametrize(
    "body", [b"RIFF\0\0\0\0WAVEfmt ", wav(b""), b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd"]
)
async def test_http_with_a_broken_wav(
    hass: HomeAssistant,
    worker,
    set_up,
    hass_client: ClientSessionGenerator,
    caplog: pytest.LogCaptureFixture,
    body: bytes,
) -> None:
    """A WAV that cannot be read is an error result and one line; Flux stays available."""
    await set_up(worker)
    answer = await post(hass_client, body)
    assert answer == {"text": None, "result": "error"}
    (line,) = ours(caplog)
    assert "WAV" in line
    assert hass.states.get(ENGINE).state != "unavailable"


async def test_http_with_nothing(
    hass: HomeAssistant, fast_worker, set_up, hass_client: ClientSessionGenerator
) -> None:
    """A body shorter than any header is no crash."""
    await set_up(fast_worker)
    answer = await post(hass_client, b"RI")
    assert answer == {"text": "", "result": "success"}


def progress(hass: HomeAssistant, stream: AsyncGenerator[bytes]) -> AsyncGenerator[Any]:
    """Hear as Home Assistant 2026.11 does."""
    engine = hass.data[DATA_COMPONENT].get_entity(ENGINE)
    return engine.async_process_audio_stream_with_progress(METADATA, stream)


async def test_text_so_far(hass: HomeAssistant, worker, set_up, audio) -> None:
    """Each partial text is all so far, the last thing is the one result."""
    await set_up(worker)
    async with asyncio.timeout(20):
        found = [one async for one in progress(hass, audio.microphone(audio.tone(1.6)))]
    *partial, result = found
    assert result == stt.SpeechResult(SENTENCE, stt.SpeechResultState.SUCCESS)
    assert partial
    texts = [one.text for one in partial]
    assert not any(isinstance(one, stt.SpeechResult) for one in partial)
    assert texts == sorted(texts, key=len)
    assert all(SENTENCE.startswith(text.strip()) for text in texts)


async def test_text_so_far_is_closed_early(
    hass: HomeAssistant, worker, set_up, audio, eventually
) -> None:
    """Who does not want the rest ends the turn: Flux is closed, nothing runs on."""
    entry = await set_up(worker)
    async with asyncio.timeout(20):
        heard = progress(hass, audio.microphone(audio.tone(60)))
        await anext(heard)
        await heard.aclose()
    await eventually(lambda: worker.connections[-1].closed_by_client)
    await hass.async_block_till_done(wait_background_tasks=True)
    assert entry.runtime_data.running == set()


async def test_text_so_far_of_a_failure(hass: HomeAssistant, worker, set_up, audio) -> None:
    """A failure is one result as well."""
    await set_up(worker)
    worker.faults.append(faults.Refuse(status=402, body=""))
    async with asyncio.timeout(20):
        found = [one async for one in progress(hass, audio.microphone(audio.tone(1)))]
    assert found == [stt.SpeechResult(None, stt.SpeechResultState.ERROR)]
