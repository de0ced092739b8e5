"""One utterance: audio in, transcript out. Carries out what the tracker decides.

Three activities, all owned here: a *link* (connect, then receive) with its *sender*, and one timer
for the tracker's deadline. None of them decides anything.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Protocol, Self

from wyoming_flux.errors import ConnectionLost, EndpointError, Internal, WyomingFluxError
from wyoming_flux.flux.endpoint import Endpoint
from wyoming_flux.flux.messages import Message
from wyoming_flux.settings import FluxSettings, UtteranceSettings

from .buffer import AudioBuffer
from .decision import Connect, Decision, Finish, SendControl, SendSilence, Show, StopForwarding
from .outcome import Transcript, TurnStats
from .rules import FRAME, FRAME_IN_TEXT
from .tracker import Tracker

MAX_PENDING: Final = 30.0
"""Seconds of un-sent audio at which :meth:`Transcriber.send` waits."""
MAX_UNHEARD: Final = 30.0
"""Seconds that may be sent ahead of what Flux has heard; they are kept for a replay."""

_LOGGER: Final = logging.getLogger(__name__)


class Connection(Protocol):
    """What a turn needs of a connection: :class:`wyoming_flux.flux.FluxConnection`."""

    connect_ms: float
    attempts: int

    async def send_audio(self, pcm: bytes) -> None:
        """Send one frame."""

    async def send_control(self, message: str) -> None:
        """Send one control message."""

    async def receive(self) -> Message:
        """Wait for the next message."""

    async def close(self) -> None:
        """Close, bounded."""


class Connects(Protocol):
    """What a turn needs of a connector: :class:`wyoming_flux.flux.Connector`."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it connects to."""

    async def connect(self, settings: FluxSettings) -> Connection:
        """Open a connection."""


class Transcriber:
    """One utterance.

    ``start()`` connects, ``send()`` takes audio, ``end()`` says that there is no more, ``result()``
    waits for the transcript. ``close()`` must be called in any case, or ``async with`` be used.
    """

    def __init__(
        self,
        connector: Connects,
        settings: FluxSettings,
        turn: UtteranceSettings,
        *,
        on_partial: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare, in a running loop; ``on_partial`` gets words to append to those before."""
        self._connector = connector
        self._settings = settings
        self._on_partial = on_partial
        self.stats = TurnStats()
        self.on_transcript: Callable[[Transcript], None] | None = None
        """Called with the transcript when it is known: a round of the loop before ``result()``."""

        self._per_second = settings.sample_rate * 2
        self._frame_bytes = int(settings.sample_rate * FRAME) * 2
        self._late_frame_bytes = int(settings.sample_rate * FRAME_IN_TEXT) * 2
        self._buffer = AudioBuffer(settings.sample_rate)
        self._outgoing: deque[SendSilence | SendControl] = deque()
        self._forwarding = True
        self._ended = False
        self._audio_at: float | None = None

        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[Transcript | WyomingFluxError] = self._loop.create_future()
        self._waiting: list[asyncio.Future[None]] = []
        self._tracker = Tracker(turn, force_end_turn=connector.endpoint.knows_force_end_turn)
        self._begun = False
        self._link: asyncio.Task[None] | None = None
        # The connection that is in use; tasks of any other must touch neither buffer nor tracker.
        self._live: Connection | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Start."""
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    def start(self) -> None:
        """Begin to connect; idempotent."""
        if not self._begun:
            self._begun = True
            self._apply(self._tracker.start(self._loop.time()))

    async def send(self, pcm: bytes) -> None:
        """Take linear16 mono audio at the settings' sample rate, in pieces of any length.

        Returns at once while less than 30 s wait to be sent, and always once the result is known:
        such audio is discarded.
        """
        self.start()
        if not pcm or not self._takes_audio:
            return
        self._buffer.append(pcm)
        self._audio_at = now = self._loop.time()
        self._tracker.queued(now, self._buffer.pending)
        self._work.set()
        while self._buffer.pending > MAX_PENDING and self._takes_audio:
            self._room.clear()
            await self._room.wait()

    def end(self) -> None:
        """Take note that the client is done: the answer is all that it said."""
        self.start()
        if not self._ended:
            self._ended = True
            self._work.set()
            self._apply(self._tracker.ended(self._loop.time(), self._buffer.pending))

    @property
    def done(self) -> bool:
        """Whether the result, or the error, is known."""
        return self._outcome.done()

    async def result(self) -> Transcript:
        """Wait for the transcript.

        Raises :class:`WyomingFluxError` where there is none, and ``asyncio.CancelledError`` when
        the transcriber was closed before.
        """
        self.start()
        if not self._outcome.done():
            # Not shield(): it would take one more round of the loop on the way to the answer.
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            await waiter
        outcome = self._outcome.result()
        if isinstance(outcome, WyomingFluxError):
            # Raised once per caller: without this the tracebacks would pile up.
            raise outcome.with_traceback(None)
        return outcome

    async def close(self) -> None:
        """Give up: close Flux, end everything that was begun; idempotent, at most some seconds."""
        self._closed = True
        self._outcome.cancel()
        self._wake_waiting()
        self._stop()
        while self._tasks:
            await asyncio.wait(self._tasks)

    # --- carrying out ----------------------------------------------------------------------

    @property
    def _takes_audio(self) -> bool:
        return self._forwarding and not self._ended and not self.done

    def _apply(self, decisions: list[Decision]) -> None:
        if self._closed or self.done:
            return
        for decision in decisions:
            match decision:
                case Connect(replay_from):
                    self._connect(replay_from)
                case SendSilence() | SendControl():
                    self._outgoing.append(decision)
                    self._work.set()
                case StopForwarding():
                    self._forwarding = False
                    self._buffer.drop_pending()
                    self._room.set()
                case Show(text):
                    if self._on_partial is not None:
                        self._on_partial(text)
                case Finish(outcome):
                    self._finish(outcome)
                    return
        self._arm()

    def _arm(self) -> None:
        due = self._tracker.deadline
        if due is None or (self._timer is not None and self._timer.when() <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            self._apply(self._tracker.tick(self._loop.time()))
        except Exception as err:
            self._fail(err)

    def _finish(self, outcome: Transcript | WyomingFluxError) -> None:
        if self._audio_at is not None:
            self.stats.after_audio_ms = (self._loop.time() - self._audio_at) * 1000
        self._outcome.set_result(outcome)
        self._wake_waiting()
        self._stop()
        if self.on_transcript is not None and isinstance(outcome, Transcript):
            self.on_transcript(outcome)

    def _wake_waiting(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    def _stop(self) -> None:
        self._forwarding = False
        self._room.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Not left to the garbage collector, which may come after a thousand such turns.
        self._buffer.clear()
        self._leave_link()

    def _leave_link(self) -> None:
        # A cancelled task may take one more step, so all are also told that their time is over;
        # one that calls this goes on to close its connection, undisturbed.
        self._live = None
        if self._link is not None and self._link is not asyncio.current_task():
            self._link.cancel()
        self._link = None

    def _fail(self, err: Exception) -> None:
        """Tell a fault of ours to the log and to the client, and leave nothing behind."""
        _LOGGER.error("unexpected error in a turn", exc_info=err)
        if not self._closed and not self.done:
            self._finish(Internal("an internal error happened; the log of wyoming-flux has it"))

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- the link --------------------------------------------------------------------------

    def _connect(self, replay_from: float) -> None:
        self._leave_link()
        self._outgoing.clear()
        self._buffer.rewind(replay_from)
        tracker = self._tracker
        tracker.rewound(self._buffer.pending)
        self._link = self._spawn(self._run_link(), "flux link")

    async def _run_link(self) -> None:
        tracker = self._tracker
        try:
            connection = await self._open()
            if connection is None:
                return
            self._live = connection
            sender = self._spawn(self._run_sender(connection), "flux sender")
            try:
                self._apply(tracker.opened(self._loop.time()))
                while self._live is connection:
                    message = await connection.receive()
                    self._apply(tracker.received(self._loop.time(), message))
                    self._buffer.forget(tracker.keep_from)
                    self._work.set()
            except ConnectionLost as err:
                self._lose(connection, err)
            finally:
                sender.cancel()
                await self._close(connection)
        except Exception as err:
            self._fail(err)

    async def _close(self, connection: Connection) -> None:
        try:
            if self.done:
                # Whoever waits for the answer comes first: closing takes its time.
                await asyncio.sleep(0)
        finally:
            await connection.close()

    async def _open(self) -> Connection | None:
        tracker = self._tracker
        self.stats.attempts += 1
        try:
            connection = await self._connector.connect(self._settings)
        except WyomingFluxError as err:
            self._apply(tracker.failed(self._loop.time(), err))
            return None
        self.stats.attempts += connection.attempts - 1
        if self.stats.connect_ms is None:
            self.stats.connect_ms = connection.connect_ms
        return connection

    async def _run_sender(self, connection: Connection) -> None:
        try:
            while True:
                # Cleared first: what arrives while a frame is on its way must wake us again.
                self._work.clear()
                while await self._send_next(connection):
                    pass
                await self._work.wait()
        except EndpointError as err:
            self._lose(connection, err)
        except Exception as err:
            self._fail(err)

    def _lose(self, connection: Connection, err: EndpointError) -> None:
        if self._live is connection:
            self._apply(self._tracker.lost(self._loop.time(), err))

    async def _send_next(self, connection: Connection) -> bool:
        """Send one thing, client audio first; tell whether there may be more to send."""
        tracker = self._tracker
        if self._live is not connection:
            return False
        if tracker.unheard < MAX_UNHEARD:
            partial = self._ended or bool(self._outgoing)
            frame = self._buffer.take(self._frame_bytes, partial=partial)
            if not frame and tracker.in_text:
                frame = self._buffer.take(self._late_frame_bytes, partial=False)
            if frame:
                await connection.send_audio(frame)
                seconds = len(frame) / self._per_second
                self.stats.audio_seconds += seconds
                self._room.set()
                if self._live is connection:
                    now = self._loop.time()
                    self._apply(tracker.sent(now, seconds, self._buffer.pending))
                return True
        if not self._outgoing:
            return False
        match self._outgoing.popleft():
            case SendSilence(seconds):
                silence = bytes(int(self._settings.sample_rate * seconds) * 2)
                await connection.send_audio(silence)
                self.stats.audio_seconds += seconds
                if self._live is connection:
                    self._apply(tracker.silence_sent(self._loop.time(), seconds))
            case SendControl(message):
                await connection.send_control(message)
        return True
