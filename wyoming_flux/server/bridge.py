"""TO BE DELETED WHEN MERGED: the coming ``wyoming_flux.utterance`` on top of the one of today.

Who imports from here imports from ``wyoming_flux.utterance`` then; nothing else changes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from wyoming_flux.errors import ConnectionLost, WyomingFluxError
from wyoming_flux.flux import Connector
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance import Transcriber as OldTranscriber


class Trigger(StrEnum):
    """Why the transcript was given at that moment."""

    END_OF_TURN = "end-of-turn"
    AUDIO_STOP = "audio-stop"
    NO_SPEECH = "no-speech"
    NO_AUDIO = "no-audio"
    MAX_TURN = "max-turn"
    CONNECTION_LOST = "connection-lost"
    DAILY_LIMIT = "daily-limit"


@dataclass(frozen=True, slots=True)
class Transcript:
    """The answer to one utterance."""

    text: str
    trigger: Trigger
    missing: float = 0.0

    def whole(self) -> Self:
        """Return this, or raise :class:`ConnectionLost` where something is missing."""
        if self.missing:
            raise ConnectionLost(f"{self.missing:.1f} s of what was said are missing.")
        return self


@dataclass(frozen=True, slots=True)
class Report:
    """What an utterance came to and cost."""

    trigger: Trigger | None = None
    error: WyomingFluxError | None = None
    missing: float = 0.0
    audio_seconds: float = 0.0
    connect_ms: float | None = None
    attempts: int = 0
    endpoint: str | None = None
    faults: tuple[str, ...] = ()
    after_audio_ms: float | None = None
    characters: int = 0


class Transcriber:
    """One utterance, as the server will see it."""

    def __init__(
        self,
        connectors: Sequence[Connector],
        flux: FluxSettings,
        settings: UtteranceSettings,
        *,
        on_partial: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare."""
        self._old = OldTranscriber(connectors[0], flux, settings, on_partial=on_partial)
        self._host = connectors[0].endpoint.host
        self._per_second = flux.sample_rate * 2
        self._left: int | None = None
        self._trigger: Trigger | None = None
        self._transcript: Transcript | None = None
        self._error: WyomingFluxError | None = None

    def start(self) -> None:
        """Begin to connect."""
        self._old.start()

    async def send(self, pcm: bytes) -> None:
        """Take audio."""
        if self._left is not None:
            pcm = pcm[: self._left]
            self._left -= len(pcm)
        await self._old.send(pcm)
        if self._left == 0:
            self._old.end()

    def end(self) -> None:
        """No more audio follows."""
        self._trigger = None
        self._old.end()

    def limit(self, seconds: float, trigger: Trigger) -> None:
        """Take no more than so many seconds of audio from here on."""
        self._left, self._trigger = int(seconds * self._per_second) // 2 * 2, trigger

    @property
    def done(self) -> bool:
        """Whether the result is known."""
        return self._old.done

    async def result(self) -> Transcript:
        """Wait for the transcript."""
        try:
            old = await self._old.result()
        except WyomingFluxError as error:
            self._error = error
            raise
        self._transcript = Transcript(old.text, self._trigger or Trigger(str(old.trigger)))
        return self._transcript

    async def close(self) -> None:
        """Give up."""
        await self._old.close()

    @property
    def report(self) -> Report:
        """What it has come to by now."""
        stats, found = self._old.stats, self._transcript
        return Report(
            trigger=found.trigger if found else None,
            error=self._error,
            audio_seconds=stats.audio_seconds,
            connect_ms=stats.connect_ms,
            attempts=stats.attempts,
            endpoint=self._host if stats.connect_ms is not None else None,
            after_audio_ms=stats.after_audio_ms,
            characters=len(found.text) if found else 0,
        )
