"""The names of a home: which are told to Flux, in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.names import Place, Thing, rank, short_name


def test_areas_before_floors_before_things() -> None:
    """Where things are is asked for most; the fullest first, the empty not at all."""
    areas = [
        Place("k", ("Kitchen", "Galley"), "g"),
        Place("a", ("Attic",), "u"),
        Place("b", ("Bath",), "u"),
        Place("h", ("Hall",)),
    ]
    floors = [Place("c", ("Cellar",)), Place("g", ("Ground floor",)), Place("u", ("Upstairs",))]
    where = ["b", "b", "b", "k", "k", "h", "gone", None]
    things = [Thing("light", ("Ceiling",), area=area) for area in where]
    assert rank(areas, floors, things) == (
        *("Bath", "Kitchen", "Galley", "Hall"),
        *("Upstairs", "Ground floor", "Ceiling"),
    )


def test_things_by_what_they_are() -> None:
    """Lights before switches before the rest, whatever their names."""
    domains = [
        "vacuum",
        "script",
        "scene",
        "media_player",
        "climate",
        "cover",
        "switch",
        "light",
    ]
    things = [Thing(domain, (f"a {domain}",)) for domain in domains]
    assert rank([], [], things) == tuple(f"a {domain}" for domain in reversed(domains))


def test_full_names_before_short_ones() -> None:
    """A name such as "Power" says little alone: it comes after all full names of its kind."""
    assert rank(
        [],
        [],
        [
            Thing("switch", ("Heater Power", "The oven"), "Power"),
            Thing("switch", ("Fan Power",), "Power"),
            Thing("cover", ("Blind",), ""),
        ],
    ) == ("Fan Power", "Heater Power", "The oven", "Power", "Blind")


def test_what_is_no_name_is_left_out() -> None:
    """Numbers, signs and blanks teach nothing; names that differ in case alone are one."""
    things = [Thing("light", ("", "  ", "21", "-", "Desk  lamp", "DESK LAMP"))]
    assert rank([], [], things) == ("Desk lamp",)


names = st.lists(st.text(max_size=12), max_size=4).map(tuple)
ids = st.sampled_from("abc")
places = st.lists(st.builds(Place, ids, names, st.none() | ids), max_size=5)
things = st.lists(
    st.builds(
        Thing,
        st.sampled_from(["light", "script", "sensor"]),
        names,
        st.text(max_size=8),
        st.none() | ids,
    ),
    max_size=30,
)


@given(places, places, things)
def test_any_home(areas: list[Place], floors: list[Place], exposed: list[Thing]) -> None:
    """Whatever people call their things: never too many, none twice, none blank."""
    found = rank(areas, floors, exposed)
    assert len(found) <= 50
    assert len({name.casefold() for name in found}) == len(found)
    assert all(name == " ".join(name.split()) for name in found)
    assert all(any(character.isalpha() for character in name) for name in found)


def test_large_home_is_cut() -> None:
    """At most fifty names, so that there is room for the user's own key terms."""
    found = rank([], [], [Thing("light", (f"Lamp number {n:02}",)) for n in range(80)])
    assert len(found) == 50
    assert found[0] == "Lamp number 00"


@pytest.mark.parametrize(
    ("name", "device", "short"),
    [
        ("Ecobee fan", "Ecobee", "fan"),
        ("ecobee - Fan", "Ecobee", "Fan"),
        ("Ecobeeline", "Ecobee", "Ecobeeline"),
        ("Ecobee", "Ecobee", ""),
        ("Fan", "Ecobee", "Fan"),
        ("Fan", "", "Fan"),
    ],
)
def test_short_names(name: str, device: str, short: str) -> None:
    """Whether an integration puts the device's name in front itself or not."""
    assert short_name(name, device) == short
