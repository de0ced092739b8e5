"""Whom to ask for a stream, how often, and for how long: rules 7 and 13 of ``docs/turns.md``."""

from collections.abc import Sequence

from wyoming_flux.errors import EndpointBusy, EndpointError, FluxTimeout, WyomingFluxError

from . import rules
from .events import Connect, Drop, Event, Fact, Learnt
from .stream import Stream


class Attempts:
    """The way to Flux while there is no stream; ``t`` is the machine's time.

    What is to be carried out is appended to *events*.
    """

    def __init__(self, names: Sequence[str], rate: int, events: list[Event]) -> None:
        """Take the endpoints' names, in their order."""
        self.trying: dict[int, tuple[int, float]] = {}
        """Attempts under way: the endpoint of each, and when it began."""
        self.retry_at = 0.0
        """When the next one begins, where none is under way."""
        self.given_up = False
        """Whether nobody is left to ask, or no time."""
        self.error: EndpointError | None = None
        """What went wrong last."""
        self.faults: list[tuple[int, WyomingFluxError]] = []
        """All that went wrong, with the endpoint."""
        self.losses = 0
        """Streams with progress that were lost in the present fault."""
        self.failures = 0
        """Attempts, and streams without progress, that failed in it."""
        self._names = names
        self._rate = rate
        self._events = events
        self._last = 0
        self.pointer = 0
        """The endpoint that is asked, or was asked last."""
        self._pointed_at = 0.0
        # Since when there has been no stream, and what the present fault has cost before.
        self._alone_since = 0.0
        self._spent = 0.0
        self.furthest = 0
        """The furthest place that any stream has heard."""
        self._fault_at = 0
        """Where that was at the last loss."""

    @property
    def has_next(self) -> bool:
        """Whether another endpoint waits."""
        return self.pointer + 1 < len(self._names)

    def connect(self, t: float) -> None:
        """Ask the present endpoint."""
        self._last += 1
        self.trying[self._last] = (self.pointer, t)
        self._events.append(Connect(self._last, self.pointer))

    def drop(self) -> None:
        """Stop all attempts."""
        self._events += [Drop(attempt) for attempt in self.trying]
        self.trying.clear()

    def opened(self, attempt: int, t: float) -> int | None:
        """Take an open connection, the first of all attempts; return its endpoint."""
        tried = self.trying.pop(attempt, None)
        if tried is None:
            return None
        self.drop()
        self._spent += t - self._alone_since
        return tried[0]

    def heard(self, place: int) -> None:
        """Take note how far the utterance was heard: far enough, and the next fault is another."""
        self.furthest = max(self.furthest, place)
        if self.furthest - self._fault_at >= int(rules.FRESH * self._rate):
            self.losses = self.failures = 0
            self._spent = 0.0

    def failed(self, attempt: int, error: EndpointError, t: float) -> None:
        """Take note that an attempt failed."""
        tried = self.trying.pop(attempt, None)
        if tried is None:
            return
        self.note(tried[0], error)
        if not error.retryable:
            self._leave(tried[0], t)
        elif not self.trying:
            self._back_off(t)

    def lost(self, stream: Stream, error: EndpointError, t: float) -> None:
        """Ask anew after a stream was lost."""
        self._alone_since = t - stream.owing(t)
        self._fault_at = self.furthest
        if stream.progressed:
            # What has been lost before it heard anything leaves the next one's time as it is.
            self._pointed_at = t
        stalled = isinstance(error, FluxTimeout)
        if not error.retryable or (stalled and self.has_next):
            self._leave(stream.endpoint, t)
        elif not stream.progressed:
            self._back_off(t)
        else:
            self.losses += 1
            again = self.losses < rules.MAX_LOSSES + (not self.has_next)
            if again and not self.late(t):
                self.connect(t)
            else:
                self._leave(stream.endpoint, t)

    def check(self, t: float) -> None:
        """No timer for an attempt, but another one beside it, and a budget for all."""
        late = self.late(t)
        if self.has_next and (late or t - self._pointed_at >= rules.BESIDE_NEXT):
            if self.trying:
                text = f"{self._names[self.pointer]} was not open after {rules.BESIDE_NEXT:g} s"
                self.note(self.pointer, FluxTimeout(text))
            self._events.append(Learnt(self.pointer, Fact.DOWN, error=self.error))
            self._ask(self.pointer + 1, t)
        elif late:
            if self.trying:
                name = self._names[self.pointer]
                self.error = FluxTimeout(f"{name} could not be reached in time")
            self.given_up = True
        elif not self.trying:
            if t >= self.retry_at:
                self.connect(t)
        elif len(self.trying) == 1 and not self.has_next:
            ((_, began),) = self.trying.values()
            if t - began >= rules.BESIDE:
                self.connect(t)

    def late(self, t: float, owing: float | None = None) -> bool:
        """Whether the present fault has cost all that it may; *owing*: by the present stream."""
        spent = self._spent + (t - self._alone_since if owing is None else owing)
        # The last one gets its time, however much those before it took.
        waits = self.pointer and t < self._pointed_at + rules.LAST_GETS
        return spent >= rules.BUDGET and not waits

    def patience(self, stream: Stream) -> float:
        """Return how long a stream may owe something without progress."""
        if stream.told and not stream.facts.settles:
            return rules.THINKS if stream.facts.partial else rules.ENGINE
        if stream.told:
            return rules.STALL_WITH_NEXT if self.has_next else rules.STALL
        return rules.FIRST_MESSAGE_WITH_NEXT if self.has_next else rules.FIRST_MESSAGE

    def note(self, endpoint: int, error: EndpointError) -> None:
        """Take note of what went wrong."""
        self.error = error
        self.faults.append((endpoint, error))

    def _ask(self, endpoint: int, t: float) -> None:
        self.pointer = endpoint
        self._pointed_at = t
        self.failures = self.losses = 0
        self.connect(t)

    def _leave(self, endpoint: int, t: float) -> None:
        """Go on with the next endpoint, unless that is under way; give up where there is none."""
        if not isinstance(self.error, EndpointBusy):
            self._events.append(Learnt(endpoint, Fact.DOWN, error=self.error))
        if self.pointer <= endpoint and self.has_next:
            self._ask(endpoint + 1, t)
        elif self.trying:
            pass
        elif self.pointer > endpoint:
            # Asked beside this one, and dropped when this one was the first to open.
            self._ask(self.pointer, t)
        else:
            self.given_up = True

    def _back_off(self, t: float) -> None:
        if self.failures < len(rules.BACK_OFF):
            self.retry_at = t + rules.BACK_OFF[self.failures]
            self.failures += 1
            if not self.late(self.retry_at):
                return
        self._leave(self.pointer, t)
