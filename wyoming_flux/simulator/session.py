"""One connection to the simulator, without I/O: frames and the time in, frames and a deadline out.

It paces the audio, obeys control messages, strikes with faults and ends the connection the way
the profile does. Whoever carries the frames calls :meth:`FluxSession.receive` while there is
:attr:`~FluxSession.room`, sends what :meth:`FluxSession.next_to_send` gives until that is None,
and comes back at the :attr:`~FluxSession.deadline`, or with the next frame.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .delivery import Delivery, Frame
from .faults import Dropped, ErrorMessage, Fault, Gibberish, Midway, Moment, SlowReader, Stall
from .parameters import StreamParameters
from .profiles import ABORTED, NO_CODE, Profile
from .recognizer import Recognizer
from .stream import Message, SimulatedStream, UnparsableMessage

SLICE_MS: Final = 80
"""Audio is consumed in pieces of at most this many milliseconds."""
FLUSH_SECONDS: Final = 30.0
"""Longest time in which the last messages may leave; then the close goes alone."""
STUCK_SECONDS: Final = 60.0
"""Longest time a slow reader does not read at all; then the connection is dropped."""
DATA_ERROR: Final = 1008
INTERNAL_ERROR: Final = 1011

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
    "empty": "",
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


@dataclass(frozen=True, slots=True)
class Close:
    """The end of the connection; 1005: a close frame without a code, 1006: TCP alone."""

    code: int
    reason: str = ""


class _Ends(Exception):
    """The session is over."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code)
        self.close = Close(code, reason)


class FluxSession:
    """One connection, from its first message to its close. Times are seconds of any clock."""

    def __init__(
        self,
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
        """Prepare; :meth:`start` begins.

        ``ingest_rate`` is times real time, 0 unlimited. ``keep``: record audio and messages in
        ``traffic``. ``observe`` gets one line of text for each thing that happens.
        """
        self.traffic = traffic or Traffic()
        self.blocking = recognizer.blocking
        """Whether :meth:`advance` may take so long that it belongs in a thread."""
        self.closed = False
        """Whether the close was given out, or the client is gone."""
        self.hurry = False
        """Set when the client is gone: what it sent before is taken without waiting."""
        self._keep = keep
        if keep:
            self.traffic.audio = bytearray()
        self._observe = observe or (lambda line: None)
        self._profile = profile
        self._recognizer = recognizer
        self._stream = SimulatedStream(parameters, profile, recognizer, request_id=request_id)
        self._delivery = Delivery(profile, faults)
        self._slice_bytes = 2 * parameters.sample_rate * SLICE_MS // 1000
        self._rate = ingest_rate
        # The frame that is being taken, how much of it is, when it came, and when the decoder is
        # free again.
        self._frame: Frame | None = None
        self._taken = 0
        self._arrived = 0.0
        self._ready_at = float("-inf")
        # Since when nothing has come, and until when a slow reader holds out.
        self._idle_since = 0.0
        self._stuck_until: float | None = None
        self._close: Close | None = None
        self._flush_until = 0.0
        self._midway = [one for one in faults if isinstance(one, Midway)]
        self._struck: dict[Midway, float] = {}
        self._happened: set[Moment] = set()

    # --- what the carrier of the frames calls ------------------------------------------------

    def start(self, now: float) -> None:
        """Begin: the client's upgrade was accepted."""
        self._idle_since = now
        self._delivery.start(now)
        self._say([self._stream.connected()], now)
        self._happened.add("connected")
        self._until_the_end(lambda: self._strike(now), now)

    @property
    def room(self) -> bool:
        """Whether the next frame may be received; otherwise the client has to wait."""
        return self._frame is None and self._close is None and not self.closed

    def receive(self, frame: Frame, now: float) -> None:
        """Take a frame from the client; only while there is :attr:`room`."""
        if not self.room:
            raise RuntimeError("there is no room for another frame")
        self._frame, self._taken, self._arrived = frame, 0, now
        if isinstance(frame, bytes):
            self.traffic.audio_bytes += len(frame)
            if self.traffic.audio is not None:
                self.traffic.audio += frame

    def lost(self, code: int) -> None:
        """The client is gone, or closed with this code."""
        if self._close is None and not self.closed:
            self.traffic.close_code = code
            self.traffic.closed_by_client = True
            self._observe(f"closed by the client with {code}")
        self.closed = True

    def advance(self, now: float) -> None:
        """Do what is due: here is where the recognizer works."""
        self._until_the_end(lambda: self._work(now), now)

    def next_to_send(self, now: float) -> Frame | Close | None:
        """Do what is due and return what goes to the client now, one frame after the other."""
        if self.closed:
            return None
        self.advance(now)
        if (frame := self._delivery.take(now)) is not None:
            return frame
        if self._close is not None and (self._delivery.empty or now >= self._flush_until):
            self.closed = True
            return self._close
        return None

    @property
    def deadline(self) -> float | None:
        """When to come back, if no frame comes before; None: nothing is going to happen."""
        if self.closed:
            return None
        times = [self._delivery.due]
        if self._close is not None:
            times.append(self._flush_until)
        else:
            times += [self._frame_due, self._stuck_until, self._idle_until]
        return min((one for one in times if one is not None), default=None)

    def end(self) -> None:
        """Give up the recognizer; called once, however it ended."""
        self.closed = True
        self._recognizer.close()

    # --- time --------------------------------------------------------------------------------

    @property
    def _frame_due(self) -> float | None:
        """When more of the frame is taken; None: there is none, or it will not be."""
        if self._frame is None:
            return None
        if isinstance(self._frame, str) or not self._frame:
            return self._arrived
        if self._stuck_until is not None:
            return None
        return self._arrived if self.hurry else max(self._arrived, self._ready_at)

    @property
    def _idle_until(self) -> float | None:
        if self._frame is not None or self._profile.idle_timeout is None:
            return None
        return self._idle_since + self._profile.idle_timeout

    def _work(self, now: float) -> None:
        while (due := self._frame_due) is not None and due <= now:
            self._take(due)
        if self._stuck_until is not None and self._stuck_until <= now:
            raise _Ends(ABORTED)
        if self._idle_until is not None and self._idle_until <= now:
            raise self._mistake("sent nothing for too long", ABORTED)

    def _until_the_end(self, work: Callable[[], None], now: float) -> None:
        if self._close is not None or self.closed:
            return
        try:
            work()
        except _Ends as end:
            self._close = end.close
            self._frame = None
            self._flush_until = now + FLUSH_SECONDS
            self._delivery.flush(now)
            self.traffic.close_code = end.close.code
            heard = self._stream.audio_seconds
            self._observe(f"closes with {end.close.code} after {heard:.2f} s of audio")

    # --- frames ------------------------------------------------------------------------------

    def _take(self, now: float) -> None:
        """Take the whole of a text, or the next piece of audio."""
        frame = self._frame
        if isinstance(frame, str):
            self._frame = None
            self._control(frame, now)
        elif frame:
            if len(frame) % 2:
                raise self._mistake("sent half a sample of audio", DATA_ERROR, "DATA-0000")
            piece = frame[self._taken : self._taken + self._slice_bytes]
            self._taken += len(piece)
            if self._taken == len(frame):
                self._frame = None
            if self._rate:
                seconds = len(piece) / 2 / self._stream.parameters.sample_rate
                self._ready_at = now + seconds / self._rate
            self._say(self._stream.receive_audio(piece), now)
            self._delivery.audio_came(now)
            self._strike(now)
        else:
            # The legacy end-of-stream marker of Deepgram's older API.
            raise self._mistake("sent an empty binary frame", NO_CODE)
        self._idle_since = now

    def _control(self, text: str, now: float) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            self.traffic.controls.append(text)
            raise self._fatal("not JSON", now) from None
        self.traffic.controls.append(message)
        kind = message.get("type") if isinstance(message, dict) else None
        if kind not in self._profile.controls:
            self._unknown(kind, now)
            return
        self._observe(f"{self._stream.audio_seconds:6.2f} s client: {kind}")
        if kind in _MOMENTS:
            self._happened.add(_MOMENTS[kind])
            self._strike(now)
        if kind == "Configure":
            try:
                self._say([self._stream.configure(message)], now)
            except UnparsableMessage as error:
                raise self._fatal(str(error), now) from None
        elif set(message) != {"type"}:
            raise self._fatal(f"`{kind}` has no fields", now)
        elif kind == "ForceEndTurn":
            self._say([self._stream.force_end_turn()], now)
        elif self._profile.flush:
            self._say(self._stream.finish(), now)
        if kind == "CloseStream" and not self._stalled():
            raise _Ends(self._profile.close_code)
        self._strike(now)

    def _unknown(self, kind: object, now: float) -> None:
        known = ", ".join(f"`{one}`" for one in self._profile.controls) or "nothing"
        what = f"unknown variant `{kind}`, expected one of {known}"
        match self._profile.unknown_control:
            case "error":
                raise self._fatal(what, now)
            case "close":
                raise self._mistake(what, INTERNAL_ERROR)
            case "ignore":
                self._observe(f"ignored: {what}")

    def _fatal(self, what: str, now: float) -> _Ends:
        """Report an unreadable client message and return the end it means."""
        description = f"Could not deserialize last text message: {what}"
        end = self._mistake(description, NO_CODE)
        self._say([self._stream.error("UNPARSABLE_CLIENT_MESSAGE", description)], now)
        return end

    def _mistake(self, what: str, code: int, reason: str = "") -> _Ends:
        self.traffic.mistakes.append(what)
        self._observe(f"client: {what}")
        return _Ends(code, reason)

    def _say(self, messages: list[Message], now: float) -> None:
        for message in messages:
            if self._keep:
                self.traffic.sent.append(message)
            if not self._stalled():
                self._delivery.put(message, now)
            event = message.get("event", "")
            if event and event != "Update":
                trigger = f" ({message['trigger']})" if "trigger" in message else ""
                heard = message["audio_window_end"]
                self._observe(f"{heard:6.2f} s {event}{trigger}: {message['transcript']}")
            if event in _MOMENTS:
                self._happened.add(_MOMENTS[event])

    # --- faults ------------------------------------------------------------------------------

    def _stalled(self) -> bool:
        heard = self._stream.audio_seconds
        return any(
            isinstance(one, Stall) and (one.seconds is None or heard < since + one.seconds)
            for one, since in self._struck.items()
        )

    def _strike(self, now: float) -> None:
        """Let the faults whose moment has come happen; raises :class:`_Ends` for a drop."""
        heard = self._stream.audio_seconds
        for fault in self._midway:
            if fault in self._struck or heard < fault.after:
                continue
            if fault.on is not None and fault.on not in self._happened:
                continue
            self._struck[fault] = heard
            self._observe(f"{heard:6.2f} s fault: {fault}")
            match fault:
                case Gibberish():
                    self._delivery.put_frame(_GARBAGE[fault.kind], now)
                case SlowReader(rate=0.0):
                    self._stuck_until = now + STUCK_SECONDS
                case SlowReader():
                    self._rate = fault.rate
                case Dropped():
                    raise _Ends(fault.code, fault.reason)
                case ErrorMessage():
                    message = self._stream.error(fault.code, fault.description or "")
                    if fault.description is None:
                        del message["description"]
                    self._say([message], now)
                    raise _Ends(NO_CODE)
                case _:
                    pass  # a stall lasts: whoever speaks asks whether it is over
