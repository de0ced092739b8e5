"""Two clocks of audio: seconds on one socket, and seconds of the utterance.

They differ by the replay that a socket began with and by the silence that was fed into it.
"""

from typing import Final

_MAX_SILENCES: Final = 1000


class Timeline:
    """What was sent on the current socket, and how far Flux has heard it; all in seconds."""

    def __init__(self) -> None:
        """Begin with a socket at the start of the utterance."""
        self.start = 0.0
        """Place in the utterance of the first audio on this socket."""
        self._silences: list[tuple[float, float]] = []
        self.sent = 0.0
        """Audio sent on this socket, silence included."""
        self.heard = 0.0
        """The furthest ``audio_window_end`` of this socket, never more than was sent."""
        self.client_end = 0.0
        """Where on this socket the last client audio ends."""

    def restart(self, at: float) -> None:
        """Begin a new socket whose first audio is that at ``at`` of the utterance."""
        self.start = at
        self._silences.clear()
        self.sent = self.heard = self.client_end = 0.0

    def send_audio(self, seconds: float) -> None:
        """Client audio was sent."""
        self.sent += seconds
        self.client_end = self.sent

    def send_silence(self, seconds: float) -> None:
        """Silence was sent."""
        if self._silences and self._silences[-1][0] + self._silences[-1][1] >= self.sent - 1e-9:
            at, length = self._silences[-1]
            self._silences[-1] = (at, length + seconds)
        elif len(self._silences) < _MAX_SILENCES:
            self._silences.append((self.sent, seconds))
        self.sent += seconds

    def hear(self, window_end: float) -> bool:
        """Take over an ``audio_window_end``; tell whether it is further than the last."""
        heard = min(window_end, self.sent)
        if heard <= self.heard:
            return False
        self.heard = heard
        return True

    @property
    def behind(self) -> float:
        """Audio that was sent and not yet heard."""
        return self.sent - self.heard

    @property
    def client_behind(self) -> float:
        """Client audio that was sent and not yet heard."""
        return max(0.0, self.client_end - self.heard)

    def in_utterance(self, at: float) -> float:
        """Return the place in the utterance of a place on this socket."""
        silence = sum(max(0.0, min(length, at - begin)) for begin, length in self._silences)
        return self.start + at - silence

    @property
    def heard_in_utterance(self) -> float:
        """How far into the utterance Flux has heard."""
        return self.in_utterance(self.heard)
