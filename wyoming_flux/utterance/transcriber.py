"""One utterance: audio in, transcript out. Carries out what the machine decides.

One task for each attempt (connect, then receive) with a sender beside it, and one timer. None of
them decides anything: each tells the machine what happened and obeys its events.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Final, Protocol, Self

from wyoming_flux.errors import (
    ConnectionLost,
    EndpointError,
    Internal,
    InvalidSetting,
    Refused,
    WyomingFluxError,
)
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import Message, TurnInfo
from wyoming_flux.flux.order import Way
from wyoming_flux.settings import FluxSettings, UtteranceSettings

from .capture import Capture
from .events import Answer, Connect, Drop, Fact, Learnt, Partial
from .guess import Guess
from .machine import Machine
from .outcome import Transcript, Trigger
from .proof import COSTS, prove
from .report import Report

_LOGGER: Final = logging.getLogger(__name__)


class Connection(Protocol):
    """What an utterance needs of a connection: :class:`wyoming_flux.flux.FluxConnection`."""

    @property
    def connect_ms(self) -> float:
        """Milliseconds until it was open."""

    @property
    def attempts(self) -> int:
        """Upgrades that were tried for it."""

    @property
    def facts(self) -> Facts:
        """What was known of the endpoint when it opened."""

    async def send_audio(self, pcm: bytes) -> None:
        """Send one frame."""

    async def send_control(self, message: str) -> None:
        """Send one control message."""

    async def receive(self) -> Message:
        """Wait for the next message."""

    async def close(self) -> None:
        """Close, bounded."""


class Connects(Way, Protocol):
    """What an utterance needs of a connector: :class:`wyoming_flux.flux.Connector`."""

    async def connect(self, settings: FluxSettings) -> Connection:
        """Open a connection; raises :class:`WyomingFluxError`."""


class _Attempt:
    """One connection from the attempt to its close."""

    def __init__(self, number: int, connector: Connects) -> None:
        self.number = number
        self.connector = connector
        self.live = True
        """Whether the machine still wants to hear of it."""
        self.proof: Drop | None = None
        self.connection: Connection | None = None
        self.sending = False
        self.work = asyncio.Event()
        self.receiver: asyncio.Task[None] | None = None


class Transcriber:
    """One utterance.

    ``start()`` connects, ``send()`` takes audio, ``end()`` says that there is no more, ``result()``
    waits for the transcript. ``close()`` must be called in any case, or ``async with`` be used.
    """

    def __init__(
        self,
        connectors: Sequence[Connects],
        settings: FluxSettings,
        utterance: UtteranceSettings,
        *,
        on_partial: Callable[[str], None] | None = None,
        on_known: Callable[[], None] | None = None,
        capture: Capture | None = None,
    ) -> None:
        """Prepare, in a running loop; ``on_partial`` gets words to append to those before.

        ``on_known`` is called as soon as there is an :meth:`outcome`: who waits for the result has
        to wait for a round of the loop, too. ``capture`` keeps what goes into the machine, and what
        it decides.
        """
        self._connectors = connectors
        self._settings = settings
        self._utterance = utterance
        self._on_partial = on_partial
        self._on_known = on_known
        self._capture = capture
        self._loop = asyncio.get_running_loop()
        self._machine: Machine | None = None
        self._attempts: dict[int, _Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        # The attempt whose connection is open.
        self._live: _Attempt | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._known = asyncio.Event()
        self._outcome: Transcript | WyomingFluxError | None = None
        self._answer: Answer | None = None
        self._audio_at: float | None = None
        self._after_audio: float | None = None
        self._guess = Guess()
        self._guessed: float | None = None
        self._sent = 0
        self._billed = 0
        # What the answer of another one does not mend.
        self._down = tuple(
            f"{one.name} is down: {one.learnt.down_because}"
            for one in self._connectors
            if len(self._connectors) > 1 and one.learnt.down_because is not None
        )
        self._tried = 0
        self._connect_ms: float | None = None
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
        self._begun()
        self._obey()

    async def send(self, pcm: bytes) -> None:
        """Take linear16 mono audio at the settings' sample rate, in pieces of any length.

        Returns at once while less than 30 s wait to be sent, and always once the result is known:
        such audio is discarded.
        """
        machine = self._begun()
        if not pcm or self.done:
            return
        self._audio_at = self._loop.time()
        machine.feed(pcm, self._audio_at)
        if machine.decided:
            self._obey()
        attempt = self._live
        if attempt is not None and not attempt.sending:
            # Here, not in the sender's own task: each switch costs as much as a frame.
            await self._send_on(attempt)
        while not machine.room and not self.done:
            self._room.clear()
            await self._room.wait()

    def end(self) -> None:
        """Take note that the client is done: the answer is all that it said."""
        self._begun().end(self._loop.time())
        self._obey()

    def limit(self, seconds: float, trigger: Trigger) -> None:
        """Take at most so many more seconds of audio; what is cut then is missing in the answer."""
        self._begun().limit(seconds, trigger, self._loop.time())
        self._obey()

    @property
    def done(self) -> bool:
        """Whether the result, or the error, is known."""
        return self._known.is_set()

    @property
    def heard(self) -> float:
        """Seconds of what was sent that were heard, so far."""
        return 0.0 if self._machine is None else self._machine.heard

    async def result(self) -> Transcript:
        """Wait for the transcript; something may be missing in it.

        Raises :class:`WyomingFluxError` where there is none, and ``asyncio.CancelledError`` when
        the transcriber was closed before.
        """
        self.start()
        await self._known.wait()
        return self.outcome()

    def outcome(self) -> Transcript:
        """Return the result, once it is known; raises what :meth:`result` does."""
        outcome = self._outcome
        if isinstance(outcome, WyomingFluxError):
            # Raised once per caller: without this the tracebacks would pile up.
            raise outcome.with_traceback(None)
        if outcome is None:
            raise asyncio.CancelledError("the transcriber was closed")
        return outcome

    async def close(self) -> None:
        """Give up: close Flux, end everything that was begun; idempotent, at most some seconds."""
        self._closed = True
        self._known.set()
        self._stop()
        if self._machine is not None:
            self._machine.close(self._loop.time())
        while self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def report(self) -> Report:
        """What the utterance came to so far."""
        bytes_per_second = 2 * self._settings.sample_rate
        costs = Report(
            audio_seconds=self._sent / bytes_per_second,
            billed_seconds=self._billed / bytes_per_second,
            connect_ms=self._connect_ms,
            attempts=self._tried,
            after_audio_ms=None if self._after_audio is None else self._after_audio * 1000,
        )
        answer = self._answer
        if answer is None:
            return costs
        failed = answer.error is not None and not answer.text
        return dataclasses.replace(
            costs,
            trigger=None if failed else answer.trigger,
            error=answer.error,
            missing=answer.missing,
            characters=len(answer.text),
            endpoint=None if answer.endpoint is None else self._connectors[answer.endpoint].name,
            faults=(*self._down, *(str(error) for _, error in answer.faults)),
            causes=tuple((self._connectors[one].name, error) for one, error in answer.faults),
            guess_ms=None if self._guessed is None else self._guessed * 1000,
            guess_wrong=self._guess.wrong,
        )

    # --- carrying out ----------------------------------------------------------------------

    def _begun(self) -> Machine:
        if self._machine is None:
            names = [connector.name for connector in self._connectors]
            make = Machine if self._capture is None else self._capture.machine
            self._machine = make(self._utterance, self._settings, names, self._loop.time())
        return self._machine

    def _obey(self) -> None:
        machine = self._machine
        if machine is None or self._closed:
            return
        for event in machine.events():
            match event:
                case Connect(attempt, endpoint):
                    self._connect(attempt, self._connectors[endpoint])
                case Drop():
                    self._drop(event)
                case Partial(text):
                    if self._on_partial is not None:
                        self._on_partial(text)
                case Learnt():
                    self._learn(event)
                case Answer():
                    self._finish(event)
        if machine.waiting:
            for one in self._attempts.values():
                one.work.set()
        if machine.room:
            self._room.set()
        self._arm(machine)

    def _learn(self, event: Learnt) -> None:
        connector, now = self._connectors[event.endpoint], self._loop.time()
        learnt = connector.learnt
        match event.fact:
            case Fact.WORKS:
                if learnt.mark_up():
                    _LOGGER.info("%s works again", connector.name)
            case Fact.DOWN:
                # With one endpoint alone the utterance's own line says it.
                if learnt.mark_down(now, str(event.error)) and len(self._connectors) > 1:
                    _LOGGER.warning("%s is down, others are asked: %s", connector.name, event.error)
            case Fact.NO_WINDOWS:
                learnt.windows(False, now)
            case Fact.CONTROL_FAILS:
                if event.control is not None:
                    learnt.disprove(event.control, now)

    def _arm(self, machine: Machine) -> None:
        due = machine.deadline
        if due is None or (self._timer is not None and self._timer.when() <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._machine is None:
            return
        try:
            self._machine.tick(self._loop.time())
            self._obey()
        except Exception as err:
            self._fail(err)

    def _finish(self, answer: Answer) -> None:
        self._answer = answer
        if self._audio_at is not None:
            self._after_audio = self._loop.time() - self._audio_at
        if answer.text:
            self._guessed = self._guess.earlier(self._loop.time())
        if answer.error is not None and not answer.text:
            self._tell(answer.error)
        else:
            self._tell(Transcript(answer.text, answer.trigger, answer.missing, answer.error))

    def _tell(self, outcome: Transcript | WyomingFluxError) -> None:
        self._outcome = outcome
        self._known.set()
        if self._on_known is not None:
            self._on_known()

    def _fail(self, err: Exception) -> None:
        """Tell a fault of ours to the log and to the client, and leave nothing behind."""
        _LOGGER.error("unexpected error in an utterance", exc_info=err)
        if not self._closed and not self.done:
            self._tell(Internal("an internal error happened; the log of wyoming-flux has it"))
        self._stop()

    def _stop(self) -> None:
        self._room.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for attempt in tuple(self._attempts):
            self._drop(Drop(attempt))

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- attempts --------------------------------------------------------------------------

    def _connect(self, number: int, connector: Connects) -> None:
        attempt = _Attempt(number, connector)
        self._attempts[number] = attempt
        self._tried += 1
        attempt.receiver = self._spawn(self._run(attempt), f"flux attempt {number}")

    def _drop(self, drop: Drop) -> None:
        attempt = self._attempts.pop(drop.attempt, None)
        if attempt is None:
            return
        # A cancelled task may take one more step, so it is also told that its time is over; the
        # one that runs just now goes on to close its connection, undisturbed.
        attempt.live = False
        if self._live is attempt:
            self._live = None
        attempt.proof = drop if drop.prove is not None else None
        if attempt.receiver is not None and attempt.receiver is not asyncio.current_task():
            attempt.receiver.cancel()

    async def _run(self, attempt: _Attempt) -> None:
        try:
            connection = await self._open(attempt)
            if connection is not None:
                await self._converse(attempt, connection)
        except Exception as err:
            self._fail(err)

    async def _open(self, attempt: _Attempt) -> Connection | None:
        machine = self._begun()
        try:
            connection = await attempt.connector.connect(self._settings)
        except WyomingFluxError as err:
            self._attempts.pop(attempt.number, None)
            machine.failed(attempt.number, _as_endpoint_error(err), self._loop.time())
            self._obey()
            return None
        self._tried += connection.attempts - 1
        if self._connect_ms is None:
            self._connect_ms = connection.connect_ms
        return connection

    async def _converse(self, attempt: _Attempt, connection: Connection) -> None:
        machine = self._begun()
        number = attempt.number
        sender = self._spawn(self._send(attempt), f"flux sender {number}")
        try:
            machine.opened(number, connection.facts, self._loop.time())
            if attempt.live:
                attempt.connection, self._live = connection, attempt
            self._obey()
            while attempt.live:
                message = await connection.receive()
                if isinstance(message, TurnInfo):
                    self._guess.hear(
                        number,
                        message.turn_index,
                        message.event,
                        message.transcript,
                        self._loop.time(),
                    )
                machine.receive(number, message, self._loop.time())
                self._obey()
        except EndpointError as err:
            machine.lost(number, err, self._loop.time())
            self._obey()
        except asyncio.CancelledError:
            # Dropped: what follows closes the connection, bounded, and is not cancelled again.
            if attempt.live:
                raise
        finally:
            sender.cancel()
            await self._close(attempt, connection)

    async def _close(self, attempt: _Attempt, connection: Connection) -> None:
        try:
            proof = attempt.proof
            if proof is not None and proof.prove is not None and not self._closed:
                rate, learnt = self._settings.sample_rate, attempt.connector.learnt
                self._count(attempt, int(COSTS * rate) * 2)
                works = await prove(connection, proof.prove, proof.sent, rate)
                remember = learnt.prove if works else learnt.disprove
                remember(proof.prove, self._loop.time())
        finally:
            await connection.close()

    async def _send(self, attempt: _Attempt) -> None:
        """Send what is due for another reason than that audio came."""
        try:
            while attempt.live:
                # Cleared first: what comes up while a frame is on its way must wake us again.
                attempt.work.clear()
                if not attempt.sending:
                    await self._send_on(attempt)
                await attempt.work.wait()
        except Exception as err:
            self._fail(err)

    def _count(self, attempt: _Attempt, size: int) -> None:
        self._sent += size
        if attempt.connector.billed:
            self._billed += size

    async def _send_on(self, attempt: _Attempt) -> None:
        """Send all that the machine has to send now."""
        machine, connection = self._begun(), attempt.connection
        if connection is None:
            return
        attempt.sending = True
        try:
            while (data := machine.next_to_send(attempt.number)) is not None:
                if isinstance(data, str):
                    await connection.send_control(data)
                else:
                    self._count(attempt, len(data))
                    await connection.send_audio(data)
                if not self._room.is_set() and machine.room:
                    self._room.set()
        except EndpointError as err:
            machine.lost(attempt.number, err, self._loop.time())
            self._obey()
        finally:
            attempt.sending = False


def _as_endpoint_error(error: WyomingFluxError) -> EndpointError:
    """Settings that an endpoint cannot carry are its refusal, as far as an utterance goes."""
    if isinstance(error, EndpointError):
        return error
    kind = Refused if isinstance(error, InvalidSetting) else ConnectionLost
    return kind(str(error))
