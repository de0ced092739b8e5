"""What leaves a session: messages in their order, each with the time when it is due."""

import json
import random
from collections import deque
from collections.abc import Sequence

from .faults import ConnectedLate, Fault, Jitter, SpoiledEnd, first
from .profiles import Profile
from .stream import Message

Frame = str | bytes
_CREEP = 0.05


class Delivery:
    """Frames on their way to the client, late or spoiled where profile or faults say so."""

    def __init__(self, profile: Profile, faults: Sequence[Fault]) -> None:
        """Look for the faults that concern messages."""
        self._profile = profile
        # When it was put, how much later it comes, and what.
        self._frames: deque[tuple[float, float, Frame]] = deque()
        # When the last one was due: the order stays, whatever the delays.
        self._last_due = float("-inf")
        self._held: Message | None = None
        self._spoiled = {one.kind for one in faults if isinstance(one, SpoiledEnd)}
        self._jitter = first(Jitter, faults)
        self._random = random.Random(  # noqa: S311 - reproducible delays, no secret
            self._jitter.seed if self._jitter else 0
        )
        self._connected_late = first(ConnectedLate, faults)
        # Before this nothing goes; None: not before audio has come.
        self._open_at: float | None = None if self._connected_late else float("-inf")

    def start(self, now: float) -> None:
        """Tell that the stream is open."""
        if self._connected_late is not None and not self._connected_late.after_audio:
            self._open(now)

    def audio_came(self, now: float) -> None:
        """Tell that audio was consumed: a ``Connected`` that waits for it may go."""
        if self._open_at is None:
            self._open(now)

    def put(self, message: Message, now: float) -> None:
        """Send this after all before."""
        if message.get("event") != "EndOfTurn":
            self._put(message, now)
            self._release(now)
            return
        if "empty" in self._spoiled:
            message = {**message, "transcript": "", "words": []}
        if "late" in self._spoiled:
            self._held = message
            return
        self._put(message, now)
        if "twice" in self._spoiled:
            self._put(message, now)

    def put_frame(self, frame: Frame, now: float) -> None:
        """Send something that is no message."""
        delay = self._random.uniform(0, self._jitter.seconds) if self._jitter else 0.0
        self._frames.append((now, delay, frame))

    def flush(self, now: float) -> None:
        """Hold nothing back any more: no more audio comes."""
        self._release(now)
        self.audio_came(now)

    @property
    def due(self) -> float | None:
        """When the next frame goes; None: there is none, or it waits for audio."""
        if not self._frames or self._open_at is None:
            return None
        put, delay, _ = self._frames[0]
        return max(put, self._last_due, self._open_at) + delay

    def take(self, now: float) -> Frame | None:
        """Return the next frame, where it is due."""
        if (due := self.due) is None or due > now:
            return None
        self._last_due = due
        return self._frames.popleft()[2]

    @property
    def empty(self) -> bool:
        """Whether nothing is on its way."""
        return not self._frames

    def _open(self, now: float) -> None:
        self._open_at = now + (self._connected_late.seconds if self._connected_late else 0.0)

    def _release(self, now: float) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._put(held, now)

    def _put(self, message: Message, now: float) -> None:
        told = _as_told(message, self._profile)
        text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
        self.put_frame(text.encode() if self._profile.binary else text, now)


def _as_told(message: Message, profile: Profile) -> Message:
    """Return a message with the windows and fields of a profile."""
    told = dict(message)
    if not profile.typed:
        del told["type"]
    for name in ("audio_window_start", "audio_window_end"):
        if name not in told:
            continue
        if profile.windows == "missing":
            del told[name]
            continue
        pace = _CREEP if profile.windows == "creeping" else 1.0
        told[name] = round(max(0.0, told[name] - profile.window_lag) * pace, 4)
    return told
