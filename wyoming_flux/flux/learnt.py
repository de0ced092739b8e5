"""What an endpoint was seen to take and to refuse, with proof and expiry. Pure: time comes in.

Nothing here is believed for its route alone: Workers AI lags behind Deepgram, builds change, and
what nobody could try against the live service must not be load-bearing.

**Parameters.** A refusal is remembered as the set of parameters, names and values, whose absence
mended it. It needs proof: with them refused and without them heard, twice, and never taken in
between. It then holds for an hour, and only for requests that ask for *all* of that set. So what
one client asks for (terms, a sensitivity) takes nothing from another that does not ask for it.
"""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Final

from .endpoint import Parameter

_CONTROL_FOR: Final = 24 * 3600.0
"""Seconds for which what was seen of a control message, or of window ends, is held true."""
_REFUSED_FOR: Final = 3600.0
"""Seconds for which refused parameters are not offered again."""
_PROOF: Final = 2
_DOWN_FIRST: Final = 30.0
_DOWN_MOST: Final = 600.0
_MOST_REFUSALS: Final = 64
"""Sets that are kept: terms of a client's own could make any number of them."""

Parameters = frozenset[Parameter]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an endpoint when a stream opens."""

    control: str | None = None
    """A control message that was proven to flush here: it may be sent in-band."""
    candidate: str | None = None
    """One whose effect is still to be proven, after an answer; None: proven, or refused."""
    windows: bool = True
    """Whether ``audio_window_end`` can be used, as far as is known."""
    partial: bool = True
    """Whether it tells text while it listens."""
    prompt: bool = True
    """Whether that text keeps up with the window ends; else these tell how far it got, no more."""

    @property
    def settles(self) -> bool:
        """Whether text that stands still while more is heard is all that was said."""
        return self.partial and self.prompt


@dataclass(slots=True)
class _Refusal:
    times: int = 0
    until: float | None = None
    """When it is forgotten; None: not proven yet."""


class EndpointMemory:
    """What is known of one endpoint in this process; times in seconds of one clock."""

    def __init__(self, controls: Sequence[str]) -> None:
        """Take the control messages that may flush there, the best first."""
        self._controls = controls
        self._proven: dict[str, float] = {}
        self._disproved: dict[str, float] = {}
        self._no_windows_until = float("-inf")
        self._refusals: dict[Parameters, _Refusal] = {}
        self._down_for = 0.0
        self._down_until = float("-inf")
        self.down_because: str | None = None
        """Why it could not be used when it was asked last; None: it could."""

    def facts(self, now: float) -> Facts:
        """Return what holds for a stream that opens now."""
        proven = [one for one in self._controls if self._proven.get(one, now) > now]
        open_ = [one for one in self._controls if self._disproved.get(one, now) <= now]
        return Facts(
            control=proven[0] if proven else None,
            candidate=open_[0] if open_ and not proven else None,
            windows=now >= self._no_windows_until,
        )

    def prove(self, control: str, now: float) -> None:
        """Take note that this control made the endpoint hear all, and close as it should."""
        self._proven[control] = now + _CONTROL_FOR
        self._disproved.pop(control, None)

    def disprove(self, control: str, now: float) -> None:
        """Take note that this control brought an error, or nothing."""
        self._disproved[control] = now + _CONTROL_FOR
        self._proven.pop(control, None)

    def windows(self, usable: bool, now: float) -> None:
        """Take note whether ``audio_window_end`` moves as the audio does."""
        self._no_windows_until = float("-inf") if usable else now + _CONTROL_FOR

    def mark_down(self, now: float, reason: str = "") -> bool:
        """Take note that it could not be used: 30 s, twice as long each time, at most 600 s.

        Returns whether it worked until now.
        """
        first = not self.suspect
        self.down_because = reason
        if not self.down(now):  # or several utterances at once would count as several times
            self._down_for = min(self._down_for * 2 or _DOWN_FIRST, _DOWN_MOST)
            self._down_until = now + self._down_for
        return first

    def mark_up(self) -> bool:
        """Take note that it works; returns whether it was down until now."""
        again = self.suspect
        self._down_for = 0.0
        self._down_until = float("-inf")
        self.down_because = None
        return again

    @property
    def suspect(self) -> bool:
        """Whether it could not be used when it was asked last."""
        return self.down_because is not None

    def down(self, now: float) -> bool:
        """Whether others should be asked first."""
        return now < self._down_until

    def refused(self, now: float) -> Parameters:
        """Return all parameters that are left out now, where they would be asked for."""
        return frozenset().union(*self._standing(now))

    def left_out(self, asked: Set[Parameter], now: float) -> Parameters:
        """Return what of the parameters that are asked for is not worth offering."""
        return frozenset().union(*(one for one in self._standing(now) if one <= asked))

    def worked(self, offered: Parameters, refused: Parameters, now: float) -> bool:
        """Take note that Flux spoke on a stream with these parameters.

        ``refused`` is what it had refused beside them just before, if anything; returns whether
        that has just been proven.
        """
        for known in [one for one in self._refusals if one <= offered]:
            del self._refusals[known]
        if not refused:
            return False
        refusal = self._refusals.setdefault(refused, _Refusal())
        refusal.times += 1
        if refusal.times < _PROOF or refusal.until is not None:
            while len(self._refusals) > _MOST_REFUSALS:
                del self._refusals[next(iter(self._refusals))]
            return False
        refusal.until = now + _REFUSED_FOR
        return True

    def _standing(self, now: float) -> list[Parameters]:
        for known in [one for one, it in self._refusals.items() if it.until and it.until <= now]:
            del self._refusals[known]
        return [one for one, it in self._refusals.items() if it.until is not None]


def reductions(asked: Sequence[Parameter]) -> Iterable[Parameters]:
    """Return what to leave out of a request that was refused without a reason, in this order.

    First the thresholds, which some deployments do not take; then the key terms; then all that is
    optional. Each alone, so that a request keeps what is not at fault.
    """
    groups: tuple[Callable[[str], bool], ...] = (
        lambda name: name.startswith(("eot_", "eager_")),
        lambda name: name == "keyterm",
        lambda name: True,
    )
    for belongs in groups:
        yield frozenset(one for one in asked if belongs(one[0]))
