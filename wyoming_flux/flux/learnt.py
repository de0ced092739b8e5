"""What an endpoint was seen to take and to refuse."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an endpoint when a stream opens."""

    control: str | None = None
    """A control message that was proven to flush here; it may be sent in-band."""
    candidate: str | None = None
    """A control message whose effect is still to be proven, after an answer."""
    windows: bool = True
    """Whether ``audio_window_end`` can be used, as far as is known."""
    partial: bool = True
    """Whether it tells text while it listens."""


class Learnt:
    """One endpoint, as this process knows it."""

    def __init__(self, controls: tuple[str, ...] = ()) -> None:
        """Begin with nothing known; *controls* are to be tried, best first."""
        self._controls = list(controls)
        self._proven: str | None = None
        self._windows = True

    def facts(self, now: float) -> Facts:
        """Return what is known now."""
        candidate = self._controls[0] if self._controls and self._proven is None else None
        return Facts(self._proven, candidate, self._windows)

    def prove(self, control: str, now: float) -> None:
        """Remember that a control message flushes."""
        self._proven = control

    def disprove(self, control: str, now: float) -> None:
        """Remember that a control message does not flush."""
        self._proven = None
        if control in self._controls:
            self._controls.remove(control)

    def windows(self, usable: bool, now: float) -> None:
        """Remember whether window ends can be used."""
        self._windows = usable

    def mark_down(self, now: float) -> None:
        """Remember that it could not be used."""

    def mark_up(self) -> None:
        """Remember that it answers."""
