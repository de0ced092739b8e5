"""A machine, a client and some Fluxes on one clock: what happens when, without I/O."""

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.paper_flux import RATE, Nature, PaperFlux
from wyoming_flux.errors import AuthFailed, ConnectionLost, Unreachable
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import CLOSE_STREAM
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance.events import Answer, Connect, Drop, Partial
from wyoming_flux.utterance.machine import Machine

LONGEST = 400.0
"""Seconds after which an utterance that was not answered hangs."""


@dataclass(slots=True)
class World:
    """Plays one utterance; ``natures`` are those of its connections, the last one for all others.

    ``sleeps`` are times at which our process stands still, and for how long: what comes meanwhile
    waits, and a timer that is due runs before it.
    """

    chunks: Sequence[tuple[float, bytes]]
    ends_at: float | None
    natures: Sequence[Nature] = (Nature(),)
    settings: UtteranceSettings = field(default_factory=UtteranceSettings)
    sleeps: Sequence[tuple[float, float]] = ()
    fallbacks: Sequence[Sequence[Nature]] = ()
    """The same for each endpoint after the first; a nature without partial text is an engine."""
    facts: Facts = field(default_factory=Facts)
    flux: FluxSettings = field(default_factory=lambda: FluxSettings(sample_rate=RATE))
    make: Callable[..., Any] = Machine
    """Makes the machine, or what has its face."""
    now: float = 0.0
    connects: int = 0
    asked: list[tuple[float, int]] = field(default_factory=list)
    """When which endpoint was asked."""
    sent: int = 0
    partials: list[str] = field(default_factory=list)
    answer: Answer | None = None
    answered_at: float = 0.0
    controls: list[str] = field(default_factory=list)
    _streams: dict[int, PaperFlux] = field(default_factory=dict)
    _natures: dict[int, Nature] = field(default_factory=dict)
    _queue: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    _count: Any = field(default_factory=itertools.count)
    machine: Any = field(init=False)

    def play(self) -> Answer:
        """Return the one answer, or fail."""
        names = [f"flux-{number}" for number in range(1 + len(self.fallbacks))]
        self.machine = self.make(self.settings, self.flux, names, 0.0)
        for at, pcm in self.chunks:
            self._at(at, lambda now, pcm=pcm: self.machine.feed(pcm, now))
        if self.ends_at is not None:
            self._at(self.ends_at, self.machine.end)
        self._obey()
        while not self.machine.answered:
            self._step()
            assert self.now < LONGEST, f"no answer; {self.machine.state}"
        assert self.answer is not None
        return self.answer

    def _at(self, at: float, deliver: Callable[[float], None]) -> None:
        heapq.heappush(self._queue, (at, next(self._count), deliver))

    def _awake(self, at: float) -> float:
        for begins, lasts in self.sleeps:
            if begins <= at < begins + lasts:
                return begins + lasts
        return at

    def _step(self) -> None:
        due = self.machine.deadline
        assert due is not None
        arrives = self._queue[0][0] if self._queue else float("inf")
        if due <= arrives or self._awake(due) <= self._awake(arrives):
            # asyncio runs due timers before the input that waits beside them.
            self.now = max(self.now, self._awake(due))
            self.machine.tick(self.now)
        else:
            at, _, deliver = heapq.heappop(self._queue)
            self.now = max(self.now, self._awake(at))
            deliver(self.now)
        self._obey()

    def _obey(self) -> None:
        for event in self.machine.events():
            match event:
                case Connect(attempt, endpoint):
                    self._connect(attempt, endpoint)
                case Drop(attempt):
                    self._natures.pop(attempt, None)
                    self._streams.pop(attempt, None)
                case Partial(text):
                    self.partials.append(text)
                case Answer():
                    assert self.answer is None, "answered twice"
                    self.answer, self.answered_at = event, self.now
                case _:
                    pass
        for attempt, stream in tuple(self._streams.items()):
            while (frame := self.machine.next_to_send(attempt)) is not None:
                if isinstance(frame, str):
                    self.controls.append(frame)
                else:
                    self.sent += len(frame) // 2
                for at, said in stream.receive(frame, self.now):
                    self._at(at, lambda now, a=attempt, s=said: self._hear(a, s, now))

    def _hear(self, attempt: int, said: Any, now: float) -> None:
        if isinstance(said, ConnectionLost):
            self.machine.lost(attempt, said, now)
        else:
            self.machine.receive(attempt, said, now)

    def _connect(self, attempt: int, endpoint: int) -> None:
        natures = (self.natures, *self.fallbacks)[endpoint]
        before = sum(one == endpoint for _, one in self.asked)
        nature = natures[min(before, len(natures) - 1)]
        self.connects += 1
        self.asked.append((self.now, endpoint))
        self._natures[attempt] = nature
        facts = self.facts
        if endpoint or not nature.partial:
            facts = Facts(control=CLOSE_STREAM, partial=nature.partial)

        def opened(now: float) -> None:
            if attempt not in self._natures:
                return
            if nature.refuses:
                self.machine.failed(attempt, Unreachable("refused"), now)
            elif nature.denies:
                self.machine.failed(attempt, AuthFailed("denied"), now)
            else:
                self._streams[attempt] = PaperFlux(nature)
                self.machine.opened(attempt, facts, now)

        self._at(self.now + nature.opens_after, opened)


def paced(audio: bytes, chunk: float = 0.02, *, start: float = 0.0) -> list[tuple[float, bytes]]:
    """Cut audio into chunks that come when a microphone has recorded them."""
    size = max(2, int(chunk * RATE) * 2)
    pieces = [audio[at : at + size] for at in range(0, len(audio), size)]
    times = itertools.accumulate(len(piece) / 2 / RATE for piece in pieces)
    return [(start + at, piece) for at, piece in zip(times, pieces, strict=True)]


def stalled(
    chunks: Sequence[tuple[float, bytes]], stalls: Sequence[tuple[float, float]]
) -> list[tuple[float, bytes]]:
    """Hold chunks back as a bad Wi-Fi does: what should come within a stall comes at its end."""
    held = []
    for at, pcm in chunks:
        for begins, lasts in stalls:
            if begins <= at < begins + lasts:
                at = begins + lasts
        held.append((at, pcm))
    return sorted(held, key=lambda one: one[0])
