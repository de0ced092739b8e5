"""The connection as a turn sees it: open or not, alive or not, and what its faults cost."""

from enum import Enum, auto

from wyoming_flux.errors import EndpointError, WyomingFluxError

from . import rules


class LinkState(Enum):
    """Where the connection stands."""

    CONNECTING = auto()
    WAITING = auto()
    """Between two attempts."""
    OPEN = auto()


class Link:
    """One connection after the other, within one budget for all faults; times are wall seconds."""

    def __init__(self) -> None:
        """Prepare; :meth:`start` begins."""
        self.state = LinkState.CONNECTING
        self.error: WyomingFluxError | None = None
        """The last fault."""
        self.retry_at = 0.0
        """While WAITING: when the next attempt is due."""
        self.spoke = False
        """Whether Flux sent a message on this connection."""
        self.garbage = False
        """Whether something else came on this connection."""
        self.advanced_at = 0.0
        """When Flux last heard further, or when there was last a reason to begin counting."""
        self._failures = 0
        self._reconnects = 0
        self._spent = 0.0
        self._down_since = 0.0
        self._alive_at = 0.0
        self._sent_at = 0.0
        self._behind_since: float | None = None

    @property
    def open(self) -> bool:
        """Whether audio can be sent."""
        return self.state is LinkState.OPEN

    @property
    def replaced(self) -> bool:
        """Whether this connection replaces one that was lost in the middle of the turn."""
        return self._reconnects > 0

    @property
    def patience(self) -> float:
        """How long Flux may be silent; never so short that a healthy stream is given up."""
        return max(rules.FAULT_BUDGET - self._spent, rules.LEAST_PATIENCE)

    def start(self, now: float) -> None:
        """Begin to connect."""
        self.state = LinkState.CONNECTING
        self._down_since = now

    def opened(self, now: float) -> None:
        """Count what the connecting cost, and begin to watch."""
        self.state = LinkState.OPEN
        self._spent += now - self._down_since
        self._failures = 0
        self.spoke = self.garbage = False
        self.advanced_at = self._alive_at = self._sent_at = now
        self._behind_since = None

    def failed(self, now: float, error: WyomingFluxError) -> bool:
        """Take note of a failed attempt; tell whether there will be another."""
        self.error = error
        if not _is_retryable(error) or self._failures >= len(rules.BACK_OFF):
            return False
        self.retry_at = now + rules.BACK_OFF[self._failures]
        self._failures += 1
        if self.retry_at >= self.out_of_time:
            return False
        self.state = LinkState.WAITING
        return True

    def lost(self, now: float, error: WyomingFluxError) -> bool:
        """Take note of a lost connection; tell whether another may be tried."""
        self.error = error
        used_up = self._spent >= rules.FAULT_BUDGET or self._reconnects >= rules.MAX_RECONNECTS
        if used_up or not _is_retryable(error):
            return False
        self._reconnects += 1
        self._failures = 0
        self._behind_since = None
        self.start(now)
        return True

    def sent(self, now: float, behind: float) -> None:
        """Take note that something was sent, ``behind`` seconds of which are un-heard now."""
        self._sent_at = now
        if behind > rules.BEHIND and self._behind_since is None:
            self._behind_since = now

    def alive(self, now: float) -> None:
        """Take note of a message."""
        self.spoke = True
        self._alive_at = now

    def heard(self, now: float, behind: float, *, further: bool) -> None:
        """Take note of how far Flux has heard."""
        if further:
            self.advanced_at = now
        if behind <= rules.BEHIND:
            self._behind_since = None

    def stalled(self, now: float) -> None:
        """Count a silence of Flux as a fault."""
        since = max(self._alive_at, self._behind_since or self._alive_at)
        self._spent += max(0.0, now - since)

    @property
    def out_of_time(self) -> float:
        """While not open: when the budget is used up."""
        return self._down_since + rules.FAULT_BUDGET - self._spent

    @property
    def stalls_at(self) -> float | None:
        """While open: when silence of Flux becomes a lost connection; None if it owes nothing."""
        if self._behind_since is None:
            return None
        limit = rules.STALL if self.spoke else rules.FIRST_MESSAGE
        silent_since = max(self._alive_at, self._behind_since)
        # Messages that bring nothing further are no life either.
        stuck_since = max(self.advanced_at, self._behind_since)
        return min(silent_since + min(limit, self.patience), stuck_since + rules.FAULT_BUDGET)

    @property
    def blocked_at(self) -> float:
        """While open with audio to send: when a socket that takes none is given up."""
        return max(self._sent_at, self._alive_at) + rules.FAULT_BUDGET


def _is_retryable(error: WyomingFluxError) -> bool:
    return isinstance(error, EndpointError) and error.retryable
