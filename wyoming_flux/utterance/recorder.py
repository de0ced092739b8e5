"""A machine that keeps a record of itself; the format is ``docs/records.md``."""

import json
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any, Final, Protocol

from wyoming_flux.errors import EndpointError
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import Message
from wyoming_flux.settings import FluxSettings, UtteranceSettings

from .events import Event
from .machine import Machine, State
from .outcome import Trigger
from .record import VERSION, error_fields, names_of, output, plain

_STEPS: Final = 10_000
"""Steps of the record's clock in a second."""
_AT_ONCE: Final = 0.001
"""What is sent within so many seconds of an input is sent at its time."""
_MOST_BYTES: Final = 256 * 1024
_MOST_LINES: Final = 4096
"""Bytes of audio, and pieces or lines, that are collected before they are handed on."""
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Sink(Protocol):
    """Where a recorder puts what it collected; must return at once and never raise."""

    def write(self, lines: str, pcm: Sequence[bytes], *, last: bool) -> bool:
        """Take the next of both; *last*: the record is complete. False: no more is wanted."""


class Recorder(Machine):
    """A machine that notes what goes in and what it decides."""

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
        header = {
            "record": VERSION,
            **about,
            "endpoints": list(endpoints),
            "utterance": plain(settings),
            "flux": plain(flux),
        }
        self._notes: Final = _Notes(sink, header, now)
        self._noted = self.state

    @property
    def deadline(self) -> float | None:
        """See :attr:`Machine.deadline`."""
        due = super().deadline
        return None if due is None else self._notes.began + due

    def events(self) -> list[Event]:
        """See :meth:`Machine.events`."""
        events = super().events()
        for event in events:
            self._notes.add(output(event))
        return events

    def feed(self, pcm: bytes, now: float) -> None:
        """See :meth:`Machine.feed`."""
        at = self._notes.time(now)
        if self.state is not State.ANSWERED:
            self._notes.feed(pcm)
        super().feed(pcm, at)
        if self.state is not self._noted:
            self._note_state()

    def end(self, now: float) -> None:
        """See :meth:`Machine.end`."""
        super().end(self._note_input(now, "end"))
        self._note_state()

    def limit(self, seconds: float, trigger: Trigger, now: float) -> None:
        """See :meth:`Machine.limit`."""
        at = self._note_input(now, "limit", seconds=seconds, trigger=trigger)
        super().limit(seconds, trigger, at)
        self._note_state()

    def opened(self, attempt: int, facts: Facts, now: float) -> None:
        """See :meth:`Machine.opened`."""
        at = self._note_input(now, "opened", attempt=attempt, facts=plain(facts))
        super().opened(attempt, facts, at)
        self._note_state()

    def failed(self, attempt: int, error: EndpointError, now: float) -> None:
        """See :meth:`Machine.failed`."""
        at = self._note_input(now, "failed", attempt=attempt, error=error_fields(error))
        super().failed(attempt, error, at)
        self._note_state()

    def lost(self, attempt: int, error: EndpointError, now: float) -> None:
        """See :meth:`Machine.lost`."""
        at = self._note_input(now, "lost", attempt=attempt, error=error_fields(error))
        super().lost(attempt, error, at)
        self._note_state()

    def receive(self, attempt: int, message: Message, now: float) -> None:
        """See :meth:`Machine.receive`."""
        at = self._notes.time(now)
        if self.state is not State.ANSWERED:
            said = _written(message)
            self._notes.write(f'"in":"receive","attempt":{attempt},"message":{{{said}}}')
        super().receive(attempt, message, at)
        self._note_state()

    def tick(self, now: float) -> None:
        """See :meth:`Machine.tick`."""
        at = self._notes.time(now)
        if self.state is not State.ANSWERED:
            self._notes.write('"in":"tick"')
        super().tick(at)
        self._note_state()

    def next_to_send(self, attempt: int, now: float) -> bytes | str | None:
        """See :meth:`Machine.next_to_send`; asked in vain it changes nothing, and is not noted."""
        at = self._notes.time_of_sending(now)
        data = super().next_to_send(attempt, at)
        if data is not None:
            self._notes.sent(attempt)
            if self.state is not self._noted:
                self._note_state()
        return data

    def close(self, now: float) -> None:
        """End the record: nobody will ask the machine again; idempotent."""
        at = self._notes.time(now)
        self._notes.close()
        super().close(at)

    def _note_input(self, now: float, name: str, **more: Any) -> float:
        at = self._notes.time(now)
        if not self.answered:
            self._notes.add({"in": name, **more})
        return at

    def _note_state(self) -> None:
        if self.state is not self._noted:
            self._noted = self.state
            self._notes.add({"out": "state", "state": self.state.name})


class _Notes:
    """What a recorder has collected, and its clock.

    It costs something with each frame of each client: audio is noted in columns, together with how
    many frames went out with it, and what a machine says again when it is replayed is left out.
    """

    def __init__(self, sink: Sink, header: Mapping[str, Any], now: float) -> None:
        self.began: Final = now
        self._sink: Sink | None = sink
        self._now = 0.0
        self._lines = [_ENCODE(header)[1:-1]]
        self._pcm: list[bytes] = []
        self._size = 0
        # The columns of what was fed since the last line, and whose frames they count.
        self._times: list[float] = []
        self._sent: list[int] = []
        self._sender = 0

    def time(self, now: float) -> float:
        """Return a time of the caller as the record has it."""
        # As round() would, at a third of its time; max() would cost as much again.
        at = int((now - self.began) * _STEPS + 0.5) / _STEPS
        if at > self._now:
            self._now = at
        return self._now

    def time_of_sending(self, now: float) -> float:
        """Return the same for what follows an input."""
        return self._now if now - self.began - self._now < _AT_ONCE else self.time(now)

    def feed(self, pcm: bytes) -> None:
        """Note audio."""
        self._pcm.append(pcm)
        self._times.append(self._now)
        self._sent.append(0)
        self._size += len(pcm)
        if self._size >= _MOST_BYTES or len(self._pcm) >= _MOST_LINES:
            self._hand_on()

    def sent(self, attempt: int) -> None:
        """Note that a frame, or a control message, went out."""
        if self._times and self._times[-1] == self._now and self._sender == attempt:
            self._sent[-1] += 1
        else:
            self._sender = attempt
            self.write(f'"in":"next","attempt":{attempt}')

    def add(self, fields: Mapping[str, Any]) -> None:
        """Note anything else."""
        self.write(_ENCODE(fields)[1:-1])

    def write(self, line: str) -> None:
        """Note a line without its braces, which are put between all of them at once."""
        if self._times:
            self._columns()
        self._lines.append(f'"t":{self._now},{line}')
        if len(self._lines) >= _MOST_LINES:
            self._hand_on()

    def close(self) -> None:
        """End the record; idempotent."""
        if self._sink is not None:
            self.write('"in":"close"')
            self._hand_on(last=True)
            self._sink = None

    def _columns(self) -> None:
        sizes = [len(pcm) for pcm in self._pcm[-len(self._times) :]]
        columns = f'"bytes":{sizes},"attempt":{self._sender},"sent":{self._sent}'
        self._lines.append(f'"t":{self._times},"in":"feed",{columns}')
        self._times, self._sent = [], []

    def _hand_on(self, *, last: bool = False) -> None:
        if self._times:
            self._columns()
        lines, pcm = self._lines, self._pcm
        self._lines, self._pcm, self._size = [], [], 0
        text = "{" + "}\n{".join(lines) + "}\n"
        if self._sink is not None and not self._sink.write(text, pcm, last=last):
            self._sink = None


def _written(message: Message) -> str:
    """Return a message of Flux as JSON without its braces; several come in each second."""
    fields = [f'"type":"{type(message).__name__}"']
    for name in names_of(type(message)):
        value = getattr(message, name)
        if isinstance(value, str):
            said = "said" if name == "type" else name
            fields.append(f'"{said}":{encode_basestring(value)}')
        elif value is not None:
            fields.append(f'"{name}":{value}')
    return ",".join(fields)
