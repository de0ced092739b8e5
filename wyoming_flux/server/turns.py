"""One turn of a connection: audio of the client into a transcriber, its answer to the client."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from wyoming_flux.audio import AudioFormat
from wyoming_flux.errors import Internal, WyomingFluxError
from wyoming_flux.utterance import Report, Transcript
from wyoming_flux.utterance.rules import FRAME, FRAME_IN_TEXT

from .answers import Answer, encode_error
from .report import TurnReport
from .requests import TranscribeRequest
from .service import Service, Utterance

_LOGGER = logging.getLogger(__name__)

DISCONNECTED: Final = "disconnected"
SUPERSEDED: Final = "superseded"


class Turn:
    """One utterance of a client, from ``transcribe`` or ``audio-start`` to its answer.

    Begins at once, unless a *former* turn of the same connection still has to be answered: then
    audio is kept until it was. ``send`` takes bytes for the client, ``moved`` is called when there
    is room for audio again and when the turn is over. All methods return at once.
    """

    def __init__(
        self,
        service: Service,
        request: TranscribeRequest,
        *,
        former: "Turn | None",
        send: Callable[[bytes], None],
        moved: Callable[[], None],
    ) -> None:
        """Begin."""
        self.request: Final = request
        self.format: AudioFormat | None = None
        """What the audio is; None until it is known."""
        self.started = False
        """Whether the client said ``audio-start``."""
        self.ended = False
        """Whether the client said ``audio-stop``."""
        self.outcome: str | None = None
        """What the turn came to, once it was answered or given up."""
        self.failed = False
        """Whether the answer was an error."""
        self._service = service
        self._number = service.next_number()
        self._send = send
        self._moved = moved
        self._answer = Answer()
        self._over = asyncio.Event()
        self._wake = asyncio.Event()
        self._pending = bytearray()
        self._frame = 0
        # Bytes of audio until the next frame is whole.
        self._missing = 0
        self._most = service.limits.unsent_audio
        self._charged = 0.0
        self._characters = 0
        self._error: WyomingFluxError | None = None
        self._utterance: Utterance | None = None
        self._task = service.spawn(self._run(former), f"wyoming-flux turn {self._number}")

    @property
    def done(self) -> bool:
        """Whether the turn was answered or given up."""
        return self.outcome is not None

    @property
    def deaf(self) -> bool:
        """Whether audio is of no use to this turn any more."""
        return self.done or self._error is not None

    @property
    def full(self) -> bool:
        """Whether reading from the client should pause."""
        return len(self._pending) > self._most

    def begin_audio(self, source: AudioFormat) -> None:
        """Take the format of the audio that follows."""
        self.format = source
        self._frame = self._missing = round(source.bytes_per_second * FRAME)

    def audio(self, pcm: bytes) -> None:
        """Take audio in the format that was begun; none once the turn is :attr:`deaf`."""
        self._pending += pcm
        self._missing -= len(pcm)
        if self._missing <= 0:
            # Flux is sent whole frames, so there is nothing to do for less.
            self._missing = self._missing % self._frame or self._frame
            self._wake.set()

    def end(self) -> None:
        """Take ``audio-stop``."""
        self.ended = True
        self._wake.set()

    def fail(self, error: WyomingFluxError) -> None:
        """Answer with *error*, unless there was an answer."""
        if self.done or self._error is not None:
            return
        if self._utterance is None:
            # A former turn is answered first; the task says it then.
            self._error = error
        else:
            self._refuse(error)
            self._task.cancel()

    def abandon(self, why: str, error: WyomingFluxError | None = None) -> None:
        """Close Flux at once; the client is told *error*, if any."""
        if not self.done:
            self._finish(why, encode_error(error) if error else b"", failed=error is not None)
            self._task.cancel()

    async def wait(self) -> None:
        """Wait until the turn was answered or given up."""
        await self._over.wait()

    async def _run(self, former: "Turn | None") -> None:
        try:
            if former is not None:
                await former.wait()
            await self._transcribe()
        except WyomingFluxError as error:
            self._refuse(error)
        except Exception:
            _LOGGER.exception("Turn %d: unexpected error", self._number)
            self._refuse(_internal())
        finally:
            # Nobody gives up a turn without an outcome; but nothing may leave a client waiting.
            self._refuse(_internal())
            self._report()

    async def _transcribe(self) -> None:
        if self._error is not None:
            raise self._error
        self._service.check()
        utterance = self._service.transcriber(
            self._service.settings_for(self.request), self._partial
        )
        self._utterance = utterance
        pump = None
        try:
            utterance.start()
            pump = self._service.spawn(self._pump(utterance), f"wyoming-flux audio {self._number}")
            transcript = await utterance.result()
            if self._service.whole:
                transcript.whole()
            self._answered(transcript)
        except WyomingFluxError as error:
            # Here, not above: closing Flux may take a second, for which nobody should wait.
            self._refuse(error)
        finally:
            if pump is not None:
                pump.cancel()
            await utterance.close()
            self._charge(utterance)

    async def _pump(self, utterance: Utterance) -> None:
        try:
            await self._forward(utterance)
        except WyomingFluxError as error:
            self.fail(error)
        except Exception:
            _LOGGER.exception("Turn %d: unexpected error", self._number)
            self.fail(_internal())

    async def _forward(self, utterance: Utterance) -> None:
        """Convert audio, and send it, until the client ends it or today's minutes are used up."""
        converter = None
        while True:
            await self._wake.wait()
            self._wake.clear()
            pending = bytes(self._pending)
            self._pending.clear()
            if pending and self.format is not None:
                if converter is None:
                    converter = await self._service.converter(self.format)
                # A second at a time: other clients wait while audio is converted.
                second = self.format.bytes_per_second
                for at in range(0, len(pending), second):
                    if at:
                        await asyncio.sleep(0)
                    await utterance.send(converter.convert(pending[at : at + second]))
                self._moved()
            self._charge(utterance)
            if self._service.usage.exhausted:
                # No more is spent, and what was said is not lost.
                break
            if self.ended and not self._pending:
                if converter is not None:
                    await utterance.send(converter.flush())
                break
        utterance.end()

    def _partial(self, text: str) -> None:
        if self.format is not None:
            self._frame = round(self.format.bytes_per_second * FRAME_IN_TEXT)
        if not self.done:
            self._send(self._answer.partial(text))

    def _answered(self, transcript: Transcript) -> None:
        if self.done:
            return
        self._characters = len(transcript.text)
        self._finish(
            str(transcript.trigger), self._answer.transcript(transcript.text), failed=False
        )
        if self._service.debug:
            _LOGGER.debug("Turn %d: %r", self._number, transcript.text)

    def _refuse(self, error: WyomingFluxError) -> None:
        self._finish(error.code, encode_error(error), failed=True)

    def _finish(self, outcome: str, answer: bytes, *, failed: bool) -> None:
        if self.done:
            return
        self.outcome = outcome
        self.failed = failed
        self._pending.clear()
        self._send(answer)
        self._over.set()
        self._moved()

    def _charge(self, utterance: Utterance) -> None:
        seconds = utterance.report.audio_seconds
        self._service.usage.add(seconds - self._charged)
        self._charged = seconds

    def _report(self) -> None:
        stats = self._utterance.report if self._utterance is not None else Report()
        self._service.report(
            TurnReport(
                turn=self._number,
                outcome=self.outcome or "",
                audio_seconds=stats.audio_seconds,
                connect_ms=stats.connect_ms,
                answer_ms=stats.after_audio_ms,
                attempts=stats.attempts,
                characters=self._characters,
            )
        )


def _internal() -> Internal:
    return Internal("An internal error happened; the log of wyoming-flux has it.")
