"""One client's socket: bytes to events, at the pace at which they can be used, within limits.

A protocol rather than a pair of streams: a satellite sends a hundred chunks a second, and nothing
but method calls stand between its socket and its utterance.

Nobody may keep the loop from the others: in each of its rounds a client has :data:`SHARE` events,
and one read of at most 32 KiB. What it sent beyond waits in the parser for the next round, reading
pauses meanwhile, and who goes on beyond any use is closed.
"""

import asyncio
import logging
import select
from collections import deque
from typing import Final, Protocol, cast

from wyoming.event import Event

from wyoming_flux.errors import Internal, InvalidEvent, WyomingFluxError

from .conversation import Conversation, Flood
from .events import EventParser, TranscribeRequest, encode_error
from .shared import Shared
from .utterance import Utterance

_LOGGER = logging.getLogger(__name__)

UNIX: Final = "unix"
"""The peer where the server listens on a Unix socket."""
SHARE: Final = 64
"""Events of one client in one round of the loop."""

_AUDIO: Final = 16
"""Bytes of a payload that count as audio: 1 ms at the lowest rate is 8, and nobody sends that."""
# One buffer for all connections: what arrived is copied before anything else can be read.
_READ_BUFFER: Final = memoryview(bytearray(32 * 1024))


class Door(Protocol):
    """Who lets connections in, and wants to know when they are gone."""

    def opened(self, client: "Client") -> None:
        """Let this connection in, or close it."""

    def closed(self, client: "Client") -> None:
        """Take note that this connection is gone."""


class Client(asyncio.BufferedProtocol):
    """One client."""

    def __init__(self, shared: Shared, info: bytes, door: Door) -> None:
        """Wait for the connection; ``info`` is the encoded answer to ``describe``."""
        self.peer = "?"
        """Address of the client, or :data:`UNIX`; ``?`` if it left before it could be asked for."""
        self.active_at = 0.0
        """When something was last said, by either side, in the loop's time."""
        self.closing = False
        """Whether our last word was said, or the client's."""
        self._shared = shared
        self._limits = shared.limits
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = EventParser()
        self._conversation = Conversation(
            info=info,
            send=self._send,
            begin=self._begin,
            longest_discarded=self._limits.discarded_audio,
        )
        # Events that wait until there is room for them; reading is paused meanwhile.
        self._held: deque[Event] = deque()
        self._paused = False
        self._processing = False
        # What handling events says, to be written at once.
        self._said = bytearray()
        # The next round, where this one's share was used up.
        self._next_round: asyncio.Handle | None = None
        now = self._loop.time()
        self._events = _Allowance(self._limits.events_per_second, now)
        self._utterances = _Allowance(self._limits.utterances_per_second, now)
        # Whether the last read took all that fits, and whether the one before did: then the client
        # is ahead of us, and however slow a round of the loop is, it waits for nothing new.
        self._filled = self._ahead = False
        # Since when half an event, a client that does not read, our last word wait.
        self._half_since: float | None = None
        self._stalled_since: float | None = None
        self._closing_since = 0.0

    @property
    def busy(self) -> bool:
        """Whether an utterance is running that was not answered."""
        return self._conversation.busy

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

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to put what arrives."""
        return _READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has arrived."""
        if self.closing:
            return
        self.active_at = self._loop.time()
        self._ahead = self._filled
        self._filled = nbytes == len(_READ_BUFFER)
        self._take(bytes(_READ_BUFFER[:nbytes]), SHARE)
        self._process()

    def pause_writing(self) -> None:
        """Stop taking events from a client that does not read."""
        self._stalled_since = self._loop.time()

    def resume_writing(self) -> None:
        """Go on."""
        self._stalled_since = None
        self._process()

    def eof_received(self) -> bool:
        """Take the end of the input for the end of the connection: nobody waits for an answer."""
        self._begin_closing()
        self._conversation.end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Close Flux; after our answer this is how clients say good-bye."""
        _LOGGER.debug("Connection from %s closed: %s", self.peer, exc or "at its end")
        self._transport = None
        self._begin_closing()
        self._conversation.end()
        self._door.closed(self)

    # --- for the server --------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Close what is due: called by the server's watchdog, every second or so."""
        if self._transport is None:
            return
        if self.closing:
            if now - self._closing_since >= self._limits.linger:
                self.abort()
        elif _is_over(self._stalled_since, now, self._limits.write_stall):
            _LOGGER.debug("Connection from %s: does not read", self.peer)
            self.abort()
        elif self._paused:
            # asyncio does not notice that a client has left while reading is paused.
            if _is_gone(self._transport):
                self.abort()
            # What is missing of an event, if anything, is not the client's fault.
            self._half_since = None
        else:
            self._check_silence(now)

    def close(self, error: WyomingFluxError | None = None, *, linger: bool = True) -> None:
        """Give up all utterances, say *error*, if any, as the last word, and hang up.

        Closing at once would reset the connection where input is unread, and the client might never
        see the error; so, unless *linger* is False, we wait a bounded time for the client to close.
        """
        if not self.closing:
            self._begin_closing()
            self._conversation.end()
            if error is not None:
                self._send(encode_error(error))
            self._hang_up(linger=linger)

    def stop(self, error: WyomingFluxError) -> None:
        """Answer the running utterances with *error*, and hang up."""
        if not self.closing:
            self._begin_closing()
            self._conversation.end(error)
            self._hang_up(linger=True)

    def abort(self) -> None:
        """Close the socket whatever is still to be read or written."""
        if self._transport is not None:
            self._transport.abort()

    def _check_silence(self, now: float) -> None:
        if not self._parser.pending:
            self._half_since = None
        elif self._half_since is None:
            self._half_since = now
        if _is_over(self._half_since, now, self._limits.half_event):
            seconds = f"{self._limits.half_event:g} s"
            self.close(InvalidEvent(f"Half an event waited for its rest for {seconds}."))
        elif not self.busy and _is_over(self.active_at, now, self._limits.idle):
            self.close()

    def _begin_closing(self) -> None:
        # First of all: utterances that are given up ask for more events.
        if not self.closing:
            self.closing = True
            self._closing_since = self._loop.time()
            # Not left to the garbage collector, which may come after a thousand such clients.
            self._held.clear()
            self._parser.clear()

    def _hang_up(self, *, linger: bool) -> None:
        self._write_said()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        # What still comes is thrown away.
        self._resume_reading()
        if not linger:
            transport.close()
        elif not transport.get_write_buffer_size() and transport.can_write_eof():
            # With bytes in the buffer asyncio would do it later, where an error is not caught.
            try:
                transport.write_eof()
            except OSError:
                # The client has left, and asyncio does not know yet.
                transport.abort()

    # --- events ----------------------------------------------------------------------------

    def _take(self, data: bytes, most: int) -> None:
        events = self._parser.feed(data, most)
        if events:
            self._half_since = None
            self._held += events

    def _process(self) -> None:
        """Handle what has arrived, as far as there is room and this round's share goes."""
        if self._processing or self.closing or self._next_round is not None:
            return
        self._processing = True
        try:
            self._work_off()
        except Flood as error:
            _LOGGER.warning("Connection from %s is closed: %s", self.peer, error)
            self.close(error)
        except Exception:
            _LOGGER.exception("Connection from %s: unexpected error", self.peer)
            self.close(Internal("An internal error happened; the log of wyoming-flux has it."))
        finally:
            self._processing = False
        self._write_said()
        self._set_pace()

    def _work_off(self) -> None:
        held = self._held
        left = SHARE
        while held or self._parser.more:
            if not self._has_room():
                return
            if not left:
                self._next_round = self._loop.call_soon(self._go_on)
                return
            if not held:
                self._take(b"", SHARE)
                continue
            event = held[0]
            if not self._conversation.handle(event):
                return
            # Handling may have closed the connection, which drops what is held.
            if self.closing:
                return
            held.popleft()
            left -= 1
            is_audio = event.payload is not None and len(event.payload) >= _AUDIO
            if not is_audio and not self._events.take(self.active_at, forfeit=self._ahead):
                most = self._limits.events_per_second
                raise Flood(f"More than {most} events a second without audio: that is a flood.")
            if self._conversation.noisy:
                _LOGGER.debug("Connection from %s: audio that nobody waits for", self.peer)
                self.close()
                return
        if self._parser.error is not None:
            self.close(self._parser.error)

    def _go_on(self) -> None:
        self._next_round = None
        self._process()

    def _begin(self, request: TranscribeRequest, former: Utterance | None) -> Utterance:
        if not self._utterances.take(self.active_at):
            most = self._limits.utterances_per_second
            raise Flood(f"More than {most} utterances a second: nobody speaks that fast.")
        return Utterance(self._shared, request, former=former, send=self._send, moved=self._process)

    def _has_room(self) -> bool:
        return self._stalled_since is None and not self._conversation.full

    def _set_pace(self) -> None:
        if self.closing:
            return
        if self._held or self._parser.more or not self._has_room():
            self._pause_reading()
        else:
            self._resume_reading()

    # --- the transport ---------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        self._said += data
        if not self._processing:
            self._write_said()

    def _write_said(self) -> None:
        if not self._said:
            return
        data = bytes(self._said)
        self._said.clear()
        # asyncio warns in the log about writing to a client that has left.
        if self._transport is not None and not self._transport.is_closing():
            self.active_at = self._loop.time()
            self._transport.write(data)

    def _pause_reading(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()


def _is_over(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and now - since >= seconds


def _is_gone(transport: asyncio.Transport) -> bool:
    """Tell whether the client has closed the connection, although its input is not read."""
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    # Linux tells by POLLRDHUP; that and others by POLLHUP or POLLERR, which come unasked.
    poll.register(sock.fileno(), getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))


class _Allowance:
    """So many things a second, and at first or after a pause as many at once."""

    __slots__ = ("_left", "_per_second", "_renewed_at")

    def __init__(self, per_second: int, now: float) -> None:
        self._per_second = per_second
        self._left: float = per_second
        self._renewed_at = now

    def take(self, now: float, *, forfeit: bool = False) -> bool:
        """Use one; False: none is left. What time has brought since is lost if *forfeit*."""
        if now > self._renewed_at:
            if not forfeit:
                more = self._left + (now - self._renewed_at) * self._per_second
                self._left = min(more, self._per_second)
            self._renewed_at = now
        self._left -= 1
        return self._left >= 0
