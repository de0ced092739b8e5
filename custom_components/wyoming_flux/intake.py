"""Home Assistant's audio in: bare samples of a pipeline, or perhaps a WAV from ``/api/stt``."""

from typing import Final

from homeassistant.components.stt import SpeechMetadata
from homeassistant.core import HomeAssistant

from wyoming_flux.audio import AudioFormat, Converter
from wyoming_flux.wav import WavReader, is_wav

from .meter import SpeechMeter


class Intake:
    """Turns chunks of any size into linear16 mono at the stream's rate.

    The metadata call all audio WAV: it may or may not begin with a RIFF header. If it does, the
    header's format wins. Raises :class:`wyoming_flux.errors.InvalidAudio`.
    """

    def __init__(self, hass: HomeAssistant, metadata: SpeechMetadata, sample_rate: int) -> None:
        """Take what was announced, and the rate in Hz that is wanted."""
        self.meter: Final = SpeechMeter()
        self._hass = hass
        self._metadata = metadata
        self._sample_rate = sample_rate
        self._head = bytearray()
        self._wav: WavReader | None = None
        self._converter: Converter | None = None

    async def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; returns what is ready, maybe nothing."""
        if self._wav is not None:
            pcm = self._wav.feed(chunk)
        elif self._converter is not None:
            pcm = chunk
        else:
            pcm = self._begin(chunk)
        return await self._convert(pcm)

    async def finish(self) -> bytes:
        """Return what was held back, at the end of the audio."""
        if self._wav is not None:
            self._wav.finish()
        # A stream shorter than a header is audio.
        rest = await self._convert(bytes(self._head))
        if self._converter is not None:
            rest += self._converter.flush()
        return rest

    def _begin(self, chunk: bytes) -> bytes:
        self._head += chunk
        found = is_wav(self._head)
        if found is None:
            return b""
        head = bytes(self._head)
        self._head.clear()
        if not found:
            return head
        self._wav = WavReader()
        return self._wav.feed(head)

    async def _convert(self, pcm: bytes) -> bytes:
        if not pcm:
            return b""
        if self._converter is None:
            self._converter = await self._make_converter()
        linear = self._converter.convert(pcm)
        self.meter.feed(linear)
        return linear

    async def _make_converter(self) -> Converter:
        said = self._metadata
        source = self._wav.format if self._wav is not None else None
        if source is None:
            source = AudioFormat(int(said.sample_rate), int(said.bit_rate) // 8, int(said.channel))
        if source.matches(self._sample_rate):
            return Converter(source, self._sample_rate)
        # numpy is imported and a filter designed: not in the event loop.
        return await self._hass.async_add_executor_job(Converter, source, self._sample_rate)
