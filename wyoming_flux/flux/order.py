"""In which order the endpoints are asked in one utterance. Pure: time comes in."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from wyoming_flux.errors import InvalidSetting
from wyoming_flux.settings import FluxSettings


class _Down(Protocol):
    def down(self, now: float) -> bool:
        """Whether others should be asked first."""

    @property
    def suspect(self) -> bool:
        """Whether it could not be used when it was asked last."""


class Candidate(Protocol):
    """What the order depends on."""

    @property
    def billed(self) -> bool:
        """Whether what it hears counts as minutes of Flux."""

    def check(self, settings: FluxSettings, /) -> None:
        """Raise :class:`InvalidSetting` for settings that it cannot carry."""

    @property
    def learnt(self) -> _Down:
        """What is known of it."""


C = TypeVar("C", bound=Candidate)


def in_order(
    candidates: Iterable[C],
    settings: FluxSettings,
    *,
    now: float,
    minutes: bool,
    watched: bool,
) -> tuple[C, ...]:
    """Return those to ask, those that are down last, the order otherwise kept.

    Left out are those that cannot carry the settings (a language), and without *minutes* those that
    cost some. *watched*: somebody else tries again what is down, so it stays last until it works;
    otherwise an utterance tries it once its time is over (30 to 600 s).
    """
    usable = [one for one in candidates if (minutes or not one.billed) and _takes(one, settings)]
    return tuple(
        sorted(usable, key=lambda one: one.learnt.suspect if watched else one.learnt.down(now))
    )


def _takes(candidate: Candidate, settings: FluxSettings) -> bool:
    try:
        candidate.check(settings)
    except InvalidSetting:
        return False
    return True
