"""One client connection: bytes to events, events to turns, answers to bytes.

A protocol rather than a pair of streams: a satellite sends a hundred chunks a second, and nothing
but a method call stands between its socket and the turn. All methods return at once; what waits,
waits in the turn's own task.
"""

import asyncio
import logging
import select
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from wyoming.event import Event

from wyoming_flux.audio import AudioFormat
from wyoming_flux.errors import Internal, InvalidAudio, InvalidEvent, WyomingFluxError

from .answers import encode_error, encode_pong
from .events import EventParser
from .requests import TranscribeRequest, read_format, read_text, read_transcribe
from .service import Service
from .turns import DISCONNECTED, SUPERSEDED, Turn

_LOGGER = logging.getLogger(__name__)

_READ_SIZE: Final = 64 * 1024
# One buffer for all connections: what arrived is copied before anything else can be read.
_READ_BUFFER: Final = memoryview(bytearray(_READ_SIZE))

# Rate, width and channels in bytes per second where a client does not say them.
_USUAL_BYTES_PER_SECOND: Final = 32_000

UNIX: Final = "unix"
"""The peer where the server listens on a Unix socket."""


class Door(Protocol):
    """Who lets connections in, and wants to know when they are gone."""

    def opened(self, session: "Session") -> None:
        """Let this connection in, or close it."""

    def closed(self, session: "Session") -> None:
        """Take note that this connection is gone."""


class Session(asyncio.BufferedProtocol):
    """One client connection."""

    def __init__(self, service: Service, door: Door) -> None:
        """Wait for the connection."""
        self.peer = "?"
        """Address of the client, or :data:`UNIX`; ``?`` if it left before it could be asked for."""
        self.active_at = 0.0
        """When the client last said something, in the loop's time."""
        self.closing = False
        """Whether our last word was said."""
        self._service = service
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = EventParser()
        # Events that wait until there is room for them; reading is paused meanwhile.
        self._held: deque[Event] = deque()
        self._paused = False
        self._processing = False
        # The turn that audio belongs to; and the one before, if it still has to be answered.
        self._turn: Turn | None = None
        self._former: Turn | None = None
        # Seconds of audio that came after the answer.
        self._discarded = 0.0
        # Since when half an event, a client that does not read, our last word wait.
        self._half_since: float | None = None
        self._stalled_since: float | None = None
        self._closing_since = 0.0
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

    # --- what asyncio calls ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask whether this client is let in."""
        self._transport = cast("asyncio.Transport", transport)
        self.active_at = self._loop.time()
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.peer = peer[0]
        elif peer is not None:
            self.peer = UNIX
        self._door.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close Flux; after our answer this is how clients say good-bye."""
        _LOGGER.debug("Connection from %s closed: %s", self.peer, exc or "at its end")
        self.closing = True
        self._transport = None
        self._abandon(DISCONNECTED)
        self._door.closed(self)

    def eof_received(self) -> bool:
        """Take the end of the input for the end of the connection: nobody waits for an answer."""
        return False

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read."""
        self._stalled_since = self._loop.time()

    def resume_writing(self) -> None:
        """Go on."""
        self._stalled_since = None
        self._process()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to put what arrives."""
        return _READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has arrived."""
        if self.closing:
            return
        self.active_at = self._loop.time()
        events = self._parser.feed(bytes(_READ_BUFFER[:nbytes]))
        if events:
            self._half_since = None
            self._held += events
        self._process()

    # --- for the server --------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Close what is due: called by the server's watchdog, every second or so."""
        limits = self._service.limits
        if self._transport is None:
            return
        if self.closing:
            if now - self._closing_since >= limits.linger:
                self.abort()
            return
        if self._stalled_since is not None and now - self._stalled_since >= limits.write_stall:
            _LOGGER.debug("Connection from %s: does not read", self.peer)
            self.abort()
            return
        if self._paused:
            # asyncio does not notice that a client has left while reading is paused.
            if _is_gone(self._transport):
                self.abort()
            # What is missing, if anything, is not the client's fault.
            self._half_since = None
            return
        if not self._parser.pending:
            self._half_since = None
        elif self._half_since is None:
            self._half_since = now
        elif now - self._half_since >= limits.half_event:
            self.close(
                InvalidEvent(f"Half an event waited for its rest for {limits.half_event:g} s.")
            )
            return
        if now - self.active_at >= limits.idle and not self.busy:
            self.close()

    def close(self, error: WyomingFluxError | None = None, *, linger: bool = True) -> None:
        """Give up all turns, say *error*, if any, as the last word, and hang up.

        Closing at once would reset the connection where input is unread, and the client might never
        see the error; so, unless *linger* is False, we wait a bounded time for the client to close.
        """
        if not self.closing:
            self._begin_closing()
            self._abandon(DISCONNECTED)
            if error is not None:
                self._send(encode_error(error))
            self._hang_up(linger=linger)

    def stop(self, error: WyomingFluxError) -> None:
        """Answer the running turns with *error*, and hang up."""
        if not self.closing:
            self._begin_closing()
            for turn in (self._former, self._turn):
                if turn is not None:
                    turn.abandon(error.code, error)
            self._hang_up(linger=True)

    def abort(self) -> None:
        """Close the socket whatever is still to be read or written."""
        if self._transport is not None:
            self._transport.abort()

    def _begin_closing(self) -> None:
        # First of all: turns that are given up ask for more events.
        self.closing = True
        self._closing_since = self._loop.time()
        self._held.clear()

    def _hang_up(self, *, linger: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._resume_reading()
        if not linger:
            transport.close()
        elif not transport.get_write_buffer_size() and transport.can_write_eof():
            # Otherwise asyncio would do it later, where an error could not be caught.
            try:
                transport.write_eof()
            except OSError:
                # The client has left, and asyncio does not know yet.
                transport.abort()

    # --- events ----------------------------------------------------------------------------

    def _process(self) -> None:
        """Handle what has arrived, as far as there is room."""
        if self._processing or self.closing:
            return
        self._processing = True
        try:
            self._work_off()
        except Exception:
            _LOGGER.exception("Connection from %s: unexpected error", self.peer)
            self.close(Internal("An internal error happened; the log of wyoming-flux has it."))
        finally:
            self._processing = False
        self._set_pace()

    def _work_off(self) -> None:
        held = self._held
        while held and self._has_room() and self._handle(held[0]):
            # Handling may have closed the connection, which drops what is held.
            if held:
                held.popleft()
        if not held and self._parser.error is not None:
            self.close(self._parser.error)

    def _set_pace(self) -> None:
        if self.closing:
            return
        if self._held or not self._has_room():
            self._pause_reading()
        else:
            self._resume_reading()

    def _has_room(self) -> bool:
        return self._stalled_since is None and (self._turn is None or not self._turn.full)

    def _handle(self, event: Event) -> bool:
        """Handle an event; False: it has to wait."""
        handler = self._handlers.get(event.type)
        if handler is None:
            _LOGGER.debug("Event %.40r is ignored", event.type)
            return True
        try:
            return handler(event)
        except WyomingFluxError as error:
            self._send(encode_error(error))
            return True

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
                self._begin_audio(turn, event)
                return True
            # The client took its time, and got an empty transcript; now it speaks.
            request = turn.request
        if not self._can_begin():
            return False
        self._begin_audio(self._begin(request), event)
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
            self._service, request, former=self._former, send=self._send, moved=self._process
        )
        return self._turn

    def _begin_audio(self, turn: Turn, event: Event) -> None:
        turn.started = True
        try:
            turn.begin_audio(read_format(event))
        except WyomingFluxError as error:
            turn.fail(error)

    def _abandon(self, why: str) -> None:
        for turn in (self._former, self._turn):
            if turn is not None:
                turn.abandon(why)

    def _discard(self, size: int, source: AudioFormat | None) -> None:
        self._discarded += size / (source.bytes_per_second if source else _USUAL_BYTES_PER_SECOND)
        if self._discarded > self._service.limits.discarded_audio:
            _LOGGER.debug("Connection from %s: audio that nobody waits for", self.peer)
            self.close()

    # --- the transport ---------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        # asyncio warns in the log about writing to a client that has left.
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _pause_reading(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()


def _contradiction(data: dict[str, Any], source: AudioFormat) -> InvalidAudio:
    said = ", ".join(
        f"{name} {str(data[name])[:20]}" for name in ("rate", "width", "channels") if name in data
    )
    return InvalidAudio(
        f"An audio-chunk contradicts its audio-start: it has {said} instead of rate"
        f" {source.rate}, width {source.width}, channels {source.channels}."
    )


def _is_gone(transport: asyncio.Transport) -> bool:
    """Tell whether the client has closed the connection, although its input is not read."""
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    # Linux tells by POLLRDHUP; that and others by POLLHUP or POLLERR, which come unasked.
    poll.register(sock.fileno(), getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))
