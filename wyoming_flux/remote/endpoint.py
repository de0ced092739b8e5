"""Another Wyoming engine as an endpoint, with the face of a Flux stream.

It finds where somebody speaks, lets the engine hear each turn from its onset to its pause, and
tells the transcript as ``EndOfTurn``. Few engines have text before the end, so this has none.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from wyoming_flux.audio import AudioFormat, Converter
from wyoming_flux.ear.detector import Detector, best_detector
from wyoming_flux.ear.turns import BEFORE, CHUNK_BYTES, CHUNK_SAMPLES, RATE, UPDATE_EVERY, Voice
from wyoming_flux.errors import ConnectionLost, FluxTimeout, WyomingFluxError
from wyoming_flux.flux.endpoint import Endpoint
from wyoming_flux.flux.learnt import EndpointMemory, Facts
from wyoming_flux.flux.messages import CLOSE_STREAM, Connected, Message, TurnEvent, TurnInfo
from wyoming_flux.settings import FluxSettings
from wyoming_flux.utterance.outcome import Transcript

from .transcriber import RemoteTranscriber, Wish

_LOGGER: Final = logging.getLogger(__name__)

CONNECT_TIMEOUT: Final = 2.5
"""Seconds for a stream to open."""
AHEAD: Final = 5.0
"""Seconds that may be sent ahead of what was heard; more waits, like at a full socket."""

_TICK: Final = 0.25
# Turns whose transcript is not there yet.
_UNANSWERED: Final = 2
_SPOKEN: Final = AudioFormat(RATE, 2, 1)


class Engine(Protocol):
    """What hears one turn: :class:`.transcriber.RemoteTranscriber` has this face."""

    connect_ms: float | None

    async def connected(self) -> None:
        """Wait until it can hear. Raises :class:`WyomingFluxError`."""

    async def send(self, pcm: bytes) -> None:
        """Take linear16 at 16 kHz; once the result is known it is discarded."""

    def end(self) -> None:
        """Take note that the turn is over."""

    @property
    def done(self) -> bool:
        """Whether the result, or the error, is known."""

    async def result(self) -> Transcript:
        """Wait for the transcript. Raises :class:`WyomingFluxError` where there is none."""

    async def close(self) -> None:
        """Leave it, within a second; idempotent."""


class RemoteConnection:
    """One stream to an engine; made by :meth:`Remote.connect`."""

    facts: Final = Facts(control=CLOSE_STREAM, partial=False)
    dropped: Final[tuple[str, ...]] = ()
    attempts: Final = 1

    def __init__(
        self, name: str, engine: Callable[[], Engine], converter: Converter, detector: Detector
    ) -> None:
        """Prepare; :meth:`open` connects. ``engine`` is asked for one for each turn."""
        self.host = name
        self.connect_ms = 0.0
        self._make = engine
        self._converter = converter
        self._detector = detector
        self._engine = engine()
        self._fresh = True
        """Whether no turn has used the engine's connection yet."""
        self._pcm = bytearray()
        self._samples = 0
        self._ended = False
        self._heard = 0
        self._told = 0
        self._index = 0
        self._voice = Voice()
        self._before: deque[bytes] = deque(maxlen=BEFORE)
        self._unanswered: asyncio.Queue[tuple[Engine, float] | None] = asyncio.Queue(_UNANSWERED)
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._messages: asyncio.Queue[Message | ConnectionLost] = asyncio.Queue()
        self._lost: ConnectionLost | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connect. Raises :class:`Unreachable`."""
        await self._engine.connected()
        self.connect_ms = self._engine.connect_ms or 0.0
        self._messages.put_nowait(Connected())
        self._tasks = [
            asyncio.create_task(self._watch(part), name="engine stream")
            for part in (self._hear_all, self._answer_all)
        ]

    async def send_audio(self, pcm: bytes) -> None:
        """Send linear16 audio, at least one sample; waits while much is unheard.

        Raises :class:`ConnectionLost`.
        """
        if not pcm or len(pcm) % 2:
            raise ValueError("a frame must hold whole samples, and at least one")
        while self._lost is None and len(self._pcm) > AHEAD * 2 * RATE:
            self._room.clear()
            await self._room.wait()
        self._check()
        self._add(self._converter.convert(pcm))

    async def send_control(self, message: str) -> None:
        """Send :data:`CLOSE_STREAM`, the one that it knows. Raises :class:`ConnectionLost`."""
        if message != CLOSE_STREAM:
            raise ValueError(f"a Wyoming engine does not know {message}")
        self._check()
        self._ended = True
        self._add(self._converter.flush())

    async def receive(self) -> Message:
        """Wait for the next message. Raises :class:`ConnectionLost` when there will be none."""
        if self._messages.empty():
            self._check()
        message = await self._messages.get()
        if isinstance(message, ConnectionLost):
            raise message
        return message

    async def close(self) -> None:
        """Leave the engine, within a second; never raises, idempotent."""
        self._lose(ConnectionLost(f"the stream to {self.host} is closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        engines = [self._engine]
        while not self._unanswered.empty():
            if (turn := self._unanswered.get_nowait()) is not None:
                engines.append(turn[0])
        await asyncio.gather(*(engine.close() for engine in engines))

    def _check(self) -> None:
        if self._lost is not None:
            raise self._lost.with_traceback(None)

    def _add(self, pcm: bytes) -> None:
        self._pcm += pcm
        self._samples += len(pcm) // 2
        self._work.set()

    async def _watch(self, part: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await part()
        except WyomingFluxError as error:
            said = str(error)
            # The engine's own words do not name it.
            self._lose(ConnectionLost(said if self.host in said else f"{self.host}: {said}"))
        except Exception:
            _LOGGER.exception("Asking %s failed", self.host)
            self._lose(ConnectionLost(f"{self.host}: an internal error happened; the log has it"))

    def _lose(self, error: ConnectionLost) -> None:
        if self._lost is None:
            self._lost = error
            self._messages.put_nowait(error)
            self._room.set()

    async def _hear_all(self) -> None:
        while True:
            self._work.clear()
            while len(self._pcm) >= CHUNK_BYTES or (self._ended and self._pcm):
                chunk = bytes(self._pcm[:CHUNK_BYTES]).ljust(CHUNK_BYTES, b"\0")
                del self._pcm[:CHUNK_BYTES]
                self._room.set()
                await self._hear(chunk)
                # A detector takes 1 ms for each chunk: others come in between.
                await asyncio.sleep(0)
            if self._ended:
                if self._voice.speaking:
                    await self._end_turn()
                await self._unanswered.put(None)
                return
            try:
                async with asyncio.timeout(_TICK):
                    await self._work.wait()
            except TimeoutError:
                # Of a client that has paused, the last samples as well.
                if self._heard > self._told:
                    self._tell(TurnEvent.UPDATE, "", self._window)

    async def _hear(self, chunk: bytes) -> None:
        self._heard += 1
        spoke = self._voice.speaking
        self._voice.heard(self._detector.process_chunk(chunk))
        if spoke:
            await self._engine.send(chunk)
            if self._voice.over or self._engine.done:
                await self._end_turn()
        else:
            self._before.append(chunk)
            if self._voice.speaking:
                await self._begin_turn()
        if self._heard - self._told >= UPDATE_EVERY:
            self._tell(TurnEvent.UPDATE, "", self._window)

    async def _begin_turn(self) -> None:
        if not self._fresh:
            self._engine = self._make()
        self._fresh = False
        await self._engine.send(b"".join(self._before))
        self._before.clear()

    async def _end_turn(self) -> None:
        self._engine.end()
        self._voice = Voice()
        await self._unanswered.put((self._engine, self._window))

    async def _answer_all(self) -> None:
        while (turn := await self._unanswered.get()) is not None:
            engine, window = turn
            try:
                text = (await engine.result()).text.strip()
            finally:
                await engine.close()
            if text:
                self._tell(TurnEvent.END_OF_TURN, text, window)
                self._index += 1
        self._tell(TurnEvent.UPDATE, "", self._window)
        self._lose(ConnectionLost(f"{self.host} has told all", close_code=1000))

    @property
    def _window(self) -> float:
        return min(self._heard * CHUNK_SAMPLES, self._samples) / RATE

    def _tell(self, event: TurnEvent, text: str, window: float) -> None:
        self._told = self._heard
        self._messages.put_nowait(TurnInfo(event, self._index, window, text))


class Remote:
    """Another Wyoming engine as an endpoint, shared by all utterances of a process."""

    billed: Final = False
    """Whether what it hears counts as minutes of Flux."""

    def __init__(self, uri: str) -> None:
        """Take ``tcp://HOST:PORT`` or ``unix:///PATH``."""
        self.name: Final = uri
        self.learnt: Final = EndpointMemory(())
        """Whether it is down; its control message needs no proof."""

    @staticmethod
    def languages(model: str) -> tuple[str, ...]:
        """Return the language tags of Flux's model: which ones the engine knows, it decides."""
        return Endpoint.languages(model)

    def check(self, _settings: FluxSettings) -> None:
        """Accept any settings: the engine is told them, and decides."""

    async def connect(
        self, settings: FluxSettings, *, timeout: float = CONNECT_TIMEOUT
    ) -> RemoteConnection:
        """Open a stream of linear16 at the settings' sample rate.

        Language and key terms go to the engine. Raises :class:`EndpointError`.
        """
        wish = Wish(language=settings.language, keyterms=settings.keyterms)
        return await open_stream(
            self.name,
            lambda: RemoteTranscriber(self.name, _SPOKEN, wish),
            settings.sample_rate,
            timeout,
        )


async def open_stream(
    name: str, engine: Callable[[], Engine], sample_rate: int, timeout: float
) -> RemoteConnection:
    """Open a stream of linear16 to an engine. Raises :class:`EndpointError`."""
    # Filter, detector and numpy take their time.
    converter, detector = await asyncio.to_thread(
        lambda: (Converter(AudioFormat(sample_rate, 2, 1), RATE), best_detector())
    )
    connection = RemoteConnection(name, engine, converter, detector)
    try:
        async with asyncio.timeout(timeout):
            await connection.open()
    except TimeoutError:
        await connection.close()
        raise FluxTimeout(f"the server {name} did not answer in time") from None
    except BaseException:
        await connection.close()
        raise
    return connection
