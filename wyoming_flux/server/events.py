"""Bytes to Wyoming events and back, within limits: what clients ask for, and what they are told.

On the wire (``wyoming`` 1.10.2, ``event.py``) an event is one line of JSON with ``type`` and maybe
``data``, ``data_length``, ``payload_length`` and ``version``; then ``data_length`` bytes of JSON
that are merged over ``data``; then ``payload_length`` bytes. The library's own reader believes any
length and closes without a word on what it cannot read; this one does neither.

Order of a streaming answer (``wyoming/asr.py``): ``transcript-start``, ``transcript-chunk`` any
number of times, ``transcript``, ``transcript-stop``. Home Assistant reads ``transcript`` and
``error`` alone; wyoming-bench waits for ``transcript-stop`` in its streaming mode.
"""

import json
import sys
from dataclasses import dataclass
from typing import Any, Final, Never, cast, get_args

from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.version import __version__ as wyoming_version

from wyoming_flux.audio import AudioFormat
from wyoming_flux.errors import InvalidEvent, WyomingFluxError
from wyoming_flux.settings import Sensitivity

MAX_HEADER: Final = 64 * 1024
"""Bytes of the header line, without its line feed."""
MAX_DATA: Final = 256 * 1024
"""Bytes of the data section."""
MAX_PAYLOAD: Final = 1024 * 1024
"""Bytes of the payload."""

_SHORT: Final = 256
"""Bytes of a data section that is remembered: enough for that of an audio chunk."""
_SHOWN: Final = 40
"""Characters of a client's own value that are repeated in an error."""


class EventParser:
    """Turns a stream of bytes, split anywhere, into events.

    Holds at most one unfinished event, so its memory is bounded by the three limits. Nothing that
    follows a malformed event can be trusted, because its length is not known: the events before it
    are returned, :attr:`error` is set, and from then on all input is dropped.
    """

    __slots__ = ("_buffer", "_head", "_line", "_need", "error", "more")

    def __init__(self) -> None:
        """Begin at the start of a stream."""
        self.error: InvalidEvent | None = None
        """What was wrong with the input; the stream cannot be read any further."""
        self.more = False
        """Whether the last call stopped at its limit, with input left."""
        self._buffer = bytearray()
        # Header whose body is awaited; its bytes have left the buffer.
        self._head: _Head | None = None
        # How many bytes the body has; 0 while a header line is awaited.
        self._need = 0
        # The last header line and what it means: those of one client's audio chunks are all alike.
        self._line: tuple[bytes, _Head] | None = None

    @property
    def pending(self) -> bool:
        """Whether an event has begun that is not complete."""
        return self._head is not None or bool(self._buffer)

    def feed(self, data: bytes, most: int = sys.maxsize) -> list[Event]:
        """Return at most *most* events that are complete with *data*; never raises for any input.

        What is left is read by the next call; :attr:`more` tells whether there may be something.
        """
        if self.error is not None:
            return []
        if self._buffer:
            # Parsing waits until it can get ahead, so that a slow drip is not copied at each drop.
            self._buffer += data
            if not self.more:
                if self._need:
                    if len(self._buffer) < self._need:
                        return []
                elif b"\n" not in data and len(self._buffer) <= MAX_HEADER:
                    return []
            data = bytes(self._buffer)
            self._buffer.clear()
        events: list[Event] = []
        try:
            rest = self._parse(data, events, most)
        except InvalidEvent as error:
            # A new one: the traceback of this one, and its causes, hold on to what was read.
            self.error = InvalidEvent(str(error))
            self.clear()
            return events
        self.more = len(events) == most and rest < len(data)
        if rest < len(data):
            self._buffer += memoryview(data)[rest:]
        return events

    def clear(self) -> None:
        """Forget half an event: nobody waits for the other half any more."""
        self._buffer.clear()
        self._head = self._line = None
        self._need = 0
        self.more = False

    def _parse(self, data: bytes, events: list[Event], most: int) -> int:
        """Append what is complete to *events*; return where the rest begins."""
        at = 0
        while len(events) < most:
            head = self._head
            if head is None:
                end = data.find(b"\n", at)
                if (len(data) if end < 0 else end) - at > MAX_HEADER:
                    raise InvalidEvent(
                        f"The header line of a Wyoming event must not exceed {MAX_HEADER} bytes."
                    )
                if end < 0:
                    return at
                line = data[at:end]
                if self._line is not None and self._line[0] == line:
                    head = self._line[1]
                else:
                    head = _read_head(line)
                    self._line = (line, head)
                at = end + 1
            body = at + head.data_length
            end = body + head.payload_length
            if end > len(data):
                self._head = head
                self._need = end - at
                return at
            self._head = None
            self._need = 0
            fields = head.read(data[at:body])
            events.append(Event(head.type, fields, data[body:end] if head.payload_length else None))
            at = end
        return at


def encode(event: Event) -> bytes:
    """Return *event* as the bytes that ``wyoming.event.async_write_event`` would send."""
    header: dict[str, Any] = {"type": event.type, "version": wyoming_version}
    data = _dump(event.data) if event.data else b""
    payload = event.payload or b""
    if data:
        header["data_length"] = len(data)
    if payload:
        header["payload_length"] = len(payload)
    return b"%b\n%b%b" % (_dump(header), data, payload)


@dataclass(slots=True)
class _Head:
    type: str
    data: dict[str, Any]
    data_length: int
    payload_length: int
    # The last data section behind such a line, as long as it is short, and what both say.
    _last: tuple[bytes, dict[str, Any]] | None = None

    def read(self, raw: bytes) -> dict[str, Any]:
        """Return the event's data; events that are alike share it, so nobody may change it."""
        if self._last is not None and self._last[0] == raw:
            return self._last[1]
        fields = {**self.data, **_read_object(raw, "data")} if raw else self.data
        if len(raw) <= _SHORT:
            self._last = (raw, fields)
        return fields


def _read_head(line: bytes) -> _Head:
    fields = _read_object(line, "header line")
    kind = fields.get("type")
    if not isinstance(kind, str):
        raise InvalidEvent("The header line of a Wyoming event must have its type as a text.")
    data = fields.get("data")
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise InvalidEvent("The data of a Wyoming event must be a JSON object.")
    return _Head(
        kind,
        data,
        _read_length(fields, "data_length", MAX_DATA),
        _read_length(fields, "payload_length", MAX_PAYLOAD),
    )


def _read_length(fields: dict[str, Any], name: str, largest: int) -> int:
    length = fields.get(name)
    if length is None:
        return 0
    # bool is an int, but no length.
    if type(length) is not int or not 0 <= length <= largest:
        raise InvalidEvent(
            f"The {name} of a Wyoming event must be a whole number from 0 to {largest}."
        )
    return length


def _read_object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        text = raw.decode()
        value = _decode(text)
        if "\\u" in text:
            # Half a surrogate pair is valid JSON, but cannot be written, logged or put in a URL.
            _dump_strictly(value)
    except RecursionError:
        raise InvalidEvent(f"The {what} of a Wyoming event is nested too deeply.") from None
    except UnicodeError:
        raise InvalidEvent(f"The {what} of a Wyoming event must be valid UTF-8.") from None
    except ValueError:
        raise InvalidEvent(f"The {what} of a Wyoming event must be valid JSON.") from None
    if not isinstance(value, dict):
        raise InvalidEvent(f"The {what} of a Wyoming event must be a JSON object.")
    return value


def _no_constant(name: str) -> Never:
    # Python reads NaN and Infinity by default; JSON has neither.
    raise ValueError(name)


_decode = json.JSONDecoder(parse_constant=_no_constant).decode
_encoder = json.JSONEncoder(ensure_ascii=False)


def _dump(value: object) -> bytes:
    # What Flux said may hold half a surrogate pair; "?" is better than no answer.
    return _encoder.encode(value).encode("utf-8", "replace")


def _dump_strictly(value: object) -> bytes:
    return _encoder.encode(value).encode()


# --- what clients ask for ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TranscribeRequest:
    """A ``transcribe`` event; None and () where the client left a field out."""

    name: str | None = None
    """Model the client would like."""
    language: str | None = None
    """Language tag, such as ``en`` or ``en-US``."""
    sensitivity: Sensitivity | None = None
    """How soon the end of speech is believed (``vad_sensitivity``)."""
    names: tuple[str, ...] = ()
    """Names to expect (``transcript_names``); they rank above the terms."""
    terms: tuple[str, ...] = ()
    """Other words to expect (``transcript_terms``)."""


def read_transcribe(event: Event) -> TranscribeRequest:
    """Return what a ``transcribe`` event asks for.

    Fields are those of ``wyoming.asr.Transcribe`` 1.10.2; ``context`` and unknown ones are ignored.
    Raises :class:`InvalidEvent`, naming the field.
    """
    data = event.data
    return TranscribeRequest(
        name=read_text(data, "name"),
        language=read_text(data, "language"),
        sensitivity=_read_sensitivity(data),
        names=_read_texts(data, "transcript_names"),
        terms=_read_texts(data, "transcript_terms"),
    )


def read_format(event: Event) -> AudioFormat:
    """Return the format that an ``audio-start`` or ``audio-chunk`` announces.

    Raises :class:`InvalidEvent` where a field is missing or no whole number, and
    :class:`~wyoming_flux.errors.InvalidAudio` where the format is not supported.
    """
    rate, width, channels = (_read_number(event, name) for name in ("rate", "width", "channels"))
    return AudioFormat(rate, width, channels)


def read_text(data: dict[str, Any], name: str) -> str | None:
    """Return the text field *name*, None where it is missing, null or empty.

    Raises :class:`InvalidEvent` for any other type.
    """
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidEvent(f"{name} must be a text, not {_show(value)}.")
    return value or None


def _read_number(event: Event, name: str) -> int:
    value = event.data.get(name)
    # bool is an int: true would be taken for 1.
    if type(value) is not int:
        raise InvalidEvent(f"{event.type} needs {name} as a whole number, not {_show(value)}.")
    return value


def _read_sensitivity(data: dict[str, Any]) -> Sensitivity | None:
    value = data.get("vad_sensitivity")
    if value is None:
        return None
    allowed = get_args(Sensitivity)
    if not isinstance(value, str) or value not in allowed:
        raise InvalidEvent(
            f"vad_sensitivity must be one of {', '.join(allowed)}, not {_show(value)}."
        )
    return cast("Sensitivity", value)


def _read_texts(data: dict[str, Any], name: str) -> tuple[str, ...]:
    value = data.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InvalidEvent(f"{name} must be a list of texts.")
    return tuple(value)


def _show(value: object) -> str:
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, str):
        return repr(value[:_SHOWN])
    # Numbers may have thousands of digits, which Python refuses to print.
    if isinstance(value, int) and abs(value) >= 10**12:
        return "a huge number"
    return "nothing" if value is None else str(value)


# --- what they are told ------------------------------------------------------------------------

_START: Final = encode(TranscriptStart().event())
_STOP: Final = encode(TranscriptStop().event())


class AnswerWriter:
    """Writes the answer to one turn; ``transcript-start`` goes in front of what comes first."""

    __slots__ = ("_started",)

    def __init__(self) -> None:
        """Begin with nothing said."""
        self._started = False

    def partial(self, text: str) -> bytes:
        """Return *text*, to be appended to what came before."""
        return self._start() + encode(TranscriptChunk(text).event())

    def transcript(self, text: str) -> bytes:
        """Return the whole transcript, and that nothing follows."""
        return self._start() + encode(Transcript(text).event()) + _STOP

    def _start(self) -> bytes:
        start = b"" if self._started else _START
        self._started = True
        return start


def encode_error(error: WyomingFluxError) -> bytes:
    """Return the ``error`` event for *error*."""
    return encode(Error(text=str(error), code=error.code).event())


def encode_pong(text: str | None) -> bytes:
    """Return the answer to a ``ping``."""
    return encode(Event("pong", {"text": text}))
