"""*If Flux cannot be reached*: another speech-to-text entity of this Home Assistant."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from homeassistant.components import stt
from homeassistant.components.stt.const import DATA_COMPONENT
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.util.language import matches

from wyoming_flux.errors import ConnectionLost, Unreachable, WyomingFluxError
from wyoming_flux.flux.learnt import EndpointMemory
from wyoming_flux.remote.endpoint import CONNECT_TIMEOUT, RemoteConnection, open_stream
from wyoming_flux.settings import FluxSettings
from wyoming_flux.utterance.outcome import Transcript, Trigger

_LONGEST: Final = 10.0
"""Seconds that an engine may take for its answer once a turn is over."""


class EntityEndpoint:
    """An entity as one more endpoint of an utterance."""

    billed: Final = False
    """Whether what it hears counts as minutes of Flux."""

    def __init__(self, hass: HomeAssistant, entity_id: str) -> None:
        """Take which one; whether it is there is seen when it is needed."""
        self.name: Final = entity_id
        self.learnt: Final = EndpointMemory(())
        """Whether it is down; its control message needs no proof."""
        self._hass = hass

    @staticmethod
    def languages(_model: str) -> tuple[str, ...]:
        """Return no languages of its own: those of the entry are what a pipeline sees."""
        return ()

    def check(self, _settings: FluxSettings) -> None:
        """Accept any settings: none of them concerns it."""

    async def connect(
        self, settings: FluxSettings, *, timeout: float = CONNECT_TIMEOUT
    ) -> RemoteConnection:
        """Open a stream of linear16. Raises :class:`EndpointError`."""
        language = settings.language or "en"
        return await open_stream(
            self.name,
            lambda: _Sentence(self._hass, self.name, language),
            settings.sample_rate,
            timeout,
        )


class _Sentence:
    """One turn, heard by the entity."""

    def __init__(self, hass: HomeAssistant, entity_id: str, language: str) -> None:
        self.connect_ms: float | None = 0.0
        self._hass = hass
        self._entity_id = entity_id
        self._language = language
        self._audio: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._hearing: asyncio.Task[Transcript] | None = None
        self._ended = asyncio.Event()

    async def connected(self) -> None:
        self._entity()

    async def send(self, pcm: bytes) -> None:
        if self._hearing is None:
            self._hearing = asyncio.create_task(self._hear(), name=f"{self._entity_id} hears")
        if not self.done:
            self._audio.put_nowait(pcm)

    def end(self) -> None:
        self._audio.put_nowait(None)
        self._ended.set()

    @property
    def done(self) -> bool:
        return self._hearing is not None and self._hearing.done()

    async def result(self) -> Transcript:
        assert self._hearing is not None  # noqa: S101 - a turn begins with audio
        waiting = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait((self._hearing, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        done, _ = await asyncio.wait((self._hearing,), timeout=_LONGEST)
        if not done:
            raise ConnectionLost(f"{self._entity_id} did not answer within {_LONGEST:g} s")
        return self._hearing.result()

    async def close(self) -> None:
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.wait((self._hearing,), timeout=1.0)
            _ = not self._hearing.done() or self._hearing.cancelled() or self._hearing.exception()

    def _entity(self) -> stt.SpeechToTextEntity:
        entity = self._hass.data[DATA_COMPONENT].get_entity(self._entity_id)
        state = self._hass.states.get(self._entity_id)
        if entity is None or state is None or state.state == STATE_UNAVAILABLE:
            raise Unreachable(f"{self._entity_id} cannot be used now")
        return entity

    async def _hear(self) -> Transcript:
        entity = self._entity()
        language = matches(
            self._language, entity.supported_languages, country=self._hass.config.country
        )
        metadata = stt.SpeechMetadata(
            language=language[0] if language else self._language,
            format=stt.AudioFormats.WAV,
            codec=stt.AudioCodecs.PCM,
            bit_rate=stt.AudioBitRates.BITRATE_16,
            sample_rate=stt.AudioSampleRates.SAMPLERATE_16000,
            channel=stt.AudioChannels.CHANNEL_MONO,
        )
        try:
            result: stt.SpeechResult = await entity.internal_async_process_audio_stream(
                metadata, self._stream()
            )
        except WyomingFluxError:
            raise
        except Exception as err:
            raise ConnectionLost(f"{self._entity_id}: {type(err).__name__}: {err}") from err
        if result.result is not stt.SpeechResultState.SUCCESS:
            raise ConnectionLost(f"{self._entity_id} could not understand the audio")
        return Transcript(result.text or "", Trigger.END_OF_TURN)

    async def _stream(self) -> AsyncGenerator[bytes]:
        while (pcm := await self._audio.get()) is not None:
            yield pcm
