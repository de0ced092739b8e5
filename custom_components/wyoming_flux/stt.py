"""The speech-to-text entity: Home Assistant's audio in, Flux's transcript out."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol, override, runtime_checkable

from homeassistant.components.stt import (
    AudioBitRates,
    AudioChannels,
    AudioCodecs,
    AudioFormats,
    AudioSampleRates,
    SpeechMetadata,
    SpeechResult,
    SpeechResultState,
    SpeechToTextEntity,
)
from homeassistant.components.stt.models import SpeechAudioProcessing
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from wyoming_flux.audio import AudioFormat, Intake, Level
from wyoming_flux.errors import QuotaExceeded, WyomingFluxError
from wyoming_flux.utterance import Transcriber, Transcript

from . import options as opt
from .const import CONF_ENHANCED_AUDIO, CONF_EXTERNAL_VAD
from .data import FluxConfigEntry
from .entity import FluxEntity

try:
    from homeassistant.components.stt.models import (  # type: ignore[attr-defined,unused-ignore]
        PartialSpeechResult,
    )
except ImportError:  # before Home Assistant 2026.11, which does not ask for partial text

    @dataclass
    class PartialSpeechResult:  # type: ignore[no-redef,unused-ignore]
        """The text so far."""

        text: str


_LOGGER: Final = logging.getLogger(__name__)

PARALLEL_UPDATES: Final = 0

_LET_GO: Final = 1.0
"""Seconds that the source of the audio may take to accept that nobody reads it any more."""


async def async_setup_entry(
    _hass: HomeAssistant,
    entry: FluxConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Make the entity of an entry."""
    async_add_entities([FluxSpeechToText(entry)])


@runtime_checkable
class _Closable(Protocol):
    async def aclose(self) -> None:
        """End an asynchronous generator."""


class FluxSpeechToText(FluxEntity, SpeechToTextEntity):
    """Answers as soon as Flux knows that the sentence is over."""

    _attr_name: str | None = None

    def __init__(self, entry: FluxConfigEntry) -> None:
        """Take the entry."""
        super().__init__(entry)
        self._entry = entry
        known = opt.complete(entry.options)
        enhanced = known[CONF_ENHANCED_AUDIO]
        self._audio_processing = SpeechAudioProcessing(
            requires_external_vad=known[CONF_EXTERNAL_VAD],
            prefers_auto_gain_enabled=enhanced,
            prefers_noise_reduction_enabled=enhanced,
        )

    @property
    @override
    def supported_languages(self) -> list[str]:
        """Return what the model understands."""
        return list(self._data.connector.endpoint.languages(self._data.settings.model))

    @property
    @override
    def supported_formats(self) -> list[AudioFormats]:
        """Return the one format."""
        return [AudioFormats.WAV]

    @property
    @override
    def supported_codecs(self) -> list[AudioCodecs]:
        """Return the one codec."""
        return [AudioCodecs.PCM]

    @property
    @override
    def supported_bit_rates(self) -> list[AudioBitRates]:
        """Return all bit rates of PCM: what is not 16 is converted."""
        return list(AudioBitRates)

    @property
    @override
    def supported_sample_rates(self) -> list[AudioSampleRates]:
        """Return what can be converted; a pipeline always sends 16000."""
        return [
            AudioSampleRates.SAMPLERATE_8000,
            AudioSampleRates.SAMPLERATE_16000,
            AudioSampleRates.SAMPLERATE_32000,
            AudioSampleRates.SAMPLERATE_44100,
            AudioSampleRates.SAMPLERATE_48000,
        ]

    @property
    @override
    def supported_channels(self) -> list[AudioChannels]:
        """Return mono, and stereo, which is averaged."""
        return list(AudioChannels)

    @property
    @override
    def audio_processing(self) -> SpeechAudioProcessing:
        """Return who detects the end of speech, and which audio a satellite should send."""
        return self._audio_processing

    @property
    @override
    def available(self) -> bool:
        """Return whether the last use of the endpoint succeeded; a turn is tried in any case."""
        return self._data.health.available

    @override
    async def async_added_to_hass(self) -> None:
        """Listen to whether Flux can be used."""
        await super().async_added_to_hass()
        self.async_on_remove(self._data.health.async_listen(self.async_write_ha_state))

    @override
    async def async_process_audio_stream(
        self, metadata: SpeechMetadata, stream: AsyncIterable[bytes]
    ) -> SpeechResult:
        """Return what was said, at the moment Flux knows that it is over.

        The audio may go on then: it is not read any further. Never raises for what can go wrong
        with audio, endpoint or network; that becomes one line in the log and an error result.
        """
        return await self._hear(metadata, stream)

    async def async_process_audio_stream_with_progress(
        self, metadata: SpeechMetadata, stream: AsyncIterable[bytes]
    ) -> AsyncGenerator[Any]:
        """Like the above for Home Assistant 2026.11: with the text so far, then one result.

        Closed early it ends the turn.
        """
        texts: asyncio.Queue[str | None] = asyncio.Queue()
        hearing = self._task(self._hear(metadata, stream, texts.put_nowait), "hears")
        hearing.add_done_callback(lambda _: texts.put_nowait(None))
        said = ""
        try:
            while (more := await texts.get()) is not None:
                said += more
                yield PartialSpeechResult(text=said)
            yield await hearing
        finally:
            hearing.cancel()
            await asyncio.wait((hearing,), timeout=2 * _LET_GO)

    async def _hear(
        self,
        metadata: SpeechMetadata,
        stream: AsyncIterable[bytes],
        on_partial: Callable[[str], None] | None = None,
    ) -> SpeechResult:
        data = self._data
        if data.stopping:
            return _failed()
        try:
            data.usage.check()
        except QuotaExceeded as err:
            data.health.limit_reached(err)
            if not data.fallbacks:
                return _failed()
        try:
            turn = data.begin(metadata.language, on_partial)
        except QuotaExceeded:
            return _failed()
        level = Level(AudioFormat(data.settings.sample_rate, 2, 1))
        source = aiter(stream)
        reader = self._task(self._read(source, metadata, level, turn), "reads audio")
        answer = self._task(turn.result(), "waits for the transcript")
        try:
            await asyncio.wait((reader, answer), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                # Home Assistant ended first: Flux is asked for what it has. What went wrong with
                # the audio ends the turn here.
                await reader
            transcript = (await answer).whole()
        except WyomingFluxError as err:
            data.health.failed(data.health.fault_in(turn.report) or err)
            return _failed()
        except _SourceFailed as err:
            _LOGGER.warning("%s: the audio broke off: %s", self._entry.title, err)
            return _failed()
        except asyncio.CancelledError:
            if _is_cancelled() or not self._data.stopping:
                raise
            return _failed()  # the entry is unloaded in the middle of the turn
        else:
            return self._succeeded(transcript, turn, level)
        finally:
            # The reader first: a generator that is being read cannot be closed.
            reader.cancel()
            answer.cancel()
            # The network may take its time to close; the pipeline goes on meanwhile.
            _ = self._task(data.async_end(turn), "closes the turn")
            await _let_go(source, reader, answer)

    async def _read(
        self,
        source: AsyncIterator[bytes],
        said: SpeechMetadata,
        level: Level,
        turn: Transcriber,
    ) -> None:
        # All audio is called WAV: it may or may not begin with a RIFF header.
        bare = AudioFormat(int(said.sample_rate), int(said.bit_rate) // 8, int(said.channel))
        rate = self._data.settings.sample_rate
        intake = Intake(rate, bare, run=self.hass.async_add_executor_job)
        while True:
            try:
                chunk = await anext(source)
            except StopAsyncIteration:
                break
            except Exception as err:
                raise _SourceFailed(f"{type(err).__name__}: {err}") from err
            if pcm := await intake.feed(chunk):
                level.feed(pcm, time.monotonic())
                await turn.send(pcm)
        if pcm := await intake.finish():
            await turn.send(pcm)
        turn.end()

    def _succeeded(self, transcript: Transcript, turn: Transcriber, level: Level) -> SpeechResult:
        response_ms = None
        if transcript.text and level.spoke_at is not None:
            response_ms = (time.monotonic() - level.spoke_at) * 1000
        stats = self._data.health.last_report = turn.report
        self._data.health.answered(stats, response_ms)
        _LOGGER.debug(
            "Turn of %s: %s, %.2f s of audio, connected in %s ms, %s ms after speech, %d attempts,"
            " %d characters",
            self._entry.title,
            transcript.trigger,
            stats.audio_seconds,
            _rounded(stats.connect_ms),
            _rounded(response_ms),
            stats.attempts,
            len(transcript.text),
        )
        return SpeechResult(transcript.text, SpeechResultState.SUCCESS)

    def _task[T](self, work: Coroutine[Any, Any, T], what: str) -> asyncio.Task[T]:
        return self._entry.async_create_background_task(self.hass, work, f"{self.entity_id} {what}")


class _SourceFailed(Exception):
    """The source of the audio raised: the client has gone, or the request was broken."""


async def _let_go(
    source: AsyncIterator[bytes], reader: asyncio.Task[None], answer: asyncio.Task[Transcript]
) -> None:
    done, _ = await asyncio.wait((reader, answer), timeout=_LET_GO)
    for task in done:
        # What one of them came to after the other had decided concerns nobody any more.
        _ = task.cancelled() or task.exception()
    if not reader.done() or not isinstance(source, _Closable):
        return
    try:
        async with asyncio.timeout(_LET_GO):
            await source.aclose()
    except Exception as err:
        _LOGGER.debug("The source of the audio does not close: %s", type(err).__name__)


def _is_cancelled() -> bool:
    """Tell whether somebody cancels us, rather than what we waited for having been cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _failed() -> SpeechResult:
    return SpeechResult(None, SpeechResultState.ERROR)


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)
