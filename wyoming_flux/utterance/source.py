"""What the client said: its audio, its silence, its end."""

from . import rules
from .outcome import Trigger
from .tape import WIDTH, Tape


class Source:
    """The client's side of one utterance; ``t`` is the machine's time, places are samples."""

    def __init__(self, rate: int) -> None:
        """Begin with nothing said."""
        self.tape = Tape()
        self.ended: Trigger | None = None
        """Why it is over; None: it goes on."""
        self.ended_at = 0.0
        """When it was over, in the machine's time."""
        self.cut = 0
        """Audio that came, and is not wanted."""
        self.last = 0
        """Where the audio ends, or ends by now."""
        self.rate = rate
        self._limit: tuple[int, Trigger] | None = None
        self._silent_since = 0.0
        self._gap = 0.0

    def feed(self, pcm: bytes, t: float) -> None:
        """Take audio of any length; it is over where the limit is reached."""
        if self.ended is not None:
            self.cut += len(pcm) // WIDTH
            return
        self._gap = max(self._gap, t - self._silent_since)
        self._silent_since = t
        self.tape.append(pcm)
        self.last = self.tape.end
        if self._limit is not None and self.last > self._limit[0]:
            self.cut = self.last - self._limit[0]
            self.end(self._limit[1], self._limit[0], t)

    def limit(self, seconds: float, trigger: Trigger) -> None:
        """Take so many more seconds at most."""
        if self._limit is None:
            self._limit = (self.last + int(seconds * self.rate), trigger)

    def end(self, why: Trigger, at: int, t: float) -> None:
        """Take what comes before a place for all of it."""
        self.ended, self.last, self.ended_at = why, at, t

    def excuse(self, t: float) -> None:
        """Take note that the client has no reason to send."""
        self._silent_since = t

    def silent(self, t: float, *, spoke: bool) -> bool:
        """Rule 1: whether it has been silent for too long, after text or before."""
        limit = rules.SILENT_BEFORE_TEXT
        if spoke:
            limit = min(rules.SILENT + self._gap, rules.SILENT_MOST)
        return t - self._silent_since >= limit
