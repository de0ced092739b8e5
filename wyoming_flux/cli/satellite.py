"""Transcribes one recording as a satellite does: as the client of a Wyoming server."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any, Final

from wyoming.asr import Transcribe, Transcript, TranscriptChunk
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.error import Error
from wyoming.event import Event

from wyoming_flux.audio import AudioFormat
from wyoming_flux.errors import (
    ConnectionLost,
    FluxTimeout,
    Unreachable,
    WyomingFluxError,
    os_reason,
)
from wyoming_flux.utterance import Trigger

from .outcome import Display, Outcome
from .player import Player, slices
from .recording import Recording

OPEN_MICROPHONE: Final = 30.0
"""Seconds of silence after the recording, then the client ends its audio."""
CONNECT_TIMEOUT: Final = 5.0
ANSWER_TIMEOUT: Final = 20.0
"""Seconds for the answer once the audio was ended."""


class ServerError(WyomingFluxError):
    """An ``error`` event of the server."""

    def __init__(self, text: str, code: str | None) -> None:
        """Take over the server's own words."""
        super().__init__(text)
        self.server_code = code


@dataclass(frozen=True, slots=True)
class Wish:
    """What the client asks for in ``transcribe``; None and () leave it to the server."""

    language: str | None = None
    keyterms: tuple[str, ...] = ()
    sensitivity: str | None = None

    def event(self) -> Event:
        """Return the event."""
        data: dict[str, Any] = Transcribe(language=self.language).event().data
        if self.keyterms:
            data["transcript_terms"] = list(self.keyterms)
        if self.sensitivity:
            data["vad_sensitivity"] = self.sensitivity
        return Event("transcribe", data)


async def transcribe(
    recording: Recording,
    player: Player,
    display: Display,
    *,
    uri: str,
    wish: Wish,
    fast: bool,
    ending: asyncio.Event,
) -> Outcome:
    """Play the recording to the server at *uri* and wait for its transcript.

    In real time the microphone stays open after the recording, as that of a satellite does, until
    the transcript comes; ``fast`` ends the audio with the recording. Raises
    :class:`~wyoming_flux.errors.WyomingFluxError`, ``OSError``.
    """
    client = AsyncClient.from_uri(uri, connect_timeout=CONNECT_TIMEOUT)
    started = time.perf_counter()
    try:
        await client.connect()
    except (OSError, TimeoutError) as error:
        reason = "it does not answer" if isinstance(error, TimeoutError) else os_reason(error)
        raise Unreachable(f"the server {uri} cannot be reached: {reason}") from error
    connect_ms = (time.perf_counter() - started) * 1000
    display.event(f"connected to {uri}")
    try:
        session = _Session(client, recording.format, player, display, ending)
        text = await session.run(recording, wish, fast=fast)
        after_speech = player.after_speech_ms
    finally:
        with contextlib.suppress(OSError):
            await client.disconnect()
    return Outcome(
        file=recording.name,
        text=text,
        trigger=session.trigger(text),
        audio_seconds=player.seconds,
        connect_ms=connect_ms,
        after_speech_ms=after_speech,
        attempts=1,
    )


class _Session:
    def __init__(
        self,
        client: AsyncClient,
        source: AudioFormat,
        player: Player,
        display: Display,
        ending: asyncio.Event,
    ) -> None:
        self._client = client
        self._source = source
        self._player = player
        self._display = display
        self._ending = ending
        self._stopped = False

    def trigger(self, text: str) -> Trigger:
        """Why the answer came, as far as a client can tell: the protocol does not say it."""
        if self._stopped:
            return Trigger.AUDIO_STOP
        return Trigger.END_OF_TURN if text else Trigger.NO_SPEECH

    async def run(self, recording: Recording, wish: Wish, *, fast: bool) -> str:
        """Send and receive at the same time; return the transcript."""
        answer = asyncio.create_task(self._receive(), name="receive")
        upload = asyncio.create_task(self._send(recording, wish, fast=fast), name="send")
        stopper = asyncio.create_task(self._end_early(upload), name="end early")
        tasks = (answer, upload, stopper)
        try:
            await asyncio.wait((answer, upload), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                if not upload.cancelled() and (fault := upload.exception()):
                    # A server that closes says why, if at all, before it does.
                    await self._bounded(answer, fault)
                else:
                    await self._bounded(answer, None)
            return await answer
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _bounded(self, answer: "asyncio.Task[str]", fault: BaseException | None) -> None:
        if isinstance(fault, WyomingFluxError) or (
            fault is not None and not isinstance(fault, OSError)
        ):
            raise fault
        if fault is None and not self._stopped:
            await self._stop()
        done, _ = await asyncio.wait((answer,), timeout=ANSWER_TIMEOUT)
        if not done:
            raise FluxTimeout(f"the server gave no answer within {ANSWER_TIMEOUT:g} s")

    async def _end_early(self, upload: "asyncio.Task[None]") -> None:
        await self._ending.wait()
        upload.cancel()

    async def _send(self, recording: Recording, wish: Wish, *, fast: bool) -> None:
        source = self._source
        self._display.begin(recording.seconds)
        await self._client.write_event(wish.event())
        await self._client.write_event(
            AudioStart(rate=source.rate, width=source.width, channels=source.channels).event()
        )
        self._display.event(
            f"transcribe, audio-start ({source.rate} Hz, {8 * source.width} bit,"
            f" {source.channels} ch)"
        )
        async for chunk in self._player.chunks():
            for piece in slices(chunk, source):
                await self._chunk(piece)
        if not fast and not recording.live:
            self._display.event("the recording ends; the microphone stays open")
            async for chunk in self._player.silence(OPEN_MICROPHONE):
                await self._chunk(chunk)
        await self._stop()

    async def _stop(self) -> None:
        await self._client.write_event(AudioStop().event())
        self._stopped = True
        self._display.event("audio-stop")

    async def _chunk(self, pcm: bytes) -> None:
        source = self._source
        chunk = AudioChunk(source.rate, source.width, source.channels, pcm)
        await self._client.write_event(chunk.event())

    async def _receive(self) -> str:
        while True:
            try:
                event = await self._client.read_event()
            except (OSError, EOFError):
                event = None
            if event is None:
                raise ConnectionLost("the server closed the connection without an answer")
            if Transcript.is_type(event.type):
                self._display.event("transcript")
                return Transcript.from_event(event).text
            if Error.is_type(event.type):
                error = Error.from_event(event)
                raise ServerError(error.text, error.code)
            if TranscriptChunk.is_type(event.type):
                self._display.partial(TranscriptChunk.from_event(event).text)
