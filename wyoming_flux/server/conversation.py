"""What a client and the server say to each other: events in, answers and utterances out.

Knows no socket, no clock and no task: it is given events, and calls back with bytes. What waits,
waits in the :class:`~wyoming_flux.server.utterance.Utterance`.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from wyoming.event import Event

from wyoming_flux.audio import AudioFormat
from wyoming_flux.errors import InvalidAudio, InvalidEvent, WyomingFluxError

from .events import (
    TranscribeRequest,
    encode_error,
    encode_pong,
    read_format,
    read_text,
    read_transcribe,
)
from .utterance import Utterance

_LOGGER = logging.getLogger(__name__)

_USUAL_BYTES_PER_SECOND: Final = 32_000
"""Of audio whose format was never understood."""


class Flood(InvalidEvent):
    """A client that says more than anybody could mean: it is closed with this."""


class Conversation:
    """One client's side of the protocol.

    ``send`` takes bytes for the client. ``begin`` makes an utterance, which waits until a former
    one, if any, was answered; it may raise :class:`Flood`. ``longest_discarded`` are the seconds of
    audio that a client may go on with although nobody wants them.
    """

    def __init__(
        self,
        *,
        info: bytes,
        send: Callable[[bytes], None],
        begin: Callable[[TranscribeRequest, Utterance | None], Utterance],
        longest_discarded: float,
    ) -> None:
        """Begin without an utterance; ``info`` is the encoded answer to ``describe``."""
        self._info = info
        self._send = send
        self._make = begin
        self._longest_discarded = longest_discarded
        # The utterance that audio belongs to; and the one before, if it still has to be answered.
        self._current: Utterance | None = None
        self._former: Utterance | None = None
        # Of the current one: whether its audio has begun, and what it is, where that is known.
        self._started = False
        self._format: AudioFormat | None = None
        # What the last chunk said of its format, which is that one.
        self._agreed: dict[str, Any] | None = None
        # Whether nothing of an utterance was ever said: then a chunk alone begins one.
        self._fresh = True
        # Seconds of audio that nobody wanted, since the last utterance began.
        self._discarded = 0.0
        self._handlers: dict[str, Callable[[Event], bool]] = {
            "audio-chunk": self._on_chunk,
            "audio-start": self._on_start,
            "audio-stop": self._on_stop,
            "transcribe": self._on_transcribe,
            "describe": self._on_describe,
            "ping": self._on_ping,
        }

    @property
    def busy(self) -> bool:
        """Whether an utterance is running that was not answered."""
        return any(one is not None and not one.done for one in (self._current, self._former))

    @property
    def full(self) -> bool:
        """Whether more audio has to wait."""
        return self._current is not None and self._current.full

    @property
    def noisy(self) -> bool:
        """Whether the client goes on with audio that nobody wants."""
        return self._discarded > self._longest_discarded

    def handle(self, event: Event) -> bool:
        """Take an event; False: it has to wait, and is to be given again. Raises :class:`Flood`."""
        handler = self._handlers.get(event.type)
        if handler is None:
            _LOGGER.debug("Event %.40r is ignored", event.type)
            return True
        try:
            return handler(event)
        except Flood:
            raise
        except WyomingFluxError as error:
            self._send(encode_error(error))
            return True

    def end(self, error: WyomingFluxError | None = None) -> None:
        """Give up all utterances; each that was not answered is answered with *error*, if any."""
        for utterance in (self._former, self._current):
            if utterance is not None:
                utterance.abandon("disconnected", error)

    # --- events ----------------------------------------------------------------------------

    def _on_describe(self, _event: Event) -> bool:
        self._send(self._info)
        return True

    def _on_ping(self, event: Event) -> bool:
        self._send(encode_pong(read_text(event.data, "text")))
        return True

    def _on_transcribe(self, event: Event) -> bool:
        if not self._can_begin():
            return False
        error = None
        request = TranscribeRequest()
        try:
            request = read_transcribe(event)
        except InvalidEvent as err:
            error = err
        utterance = self._begin(request)
        if error is not None:
            utterance.fail(error)
        return True

    def _on_start(self, event: Event) -> bool:
        current = self._current
        request = TranscribeRequest()
        if current is not None and not self._started and not current.ended:
            if not current.done or current.failed:
                self._begin_audio(current, event)
                return True
            # The client took its time, and got an empty transcript; now it speaks.
            request = current.request
        if not self._can_begin():
            return False
        self._begin_audio(self._begin(request), event)
        return True

    def _on_chunk(self, event: Event) -> bool:
        current = self._current
        # A chunk brings its format along, so it may begin the audio. But one that strays in after
        # audio-stop or an answer must not open, and pay for, an utterance that nobody waits for.
        if self._fresh or (current is not None and not self._started and not current.ended):
            if not self._on_start(event):
                return False
            current = self._current
        pcm = event.payload
        if pcm is None:
            return True
        source = self._format
        if current is None or current.deaf or current.ended or source is None:
            per_second = source.bytes_per_second if source else _USUAL_BYTES_PER_SECOND
            self._discarded += len(pcm) / per_second
            return True
        # Chunks that are alike share what they say (events.py): it is looked at once.
        if event.data is not self._agreed:
            if _contradicts(event, source):
                current.fail(_contradiction(event, source))
                return True
            self._agreed = event.data
        current.audio(pcm)
        return True

    def _on_stop(self, _event: Event) -> bool:
        # Home Assistant ends its audio after our answer, too: that is no fault.
        self._fresh = False
        if self._current is not None:
            self._current.end()
        return True

    # --- utterances ------------------------------------------------------------------------

    def _can_begin(self) -> bool:
        """Whether an utterance may begin: one more may wait for the answer to the one before."""
        waiting = self._former is not None and not self._former.done
        ended = self._current is not None and self._current.ended and not self._current.done
        return not (waiting and ended)

    def _begin(self, request: TranscribeRequest) -> Utterance:
        self._fresh = False
        last = self._current
        if last is not None and not last.done:
            if last.ended:
                self._former = last
            else:
                last.abandon("superseded")
        if self._former is not None and self._former.done:
            self._former = None
        self._discarded = 0.0
        self._started = False
        self._format = self._agreed = None
        self._current = self._make(request, self._former)
        return self._current

    def _begin_audio(self, utterance: Utterance, event: Event) -> None:
        self._started = True
        try:
            self._format = read_format(event)
        except WyomingFluxError as error:
            utterance.fail(error)
        else:
            utterance.begin_audio(self._format)


def _contradicts(event: Event, source: AudioFormat) -> bool:
    ours = {"rate": source.rate, "width": source.width, "channels": source.channels}
    return any(event.data.get(name, value) != value for name, value in ours.items())


def _contradiction(event: Event, source: AudioFormat) -> InvalidAudio:
    data = event.data
    said = ", ".join(
        f"{name} {str(data[name])[:20]}" for name in ("rate", "width", "channels") if name in data
    )
    return InvalidAudio(
        f"An audio-chunk contradicts its audio-start: it has {said} instead of rate"
        f" {source.rate}, width {source.width}, channels {source.channels}."
    )
