"""Which streams a probe opens, and what is said on each. Pure."""

import dataclasses
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from wyoming_flux.flux.endpoint import Route
from wyoming_flux.flux.messages import CLOSE_STREAM, FORCE_END_TURN
from wyoming_flux.settings import FluxSettings

MOST_SECONDS: Final = 120.0
"""Seconds of audio that a probe sends at most, whatever its plan says."""
CONFIGURE: Final = '{"type":"Configure","keyterms":[]}'
UNKNOWN: Final = '{"type":"WyomingFluxProbe"}'

Clip = Literal["sentence", "name"]
CLIPS: Final[dict[Clip, float]] = {"sentence": 1.42, "name": 1.752}
"""Seconds of each; they begin and end with speech."""
NAME: Final = "Quillora"
"""What nobody is called, in the clip "turn on the quillora lamp"."""
FRAMES_MS: Final = (80, 40, 20)
TIMEOUT_MS: Final = 1500
IDLE: Final = 15.0
"""Seconds that a stream is left without audio."""

_END: Final = 2.5
"""Seconds after a sentence in which its turn should end."""
_CUT: Final = 1.2
"""Seconds of the sentence that end in the middle of a word, and between two Updates."""


@dataclass(frozen=True, slots=True)
class Say:
    """Say a clip, or its first ``seconds``, as a microphone would."""

    clip: Clip
    seconds: float | None = None

    @property
    def length(self) -> float:
        """Seconds of audio."""
        return CLIPS[self.clip] if self.seconds is None else self.seconds


@dataclass(frozen=True, slots=True)
class Hush:
    """Send silence for so many seconds; ``until``: of an event of Flux, not after it has come."""

    seconds: float
    until: str = ""

    @property
    def length(self) -> float:
        """Seconds of audio."""
        return self.seconds


@dataclass(frozen=True, slots=True)
class Control:
    """Send a text message."""

    data: str
    length: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Send nothing for so many seconds; ``until`` as above."""

    seconds: float
    until: str = ""
    length: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One stream."""

    name: str
    asked: tuple[FluxSettings, ...]
    """What it asks for: the first that is not refused."""
    acts: tuple[Say | Hush | Control | Wait, ...]
    frame_ms: int = 80

    @property
    def most_seconds(self) -> float:
        """Seconds of audio that it sends at most."""
        return sum(act.length for act in self.acts)


def make_plan(settings: FluxSettings) -> tuple[Step, ...]:
    """Return all streams of a probe.

    Of *settings* count the model and whether the audio is kept out of training; all else is
    asked for on purpose.
    """
    # Flux's own defaults, which are not sent.
    none = dataclasses.replace(
        FluxSettings(eot_threshold=0.7, eot_timeout_ms=5000),
        model=settings.model,
        mip_opt_out=settings.mip_opt_out,
    )

    def asking(**asked: object) -> FluxSettings:
        return dataclasses.replace(none, **asked)  # type: ignore[arg-type]  # fields by name

    sentence = (Say("sentence"), Hush(_END, until="EndOfTurn"))
    steps = [Step("first", (none,), (*sentence, Hush(2.0), Wait(1.0)))]
    for name, asked in (
        ("eot_threshold", asking(eot_threshold=0.8)),
        ("eot_timeout_ms", asking(eot_timeout_ms=TIMEOUT_MS)),
        ("eager_eot_threshold", asking(eager_eot_threshold=0.5)),
        ("eot_threshold 1.0", asking(eot_threshold=1.0)),
        ("keyterm", asking(keyterms=(NAME,))),
        ("keyterm 100", asking(keyterms=tuple(f"lamp {n}" for n in range(1, 101)))),
    ):
        # Twice where it is refused: once may also mean too many connections.
        steps.append(Step(name, (asked, asked), (Hush(0.48), Wait(2.0, until="TurnInfo"))))
    name_said = (Say("name"), Hush(_END, until="EndOfTurn"))
    steps.append(Step("name without", (none,), name_said))
    steps.append(Step("name with", (asking(keyterms=(NAME,)),), name_said))
    late = [asking(eot_threshold=one, eot_timeout_ms=TIMEOUT_MS) for one in (1.0, 0.9, 0.7)]
    cut = (Say("sentence", 0.96), Hush(3.0, until="EndOfTurn"))
    steps.append(Step("timeout", tuple(late), cut))
    for control in (CLOSE_STREAM, FORCE_END_TURN, CONFIGURE, UNKNOWN):
        kind = control.split('"')[3]
        acts = (Say("sentence", _CUT), Control(control), Wait(1.5), Hush(0.64), Wait(0.5))
        steps.append(Step(f"control {kind}", (none,), acts))
    # By turns, so that what changes with time is no difference; the very first was frames of 80.
    steps += [
        Step(f"frames {size} {turn}", (none,), sentence, frame_ms=size)
        for turn, size in [*itertools.product((1, 2, 3), FRAMES_MS)][1:]
    ]
    steps.append(Step("idle", (none,), (Hush(0.4), Wait(IDLE), *sentence)))
    return tuple(steps)


def cost(steps: Iterable[Step], route: Route) -> tuple[float, float]:
    """Return at most how many minutes of audio, and dollars, these streams cost."""
    minutes = min(MOST_SECONDS, sum(step.most_seconds for step in steps)) / 60
    return minutes, minutes * route.price
