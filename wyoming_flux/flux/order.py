"""In which order the endpoints are asked in one utterance. Pure: time comes in."""

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from wyoming_flux.errors import InvalidSetting
from wyoming_flux.settings import FluxSettings

from .learnt import EndpointMemory


class Way(Protocol):
    """Who can be asked: a ``Connector``, an ``Ear``, a ``Remote``."""

    @property
    def billed(self) -> bool:
        """Whether what it hears counts as minutes of Flux."""

    @property
    def name(self) -> str:
        """Where it is, for messages."""

    @property
    def learnt(self) -> EndpointMemory:
        """What is known of it."""

    def check(self, settings: FluxSettings, /) -> None:
        """Raise :class:`InvalidSetting` for settings that it cannot carry."""

    async def connect(self, settings: FluxSettings) -> Any:
        """Open a connection; raises :class:`~wyoming_flux.errors.WyomingFluxError`."""


W = TypeVar("W", bound=Way)


def in_order(
    ways: Iterable[W],
    settings: FluxSettings,
    *,
    now: float,
    minutes: bool,
    watched: bool,
) -> tuple[W, ...]:
    """Return those to ask, those that are down last, the order otherwise kept.

    Left out are those that cannot carry the settings (a language), and without *minutes* those that
    cost some. *watched*: somebody else tries again what is down, so it stays last until it works;
    otherwise an utterance tries it once its time is over (30 to 600 s).
    """
    usable = [one for one in ways if (minutes or not one.billed) and _takes(one, settings)]
    return tuple(
        sorted(usable, key=lambda one: one.learnt.suspect if watched else one.learnt.down(now))
    )


def _takes(way: Way, settings: FluxSettings) -> bool:
    try:
        way.check(settings)
    except InvalidSetting:
        return False
    return True
