"""What a client and the server say to each other: events become turns and answers.

Knows no socket: it is given events, and calls back with bytes. All methods return at once; what
waits, waits in the turn's own task.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from wyoming.event import Event

from wyoming_flux.audio import AudioFormat
from wyoming_flux.errors import InvalidAudio, InvalidEvent, WyomingFluxError

from .answers import encode_error, encode_pong
from .requests import TranscribeRequest, read_format, read_text, read_transcribe
from .service import Service
from .turns import DISCONNECTED, SUPERSEDED, Turn

_LOGGER = logging.getLogger(__name__)

_USUAL_BYTES_PER_SECOND: Final = 32_000
"""Of audio whose format was never understood."""


class Session:
    """One client's conversation.

    ``send`` takes bytes for the client, ``moved`` is called when an event that had to wait, or more
    audio, may be taken, ``hang_up`` when the client goes on with audio that nobody wants.
    """

    def __init__(
        self,
        service: Service,
        *,
        send: Callable[[bytes], None],
        moved: Callable[[], None],
        hang_up: Callable[[], None],
    ) -> None:
        """Begin without a turn."""
        self._service = service
        self._send = send
        self._moved = moved
        self._hang_up = hang_up
        # The turn that audio belongs to; and the one before, if it still has to be answered.
        self._turn: Turn | None = None
        self._former: Turn | None = None
        # Seconds of audio that came after the answer.
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
        """Whether a turn is running that was not answered."""
        return any(turn is not None and not turn.done for turn in (self._turn, self._former))

    @property
    def full(self) -> bool:
        """Whether more audio has to wait."""
        return self._turn is not None and self._turn.full

    def handle(self, event: Event) -> bool:
        """Take an event; False: it has to wait, and is to be given again."""
        handler = self._handlers.get(event.type)
        if handler is None:
            _LOGGER.debug("Event %.40r is ignored", event.type)
            return True
        try:
            return handler(event)
        except WyomingFluxError as error:
            self._send(encode_error(error))
            return True

    def end(self, error: WyomingFluxError | None = None) -> None:
        """Give up all turns; each that was not answered is answered with *error*, if any."""
        for turn in (self._former, self._turn):
            if turn is not None:
                turn.abandon(error.code if error else DISCONNECTED, error)

    # --- events ----------------------------------------------------------------------------

    def _on_describe(self, _event: Event) -> bool:
        self._send(self._service.info)
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
        turn = self._begin(request)
        if error is not None:
            turn.fail(error)
        return True

    def _on_start(self, event: Event) -> bool:
        turn = self._turn
        request = TranscribeRequest()
        if turn is not None and not turn.started and not turn.ended:
            if not turn.done or turn.failed:
                _begin_audio(turn, event)
                return True
            # The client took its time, and got an empty transcript; now it speaks.
            request = turn.request
        if not self._can_begin():
            return False
        _begin_audio(self._begin(request), event)
        return True

    def _on_chunk(self, event: Event) -> bool:
        turn = self._turn
        if turn is None or turn.ended or not turn.started:
            # No audio-start: the chunk has a format of its own.
            if not self._on_start(event):
                return False
            turn = self._turn
        pcm = event.payload
        if turn is None or pcm is None:
            return True
        source = turn.format
        if turn.deaf or source is None:
            self._discard(len(pcm), source)
            return True
        said = event.data.get
        if (
            said("rate", source.rate) != source.rate
            or said("width", source.width) != source.width
            or said("channels", source.channels) != source.channels
        ):
            turn.fail(_contradiction(event.data, source))
            return True
        turn.audio(pcm)
        return True

    def _on_stop(self, _event: Event) -> bool:
        turn = self._turn
        if turn is None or turn.ended:
            # Home Assistant ends its audio after our answer, too.
            return True
        turn.end()
        if turn.done:
            self._turn = None
        return True

    # --- turns -----------------------------------------------------------------------------

    def _can_begin(self) -> bool:
        """Whether a turn may begin: one more may wait for the answer to the one before."""
        waiting = self._former is not None and not self._former.done
        ended = self._turn is not None and self._turn.ended and not self._turn.done
        return not (waiting and ended)

    def _begin(self, request: TranscribeRequest) -> Turn:
        last = self._turn
        if last is not None and not last.done:
            if last.ended:
                self._former = last
            else:
                last.abandon(SUPERSEDED)
        if self._former is not None and self._former.done:
            self._former = None
        self._discarded = 0.0
        self._turn = Turn(
            self._service, request, former=self._former, send=self._send, moved=self._moved
        )
        return self._turn

    def _discard(self, size: int, source: AudioFormat | None) -> None:
        self._discarded += size / (source.bytes_per_second if source else _USUAL_BYTES_PER_SECOND)
        if self._discarded > self._service.limits.discarded_audio:
            self._hang_up()


def _begin_audio(turn: Turn, event: Event) -> None:
    turn.started = True
    try:
        turn.begin_audio(read_format(event))
    except WyomingFluxError as error:
        turn.fail(error)


def _contradiction(data: dict[str, Any], source: AudioFormat) -> InvalidAudio:
    said = ", ".join(
        f"{name} {str(data[name])[:20]}" for name in ("rate", "width", "channels") if name in data
    )
    return InvalidAudio(
        f"An audio-chunk contradicts its audio-start: it has {said} instead of rate"
        f" {source.rate}, width {source.width}, channels {source.channels}."
    )
