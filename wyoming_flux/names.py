"""The names of a home as key terms: "Ecobee" is not "incubi" to whoever was told.

What is worth telling is decided here; who collects the names brings them.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LIMIT: Final = 50
"""Key terms that the home may take of Flux's hundred."""

DOMAINS: Final = ("light", "switch", "cover", "climate", "media_player", "scene", "script")
"""What people call by name most, in this order; everything else comes after."""


@dataclass(frozen=True, slots=True)
class Place:
    """An area or a floor."""

    id: str
    names: tuple[str, ...]
    """Its name, then its aliases."""
    floor: str | None = None
    """That of an area."""


@dataclass(frozen=True, slots=True)
class Thing:
    """An entity that is exposed to Assist."""

    domain: str
    names: tuple[str, ...]
    """What it answers to, in the user's order."""
    short: str = ""
    """Its name without the name of its device; empty if there is none of its own."""
    area: str | None = None
    """Where it is."""


def rank(
    areas: Iterable[Place], floors: Iterable[Place], things: Iterable[Thing], limit: int = LIMIT
) -> tuple[str, ...]:
    """Return at most ``limit`` names, those first that are most worth knowing.

    Areas, then floors, the fullest first, the empty not at all; then things by domain, within a
    domain the full names before the short ones. A name comes once, whatever its case.
    """
    areas, things = tuple(areas), tuple(things)
    floor_of = {area.id: area.floor for area in areas}
    filled = Counter(thing.area for thing in things)
    floor_filled = Counter(floor_of.get(thing.area) for thing in things if thing.area)
    ordered: list[str] = []
    for places, count in ((areas, filled), (floors, floor_filled)):
        for place in sorted(places, key=lambda one: (-count[one.id], one.names)):
            ordered += place.names if count[place.id] else ()
    by_domain: dict[str, list[Thing]] = {}
    for thing in things:
        by_domain.setdefault(thing.domain if thing.domain in DOMAINS else "", []).append(thing)
    for domain in (*DOMAINS, ""):
        group = sorted(by_domain.get(domain, ()), key=lambda one: one.names)
        ordered += [name for thing in group for name in thing.names]
        ordered += [thing.short for thing in group]
    kept: dict[str, str] = {}
    for name in (" ".join(name.split()) for name in ordered):
        # "21" or "-" is no name that anybody has to be taught.
        if any(character.isalpha() for character in name):
            kept.setdefault(name.casefold(), name)
    return tuple(kept.values())[:limit]


def short_name(name: str, device: str) -> str:
    """Return an entity's name without that of its device, which integrations may put in front."""
    if device and name.casefold().startswith(device.casefold()):
        rest = name[len(device) :]
        # "Lampshade" is no "shade" of the device "Lamp".
        name = rest.lstrip(" -:") if rest[:1] in ("", " ", "-", ":") else name
    return name
