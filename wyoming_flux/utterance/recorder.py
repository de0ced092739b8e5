"""A machine that keeps a record of itself; the format is ``docs/records.md``."""

import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from wyoming_flux.errors import EndpointError
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import Message
from wyoming_flux.settings import FluxSettings, UtteranceSettings

from .events import Event
from .machine import Machine, State
from .outcome import Trigger
from .record import STEPS, VERSION, error_fields, message_fields, output, plain
from .tape import Tape

_MOST_BYTES: Final = 256 * 1024
_MOST_LINES: Final = 4096
"""Bytes of audio, and pieces or lines, that are collected before they are handed on."""
_TICK: Final = -1
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Sink(Protocol):
    """Where a recorder puts what it collected; must return at once and never raise."""

    def write(self, lines: str, pcm: Sequence[bytes | bytearray], *, last: bool) -> bool:
        """Take the next of both; *last*: the record is complete. False: no more is wanted."""


class Recorder(Machine):
    """A machine that notes what goes in and what it decides.

    Audio comes a hundred times a second for each client, so three numbers are all that is noted of
    a piece; its bytes are on the tape. Lines are made once much has come together, all at once.
    """

    def __init__(
        self,
        settings: UtteranceSettings,
        flux: FluxSettings,
        endpoints: Sequence[str],
        now: float,
        *,
        sink: Sink,
        about: Mapping[str, Any],
    ) -> None:
        """Begin a machine and its record; *about* is added to the header."""
        super().__init__(settings, flux, endpoints, 0.0)
        header = {"record": VERSION, **about, "endpoints": endpoints}
        # No more of its own than these: an object with more than thirty attributes is slower.
        self._began = now
        self._notes: Final = _Notes(sink, header, settings, flux, self.state)
        self._source.tape = self._notes.tape
        # Of each piece, and tick, since the last line: its time in steps, how many bytes it has
        # (_TICK: it is none), and how many frames had been sent. An array, for numbers that lie
        # all over the memory cost more to come back to than to note.
        self._fed = array("q")

    @property
    def deadline(self) -> float | None:
        """See :attr:`Machine.deadline`."""
        due = super().deadline
        return None if due is None else self._began + due

    def events(self) -> list[Event]:
        """See :meth:`Machine.events`."""
        events = super().events()
        if events:
            self._catch_up()
            for event in events:
                self._notes.add({"t": self._last, **output(event)})
        return events

    def feed(self, pcm: bytes, now: float) -> None:
        """See :meth:`Machine.feed`."""
        step = int((now - self._began) * STEPS + 0.5)
        if not self.answered:
            if self._source.ended is not None:
                # Not wanted any more, so it does not come onto the tape.
                self._note_state()
                self._notes.tape.note()
                self._notes.audio(pcm)
            stream, fed = self._stream, self._fed
            fed.append(step)
            fed.append(len(pcm))
            fed.append(0 if stream is None else stream.frames)
            if len(fed) >= 3 * _MOST_LINES:
                self._catch_up()
        super().feed(pcm, step / STEPS)
        if self._source.ended is not None:
            self._note_state()

    def tick(self, now: float) -> None:
        """See :meth:`Machine.tick`."""
        step = int((now - self._began) * STEPS + 0.5)
        if not self.answered:
            if self._source.ended is not None:
                self._note_state()
            self._fed.extend((step, _TICK, 0 if self._stream is None else self._stream.frames))
        super().tick(step / STEPS)
        self._note_state()

    def end(self, now: float) -> None:
        """See :meth:`Machine.end`."""
        super().end(self._note(now, "end"))
        self._note_state()

    def limit(self, seconds: float, trigger: Trigger, now: float) -> None:
        """See :meth:`Machine.limit`."""
        at = self._note(now, "limit", seconds=seconds, trigger=trigger)
        super().limit(seconds, trigger, at)
        self._note_state()

    def opened(self, attempt: int, facts: Facts, now: float) -> None:
        """See :meth:`Machine.opened`."""
        at = self._note(now, "opened", attempt=attempt, facts=plain(facts))
        super().opened(attempt, facts, at)
        self._note_state()

    def failed(self, attempt: int, error: EndpointError, now: float) -> None:
        """See :meth:`Machine.failed`."""
        at = self._note(now, "failed", attempt=attempt, error=error_fields(error))
        super().failed(attempt, error, at)
        self._note_state()

    def lost(self, attempt: int, error: EndpointError, now: float) -> None:
        """See :meth:`Machine.lost`."""
        at = self._note(now, "lost", attempt=attempt, error=error_fields(error))
        super().lost(attempt, error, at)
        self._note_state()

    def receive(self, attempt: int, message: Message, now: float) -> None:
        """See :meth:`Machine.receive`."""
        at = self._note(now, "receive", attempt=attempt, message=message_fields(message))
        super().receive(attempt, message, at)
        self._note_state()

    def close(self, now: float) -> None:
        """End the record: nobody will ask the machine again; idempotent."""
        at = int((now - self._began) * STEPS + 0.5) / STEPS
        self._catch_up()
        if not self.answered:
            self._note_state()
        super().close(at)
        self._notes.close(at)

    def _note(self, now: float, name: str, **more: Any) -> float:
        """Note any other input, and return its time."""
        at = int((now - self._began) * STEPS + 0.5) / STEPS
        if not self.answered:
            self._catch_up()
            if self._source.ended is not None:
                # The last of its audio may have gone out.
                self._note_state()
            self._notes.add({"t": at, "in": name, **more})
        return at

    def _note_state(self) -> None:
        if (state := self.state) is not self._notes.state:
            self._catch_up()
            self._notes.state = state
            self._notes.add({"t": self._last, "out": "state", "state": state.name})

    def _catch_up(self) -> None:
        """Note what was fed and sent since the last line.

        A stream comes and goes with a change of the state, so all of it is of one stream.
        """
        notes, stream, fed, last = self._notes, self._stream, self._fed, self._last
        attempt = notes.attempt if stream is None else stream.attempt
        frames = 0 if stream is None else stream.frames
        if fed:
            if stream is None:
                # There was none, or the last piece has ended it.
                frames = fed[-1]
            # What had gone out before the first piece belongs to the line before.
            notes.sent(attempt, fed[2])
            notes.add_fed(last, attempt, fed, frames)
            self._fed = array("q")
        notes.sent(attempt, frames)
        notes.attempt, notes.frames = attempt, frames


class _KeptTape(Tape):
    """A tape whose audio is noted before it is forgotten."""

    __slots__ = ("_note", "_noted")

    def __init__(self, note: Callable[[bytearray], None]) -> None:
        super().__init__()
        self._note = note
        # Bytes that are still there, and noted.
        self._noted = 0

    def note(self) -> None:
        """Note all that is there by now."""
        self._let_go(0, until=len(self._data))

    def _let_go(self, size: int, until: int | None = None) -> None:
        until = size if until is None else until
        if size == len(self._data) and not self._noted:
            # All of it, as at the end of most utterances: not copied.
            self._note(self._data)
            self._data = bytearray()
            return
        if until > self._noted:
            self._note(self._data[self._noted : until])
            self._noted = until
        self._noted -= size
        super()._let_go(size)


class _Notes:
    """What a recorder has collected, and hands on as text."""

    def __init__(
        self,
        sink: Sink,
        header: Mapping[str, Any],
        utterance: UtteranceSettings,
        flux: FluxSettings,
        state: State,
    ) -> None:
        self.at = 0.0
        """The time of the last line."""
        self.state = state
        """Where the machine stood then."""
        self.attempt = 0
        self.frames = 0
        """Whose stream it was, and how many frames had gone out on it."""
        self.tape = _KeptTape(self.audio)
        self._sink: Sink | None = sink
        self._header: Mapping[str, Any] | None = header
        self._settings = utterance, flux
        self._lines: list[dict[str, Any] | tuple[int, array[int], int]] = []
        self._pcm: list[bytes | bytearray] = []
        self._count = 0
        self._size = 0

    def audio(self, pcm: bytes | bytearray) -> None:
        """Note audio."""
        self._pcm.append(pcm)
        self._size += len(pcm)

    def add(self, line: dict[str, Any]) -> None:
        """Note a line."""
        self.at = line["t"]
        self._lines.append(line)
        self._grow(1)

    def sent(self, attempt: int, frames: int) -> None:
        """Note the frames that went out since the last line; *frames*: how many in all."""
        if frames > self.frames:
            more = {"attempt": attempt, "frames": frames - self.frames}
            self.add({"t": self.at, "in": "next", **more})

    def add_fed(self, at: float, attempt: int, fed: "array[int]", frames: int) -> None:
        """Note pieces and ticks, three numbers of each, and what was sent by the end."""
        self.at, self.frames = at, frames
        self._lines.append((attempt, fed, frames))
        self._grow(len(fed) // 3)

    def _grow(self, count: int) -> None:
        self._count += count
        if self._count >= _MOST_LINES or self._size >= _MOST_BYTES:
            self._hand_on()

    def close(self, at: float) -> None:
        """End the record; idempotent."""
        if self._sink is not None:
            self._lines.append({"t": at, "in": "close"})
            self._hand_on(last=True)
            self._sink = None

    def _hand_on(self, *, last: bool = False) -> None:
        # One call of the library for all but the numbers, which str() makes at a fifth of its time.
        # A text's quotes are escaped, so what is replaced is nothing but the seam of two lines.
        if self._header is not None:
            utterance, flux = map(plain, self._settings)
            self._lines.insert(0, {**self._header, "utterance": utterance, "flux": flux})
        others = [line for line in self._lines if isinstance(line, dict)]
        written = iter(_ENCODE(others)[1:-1].replace('},{"t":', '}\n{"t":').split("\n"))
        lines = [next(written) if isinstance(one, dict) else _fed(*one) for one in self._lines]
        text, pcm = "".join(f"{line}\n" for line in lines), self._pcm
        self._header, self._lines, self._pcm, self._count, self._size = None, [], [], 0, 0
        if self._sink is not None and not self._sink.write(text, pcm, last=last):
            self._sink = None


def _fed(attempt: int, noted: "array[int]", frames: int) -> str:
    fed = noted.tolist()
    steps, sent = fed[::3], [*fed[2::3], frames]
    sizes = str(fed[1::3]).replace(str(_TICK), "null")
    columns = f'"steps":{steps},"bytes":{sizes},"frames":{sent}'
    return f'{{"t":{steps[0] / STEPS},"in":"feed","attempt":{attempt},{columns}}}'
