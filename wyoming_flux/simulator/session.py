"""One connection to the simulator, over whatever carries its frames.

It paces the audio, obeys control messages, strikes with faults and ends the connection the way
the profile does. Time is the event loop's alone, so a loop with a virtual clock drives it.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from .faults import Drop, ErrorMessage, Fault, Garbage, Midway, Moment, SlowReader, Stall
from .outbox import Outbox
from .parameters import StreamParameters
from .profiles import ABORTED, NO_CODE, Profile
from .recognizer import Recognizer
from .stream import Message, Stream, UnparsableMessage
from .transport import Frame, Transport, TransportClosed

SLICE_MS: Final = 80
"""Audio is consumed in pieces of at most this many milliseconds."""
FLUSH_SECONDS: Final = 30.0
"""Longest wait for a client that does not read the last messages."""
STUCK_SECONDS: Final = 60.0
"""Longest time a slow reader does not read at all; then the connection is dropped."""
DATA_ERROR: Final = 1008
INTERNAL_ERROR: Final = 1011

_T = TypeVar("_T")

_MOMENTS: Final[dict[str, Moment]] = {
    "StartOfTurn": "start-of-turn",
    "EndOfTurn": "end-of-turn",
    "ForceEndTurn": "force-end-turn",
    "CloseStream": "close-stream",
}
_GARBAGE: Final[dict[str, Frame]] = {
    "text": "<html>not a message</html>",
    "json": '{"type":"Nonsense","sequence_id":"x","transcript":7}',
    "binary": b"\x00\xff" * 20,
}


@dataclass(slots=True)
class Traffic:
    """What went over one connection."""

    audio_bytes: int = 0
    audio: bytearray | None = None
    """All audio, where it is kept."""
    controls: list[Any] = field(default_factory=list)
    """Text messages that came: as parsed JSON, or the text where it is none."""
    sent: list[Message] = field(default_factory=list)
    """What was said (before faults spoiled it), where it is kept."""
    mistakes: list[str] = field(default_factory=list)
    """What the client did that Flux would not forgive."""
    close_code: int | None = None
    """How the connection ended; 1005: a close frame without a code, 1006: none."""
    closed_by_client: bool = False


class _End(Exception):
    """The session is over."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


class Session:
    """Serves one connection; :meth:`run` returns when it is closed."""

    def __init__(
        self,
        transport: Transport,
        parameters: StreamParameters,
        profile: Profile,
        recognizer: Recognizer,
        *,
        request_id: str,
        ingest_rate: float = 1.25,
        faults: Sequence[Fault] = (),
        traffic: Traffic | None = None,
        keep: bool = False,
        observe: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare; nothing runs yet.

        ``ingest_rate`` is times real time, 0 unlimited. ``keep``: record audio and messages in
        ``traffic``. ``observe`` gets one line of text for each thing that happens.
        """
        self.traffic = traffic or Traffic()
        self._keep = keep
        if keep:
            self.traffic.audio = bytearray()
        self._observe = observe or (lambda line: None)
        self._transport = transport
        self._profile = profile
        self._recognizer = recognizer
        self._stream = Stream(parameters, profile, recognizer, request_id=request_id)
        self._slice_bytes = 2 * parameters.sample_rate * SLICE_MS // 1000
        self._ingest_rate = ingest_rate
        self._ready_at = 0.0
        self._outbox = Outbox(transport, faults)
        self._midway = [one for one in faults if isinstance(one, Midway)]
        self._struck: dict[Midway, float] = {}
        self._happened: set[Moment] = set()

    async def run(self) -> None:
        """Serve until one side closes; leaves nothing behind, also when cancelled."""
        sender = asyncio.create_task(self._outbox.run(), name="simulator outbox")
        try:
            await self._serve()
        except TransportClosed as end:
            self.traffic.close_code = end.code
            self.traffic.closed_by_client = True
            self._observe(f"closed by the client with {end.code}")
        except _End as end:
            self.traffic.close_code = end.code
            self._observe(
                f"closes with {end.code} after {self._stream.audio_seconds:.2f} s of audio"
            )
            try:
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._outbox.flush()
            except TimeoutError:
                pass  # the client does not read: it gets the close alone
            await self._transport.close(end.code, end.reason)
        except Exception:
            self.traffic.close_code = INTERNAL_ERROR
            await self._transport.close(INTERNAL_ERROR)
            raise
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            self._recognizer.close()

    async def _serve(self) -> None:
        self._say([self._stream.connected()])
        self._happened.add("connected")
        self._strike()
        while True:
            frame = await self._receive()
            if isinstance(frame, bytes):
                await self._audio(frame)
            else:
                await self._control(frame)

    async def _receive(self) -> Frame:
        try:
            async with asyncio.timeout(self._profile.idle_timeout):
                return await self._transport.receive()
        except TimeoutError:
            raise self._mistake("sent nothing for too long", ABORTED) from None

    async def _audio(self, pcm: bytes) -> None:
        self.traffic.audio_bytes += len(pcm)
        if self.traffic.audio is not None:
            self.traffic.audio += pcm
        if not pcm:
            # The legacy end-of-stream marker of Deepgram's older API.
            raise self._mistake("sent an empty binary frame", NO_CODE)
        if len(pcm) % 2:
            raise self._mistake("sent half a sample of audio", DATA_ERROR, "DATA-0000")
        for start in range(0, len(pcm), self._slice_bytes):
            piece = pcm[start : start + self._slice_bytes]
            await self._pace(len(piece))
            self._say(await self._decode(partial(self._stream.receive_audio, piece)))
            self._outbox.audio_came()
            self._strike()

    async def _pace(self, size: int) -> None:
        """Wait until the decoder is free, and keep it busy with ``size`` bytes."""
        rate = self._ingest_rate
        slow = next((one for one in self._struck if isinstance(one, SlowReader)), None)
        if slow is not None:
            rate = slow.rate
            if not rate:
                await self._stick()
        if not rate or self._transport.closed:
            return
        now = asyncio.get_running_loop().time()
        start = max(now, self._ready_at)
        self._ready_at = start + size / 2 / self._stream.parameters.sample_rate / rate
        if start > now:
            await asyncio.sleep(start - now)

    async def _stick(self) -> None:
        """Take nothing until the client is gone, or for a minute."""
        try:
            async with asyncio.timeout(STUCK_SECONDS):
                await self._transport.wait_closed()
        except TimeoutError:
            pass
        raise _End(ABORTED)

    async def _control(self, text: str) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            self.traffic.controls.append(text)
            raise self._fatal("Could not deserialize last text message: not JSON") from None
        self.traffic.controls.append(message)
        kind = message.get("type") if isinstance(message, dict) else None
        if kind not in self._profile.controls:
            known = ", ".join(f"`{one}`" for one in self._profile.controls)
            raise self._fatal(
                f"Could not deserialize last text message: unknown variant `{kind}`,"
                f" expected one of {known}"
            )
        self._observe(f"{self._stream.audio_seconds:6.2f} s client: {kind}")
        if kind in _MOMENTS:
            self._happened.add(_MOMENTS[kind])
        if kind == "Configure":
            try:
                self._say([self._stream.configure(message)])
            except UnparsableMessage as error:
                raise self._fatal(f"Could not deserialize last text message: {error}") from None
        elif set(message) != {"type"}:
            raise self._fatal(f"Could not deserialize last text message: `{kind}` has no fields")
        elif kind == "ForceEndTurn":
            self._strike()
            self._say([self._stream.force_end_turn()])
        else:
            await self._close_stream()
        self._strike()

    async def _close_stream(self) -> None:
        self._strike()
        self._say(await self._decode(self._stream.finish))
        if not self._stalled():
            raise _End(self._profile.close_code)

    def _fatal(self, description: str) -> _End:
        """Report an unreadable client message and return the end it means."""
        end = self._mistake(description, NO_CODE)
        self._say([self._stream.error("UNPARSABLE_CLIENT_MESSAGE", description)])
        return end

    def _mistake(self, what: str, code: int, reason: str = "") -> _End:
        self.traffic.mistakes.append(what)
        self._observe(f"client: {what}")
        return _End(code, reason)

    async def _decode(self, work: Callable[[], _T]) -> _T:
        """Call the stream: in a thread where its recognizer takes long."""
        if not self._recognizer.blocking:
            return work()
        thread = asyncio.get_running_loop().run_in_executor(None, work)
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            # The recognizer must not be given up while its thread still uses it.
            await asyncio.wait([thread])
            raise

    def _say(self, messages: list[Message]) -> None:
        for message in messages:
            if self._keep:
                self.traffic.sent.append(message)
            if not self._stalled():
                self._outbox.put([message])
            event = message.get("event", "")
            if event and event != "Update":
                trigger = f" ({message['trigger']})" if "trigger" in message else ""
                heard = message["audio_window_end"]
                self._observe(f"{heard:6.2f} s {event}{trigger}: {message['transcript']}")
            if event in _MOMENTS:
                self._happened.add(_MOMENTS[event])

    def _stalled(self) -> bool:
        heard = self._stream.audio_seconds
        return any(
            isinstance(one, Stall) and (one.seconds is None or heard < since + one.seconds)
            for one, since in self._struck.items()
        )

    def _strike(self) -> None:
        """Let the faults whose moment has come happen; raises :class:`_End` for a drop."""
        heard = self._stream.audio_seconds
        for fault in self._midway:
            if fault in self._struck or heard < fault.after:
                continue
            if fault.on is not None and fault.on not in self._happened:
                continue
            self._struck[fault] = heard
            self._observe(f"{heard:6.2f} s fault: {fault}")
            if isinstance(fault, Garbage):
                self._outbox.put_frame(_GARBAGE[fault.kind])
            elif isinstance(fault, Drop):
                raise _End(fault.code, fault.reason)
            elif isinstance(fault, ErrorMessage):
                message = self._stream.error(fault.code, fault.description or "")
                if fault.description is None:
                    del message["description"]
                self._say([message])
                raise _End(NO_CODE)
