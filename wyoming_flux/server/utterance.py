"""One utterance of a client: its audio into a transcriber, the answer to the client, a log line."""

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from typing import Final

from wyoming_flux.audio import FRAME_MS, AudioFormat, Level
from wyoming_flux.errors import Busy, Internal, WyomingFluxError
from wyoming_flux.utterance import Report, Transcriber, Transcript, Trigger

from .events import AnswerWriter, TranscribeRequest, encode_error
from .shared import Shared

_LOGGER = logging.getLogger(__name__)

_STEP: Final = FRAME_MS / 1000
"""Seconds of audio that are passed on at once: Flux is sent whole frames, so less is of no use."""
_STEP_IN_TEXT: Final = 0.02
"""The same once there is text, when the end may come at any moment."""
_INTERNAL: Final = "An internal error happened; the log of wyoming-flux has it."


class Utterance:
    """From ``transcribe`` or ``audio-start`` to the answer.

    Begins at once, unless a *former* one of the same connection still has to be answered: then
    audio is kept until it was. ``send`` takes bytes for the client, ``moved`` is called when there
    is room for audio again and when the utterance is over. All methods return at once.
    """

    def __init__(
        self,
        shared: Shared,
        request: TranscribeRequest,
        *,
        former: "Utterance | None",
        send: Callable[[bytes], None],
        moved: Callable[[], None],
    ) -> None:
        """Begin."""
        self.request: Final = request
        self.ended = False
        """Whether the client has ended its audio."""
        self.deaf = False
        """Whether audio is of no use any more."""
        self._shared = shared
        self._send = send
        self._moved = moved
        self._number = next(shared.numbers)
        self._writer = AnswerWriter()
        self._transcriber: Transcriber | None = None
        # The answer, or why there is none; and, until it may be said, an error.
        self._outcome: Transcript | WyomingFluxError | str | None = None
        self._refusal: WyomingFluxError | None = None
        self._over = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        # Audio that the transcriber was not given yet, in the client's format.
        self._pending = bytearray()
        self._format: AudioFormat | None = None
        self._wake = asyncio.Event()
        # Bytes of one step, and those that are missing until the next is whole.
        self._step = self._due = 0
        self._charged = 0.0
        # Of what goes to Flux: looking at that costs the same, whatever a client sends.
        self._level = Level(AudioFormat(shared.flux.sample_rate, 2, 1))
        self._arrived = 0.0
        self._after_speech_ms: float | None = None
        self._task = shared.spawn(self._run(former), f"wyoming-flux utterance {self._number}")

    @property
    def done(self) -> bool:
        """Whether it was answered or given up."""
        return self._outcome is not None

    @property
    def failed(self) -> bool:
        """Whether the answer was an error."""
        return isinstance(self._outcome, WyomingFluxError)

    @property
    def full(self) -> bool:
        """Whether reading from the client should pause until the transcriber takes more."""
        return len(self._pending) > self._shared.limits.unsent_audio

    def begin_audio(self, source: AudioFormat) -> None:
        """Take the format of the audio that follows."""
        self._format = source
        self._step = self._due = round(source.bytes_per_second * _STEP)

    def audio(self, pcm: bytes) -> None:
        """Take audio in the format that was begun; none once :attr:`deaf`."""
        self._pending += pcm
        self._arrived = self._clock()
        self._due -= len(pcm)
        if self._due <= 0:
            self._due = self._due % self._step or self._step
            self._wake.set()

    def end(self) -> None:
        """Take note that the client has ended its audio."""
        self.ended = True
        self._wake.set()

    def fail(self, error: WyomingFluxError) -> None:
        """Answer with *error*, unless there was an answer."""
        if self.deaf:
            return
        if self._transcriber is None:
            # A former utterance is answered first; the task says it then.
            self._refusal = error
            self.deaf = True
        else:
            self._finish(error)
            self._task.cancel()

    def abandon(self, why: str, error: WyomingFluxError | None = None) -> None:
        """Close Flux at once; the client is told *error*, if any."""
        if not self.done:
            self._finish(error or why)
            self._task.cancel()

    # --- the task --------------------------------------------------------------------------

    async def _run(self, former: "Utterance | None") -> None:
        try:
            if former is not None:
                await former._over.wait()
            if self._refusal is not None:
                raise self._refusal
            self._shared.check()
            settings = self._shared.settings_for(self.request)
            self._shared.standing.asked = True
            self._transcriber = self._shared.transcriber(settings, self._partial, self._known)
            await self._transcribe(self._transcriber)
        except WyomingFluxError as error:
            self._finish(error)
        except Exception as error:
            self._finish(self._internal(error))
        finally:
            if not self.done:
                # Somebody cancelled us, and said nothing to the client.
                self._finish(Internal(_INTERNAL))
            self._report()

    async def _transcribe(self, transcriber: Transcriber) -> None:
        forwarding = None
        try:
            transcriber.start()
            forwarding = self._shared.spawn(
                self._forward(transcriber), f"wyoming-flux audio {self._number}"
            )
            # Mostly the answer was given as soon as it was known.
            self._answer_with(await transcriber.result())
        except WyomingFluxError as error:
            # Here, not above: closing Flux may take a second, for which nobody should wait.
            self._finish(error)
        finally:
            if forwarding is not None:
                forwarding.cancel()
            await transcriber.close()
            self._charge(transcriber)

    async def _forward(self, transcriber: Transcriber) -> None:
        """Convert audio, and pass it on, until the client ends it."""
        try:
            converter = None
            limited = False
            uncharged = 0
            while not (self.ended and not self._pending):
                await self._wake.wait()
                self._wake.clear()
                was_full = self.full
                pending, arrived = bytes(self._pending), self._arrived
                self._pending.clear()
                if not pending or self._format is None:
                    continue
                if converter is None:
                    converter = await self._shared.converter(self._format)
                # A second at a time: other clients wait while audio is converted.
                second = self._format.bytes_per_second
                for at in range(0, len(pending), second):
                    if at:
                        await asyncio.sleep(0)
                    pcm = converter.convert(pending[at : at + second])
                    behind = max(0, len(pending) - at - second) / second
                    self._level.feed(pcm, arrived - behind)
                    await transcriber.send(pcm)
                if was_full:
                    self._moved()
                uncharged += len(pending)
                if uncharged < second:
                    # Counting costs more than passing on a frame.
                    continue
                uncharged = 0
                self._charge(transcriber)
                if not limited and self._charged and self._shared.minutes.exhausted:
                    limited = True
                    self._limit(transcriber)
            if converter is not None:
                await transcriber.send(converter.flush())
            transcriber.end()
        except WyomingFluxError as error:
            self.fail(error)
        except Exception as error:
            self.fail(self._internal(error))

    def _limit(self, transcriber: Transcriber) -> None:
        """Bound what is spent beyond the minutes of the day: a sentence that began is finished."""
        settings = self._shared.utterance
        if settings.answer_on == "audio-stop":
            # In the other mode Flux ends the sentence, and max_turn does if Flux does not.
            transcriber.limit(settings.max_turn, Trigger.DAILY_LIMIT)

    def _charge(self, transcriber: Transcriber) -> None:
        seconds = transcriber.report.billed_seconds
        self._shared.minutes.add(seconds - self._charged)
        self._charged = seconds

    def _known(self) -> None:
        try:
            if self._transcriber is not None:
                self._answer_with(self._transcriber.outcome())
        except WyomingFluxError as error:
            self._finish(error)

    def _answer_with(self, transcript: Transcript) -> None:
        # Half a command must not be carried out; half a dictation is better than none.
        whole_only = self._shared.utterance.answer_on == "end-of-turn"
        self._finish(transcript.whole() if whole_only else transcript)

    def _partial(self, text: str) -> None:
        if self._format is not None:
            self._step = round(self._format.bytes_per_second * _STEP_IN_TEXT)
        if not self.done:
            self._send(self._writer.partial(text))

    def _finish(self, outcome: Transcript | WyomingFluxError | str) -> None:
        """Give the one answer; a second reason to finish adds nothing."""
        if self.done:
            return
        self._outcome = outcome
        self.deaf = True
        self._pending.clear()
        if self._level.spoke_at is not None:
            self._after_speech_ms = (self._clock() - self._level.spoke_at) * 1000
        if isinstance(outcome, WyomingFluxError):
            self._send(encode_error(outcome))
        elif not isinstance(outcome, str):
            self._send(self._writer.transcript(outcome.text))
        self._over.set()
        self._moved()

    def _internal(self, error: Exception) -> Internal:
        _LOGGER.error("Utterance %d: unexpected error", self._number, exc_info=error)
        return Internal(_INTERNAL)

    # --- afterwards ------------------------------------------------------------------------

    def _report(self) -> None:
        report = self._transcriber.report if self._transcriber is not None else Report()
        outcome = self._outcome
        level, what = logging.INFO, str(outcome)
        if isinstance(outcome, WyomingFluxError):
            report = dataclasses.replace(report, error=outcome)
            # That the server is stopped is no fault, and one of the endpoint is told once.
            told = self._told(outcome, report)
            level = logging.INFO if told or isinstance(outcome, Busy) else logging.WARNING
            what = outcome.code
        elif isinstance(outcome, Transcript):
            level = logging.WARNING if report.missing else logging.INFO
            what = str(outcome.trigger)
            if report.endpoint == self._shared.host and not report.missing:
                self._shared.standing.works()
            if self._shared.debug:
                _LOGGER.debug("Utterance %d: %r", self._number, outcome.text)
        self._log(level, what, report)
        if self._shared.on_report is not None:
            try:
                self._shared.on_report(report)
            except Exception:
                _LOGGER.exception("on_report failed")

    def _told(self, outcome: WyomingFluxError, report: Report) -> bool:
        """Tell what was wrong with the endpoint, if anything; return whether that is all."""
        host = self._shared.host
        own = next((error for whose, error in report.causes if whose == host), None)
        fault = own if any(whose != host for whose, _ in report.causes) else outcome
        return fault is not None and self._shared.standing.failed(fault)

    def _log(self, level: int, what: str, report: Report) -> None:
        """Write one line; ``record.utterance`` has it as a dictionary, for logs as JSON."""
        endpoint = report.endpoint or self._shared.host
        why = [str(report.error)] if report.error is not None else []
        # The same fault at each of several attempts is said once.
        why += [f"before that: {one}" for one in dict.fromkeys(report.faults) if one not in why]
        _LOGGER.log(
            level,
            "Utterance %d: %s, audio %.2f s, connect %s, answer %s, after speech %s,"
            " endpoint %s, attempts %d, missing %.1f s, characters %d%s%s",
            self._number,
            what,
            report.audio_seconds,
            _ms(report.connect_ms),
            _ms(report.after_audio_ms),
            _ms(self._after_speech_ms),
            endpoint,
            report.attempts,
            report.missing,
            report.characters,
            _guess(report),
            ": " + " ".join(why) if why else "",
            extra={
                "utterance": {
                    "id": self._number,
                    "outcome": what,
                    "audio_seconds": report.audio_seconds,
                    "connect_ms": report.connect_ms,
                    "answer_ms": report.after_audio_ms,
                    "after_speech_ms": self._after_speech_ms,
                    "endpoint": endpoint,
                    "attempts": report.attempts,
                    "missing_seconds": report.missing,
                    "characters": report.characters,
                    "guess_ms": report.guess_ms,
                    "guess_wrong": report.guess_wrong,
                    "why": why,
                }
            },
        )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _guess(report: Report) -> str:
    """Tell of early guesses, where there were any."""
    right = "" if report.guess_ms is None else f", guessed {_ms(report.guess_ms)} earlier"
    return right + (", guessed otherwise" if report.guess_wrong else "")
