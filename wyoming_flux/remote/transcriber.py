"""A Wyoming client for one utterance, with the face of a transcriber."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from wyoming.asr import Transcribe, TranscriptChunk
from wyoming.asr import Transcript as TranscriptEvent
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
from wyoming_flux.utterance import Transcript, Trigger

CONNECT_TIMEOUT: Final = 5.0
ANSWER_TIMEOUT: Final = 20.0
"""Seconds for the answer once the audio was ended."""
TAKE_TIMEOUT: Final = 120.0
"""Seconds in which an engine takes no audio: ours does not while it has a minute heard again."""

_CLOSE_TIMEOUT: Final = 1.0


class ServerError(WyomingFluxError):
    """An ``error`` event of the engine, in its own words."""

    def __init__(self, text: str, code: str | None) -> None:
        """Keep its code as well."""
        super().__init__(text)
        self.server_code = code


@dataclass(frozen=True, slots=True)
class Wish:
    """What the client asks for in ``transcribe``; None and () leave it to the engine."""

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


class RemoteTranscriber:
    """One utterance, heard by another Wyoming engine.

    ``start()`` connects, ``send()`` takes audio, ``end()`` says that there is no more, ``result()``
    waits for the transcript. ``close()`` must be called in any case.
    """

    def __init__(
        self,
        uri: str,
        source: AudioFormat,
        wish: Wish | None = None,
        *,
        on_partial: Callable[[str], None] = lambda _: None,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare, in a running loop; *on_step* is told what happens, for people.

        *uri* is ``tcp://HOST:PORT`` or ``unix:///PATH``, audio of *source* is sent as it is.
        """
        self.connect_ms: float | None = None
        self.audio_seconds = 0.0
        """Audio that was sent."""
        self._uri = uri
        self._source = source
        self._wish = wish or Wish()
        self._on_partial = on_partial
        self._on_step = on_step
        self._client = AsyncClient.from_uri(uri, connect_timeout=CONNECT_TIMEOUT)
        loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[None] = loop.create_future()
        self._outcome: asyncio.Future[Transcript | WyomingFluxError] = loop.create_future()
        self._begun = False
        self._ended = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to connect; idempotent."""
        if not self._tasks:
            self._tasks.append(asyncio.create_task(self._run(), name="engine"))

    async def connected(self) -> None:
        """Wait for the connection. Raises :class:`WyomingFluxError`."""
        self.start()
        await asyncio.wait((self._connected, self._outcome), return_when=asyncio.FIRST_COMPLETED)
        if not self._connected.done():
            await self.result()

    async def send(self, pcm: bytes) -> None:
        """Send audio, in pieces of any length; once the result is known it is discarded."""
        if self.done or self._ended:
            return
        await self._write(AudioChunk(*self._format, pcm).event())
        self.audio_seconds += len(pcm) / self._source.bytes_per_second

    def end(self) -> None:
        """Take note that the client is done; the answer has 20 s."""
        if not self._ended:
            self._ended = True
            self.start()
            self._tasks.append(asyncio.create_task(self._stop(), name="audio-stop"))

    @property
    def done(self) -> bool:
        """Whether the result, or the error, is known."""
        return self._outcome.done()

    @property
    def heard(self) -> float | None:
        """Seconds that were heard so far: Wyoming does not tell."""
        return None

    async def result(self) -> Transcript:
        """Wait for the transcript. Raises :class:`WyomingFluxError` where there is none."""
        self.start()
        await asyncio.wait((self._outcome,))
        outcome = self._outcome.result()
        if isinstance(outcome, WyomingFluxError):
            raise outcome.with_traceback(None)
        return outcome

    async def close(self) -> None:
        """Leave the engine, within a second; idempotent."""
        self._outcome.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._client.disconnect()

    @property
    def _format(self) -> tuple[int, int, int]:
        return self._source.rate, self._source.width, self._source.channels

    async def _run(self) -> None:
        try:
            await self._connect()
            text = await self._answer()
        except WyomingFluxError as error:
            self._finish(error)
        else:
            # The protocol does not say why; this is as far as a client can tell.
            spoken = Trigger.END_OF_TURN if text else Trigger.NO_SPEECH
            self._finish(Transcript(text, Trigger.AUDIO_STOP if self._ended else spoken))

    async def _connect(self) -> None:
        started = time.perf_counter()
        try:
            await self._client.connect()
        except (OSError, TimeoutError) as error:
            reason = "it does not answer" if isinstance(error, TimeoutError) else os_reason(error)
            raise Unreachable(f"the server {self._uri} cannot be reached: {reason}") from error
        self.connect_ms = (time.perf_counter() - started) * 1000
        self._on_step(f"connected to {self._uri}")
        self._connected.set_result(None)

    async def _answer(self) -> str:
        while True:
            try:
                event = await self._client.read_event()
                if event is None:
                    raise ConnectionLost(
                        f"the server {self._uri} closed the connection without an answer"
                    )
                if TranscriptEvent.is_type(event.type):
                    self._on_step("transcript")
                    return str(TranscriptEvent.from_event(event).text)
                if Error.is_type(event.type):
                    said = Error.from_event(event)
                    raise ServerError(str(said.text), said.code)
                if TranscriptChunk.is_type(event.type):
                    self._on_partial(str(TranscriptChunk.from_event(event).text))
            except (OSError, EOFError) as error:
                raise ConnectionLost(
                    f"the connection to the server {self._uri} broke: {os_reason(error)}"
                ) from error
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise ConnectionLost(
                    f"the server {self._uri} does not speak Wyoming: {type(error).__name__}"
                ) from error

    async def _write(self, event: Event) -> None:
        await self.connected()
        try:
            async with asyncio.timeout(TAKE_TIMEOUT):
                if not self._begun:
                    self._begun = True
                    await self._begin()
                await self._client.write_event(event)
        except TimeoutError:
            text = f"the server {self._uri} took no audio for {TAKE_TIMEOUT:g} s"
            self._finish(FluxTimeout(text))
        except OSError:
            pass  # an engine that closes says why, if at all, before it does: the answer tells

    async def _begin(self) -> None:
        await self._client.write_event(self._wish.event())
        await self._client.write_event(AudioStart(*self._format).event())
        rate, width, channels = self._format
        self._on_step(f"transcribe, audio-start ({rate} Hz, {8 * width} bit, {channels} ch)")

    async def _stop(self) -> None:
        with contextlib.suppress(WyomingFluxError):  # it is the result already
            await self._write(AudioStop().event())
            self._on_step("audio-stop")
        await asyncio.wait((self._outcome,), timeout=ANSWER_TIMEOUT)
        self._finish(
            FluxTimeout(f"the server {self._uri} gave no answer within {ANSWER_TIMEOUT:g} s")
        )

    def _finish(self, outcome: Transcript | WyomingFluxError) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)
