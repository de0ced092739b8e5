"""What the tracker decides and the transcriber carries out."""

from dataclasses import dataclass

from wyoming_flux.errors import WyomingFluxError

from .outcome import Transcript


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a new connection, give up the present one, and send the audio from there on."""

    replay_from: float
    """Place in the utterance, in seconds."""


@dataclass(frozen=True, slots=True)
class SendSilence:
    """Send so much silence after the client audio that is waiting."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SendControl:
    """Send a control message after all audio."""

    message: str


@dataclass(frozen=True, slots=True)
class StopForwarding:
    """Send no more client audio, not even what is waiting."""


@dataclass(frozen=True, slots=True)
class Show:
    """Show these words of the transcript early; they are appended to what was shown."""

    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The turn is over: this is its one outcome."""

    outcome: Transcript | WyomingFluxError


Decision = Connect | SendSilence | SendControl | StopForwarding | Show | Finish
