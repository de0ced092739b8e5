"""What is asked of Home Assistant, when, and which names follow; against one of paper."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.paper_home import TOKEN, USUAL, PaperHome, entity
from wyoming_flux.home.dialogue import Dialogue, HomeFault, names_of


def pump(dialogue: Dialogue, home: PaperHome, sending: list[str], now: float) -> None:
    """Let both talk until neither has anything left to say."""
    while sending:
        answers = [answer for one in sending for answer in home.answer(one)]
        sending = [more for one in answers for more in dialogue.receive(one, now)]


def begun(home: PaperHome, now: float = 0.0, token: str = TOKEN) -> Dialogue:
    """Return a dialogue that has found its first names."""
    dialogue = Dialogue(token, now)
    pump(dialogue, home, dialogue.receive(home.hello, now), now)
    return dialogue


def looked(home: PaperHome) -> int:
    """Return how often it was looked."""
    return sum(one["type"] == "config/area_registry/list" for one in home.asked)


def test_the_names_are_those_of_the_integration() -> None:
    """What is exposed, with and without its device's name, aliases, area and floor."""
    assert begun(PaperHome()).names == USUAL


def test_what_is_not_exposed_is_not_even_asked_for() -> None:
    """Names and states are asked for by the list of what Assist may use."""
    home = PaperHome()
    begun(home)
    asked = [one["entity_ids"] for one in home.asked if "entity_ids" in one]
    assert asked == [["light.lamp", "switch.power"]] * 2
    assert not any(one["type"] == "get_states" for one in home.asked)


def test_a_home_that_exposes_nothing() -> None:
    """There are no names then, and no wait for more; an empty list would ask for all states."""
    home = PaperHome(exposed=set())
    assert begun(home).names == ()
    assert not any("entity_ids" in one for one in home.asked)


def test_things_without_a_registry_entry() -> None:
    """Things from YAML have the name that is shown; what has no state has none."""
    home = PaperHome(exposed={"script.movie", "light.gone", "scene.good_night"})
    home.states |= {"script.movie": "Movie evening", "scene.good_night": ""}
    home.entries["light.gone"] = entity("Gone")
    assert begun(home).names == ("good night", "Movie evening")


def test_a_name_that_was_taken_off() -> None:
    """Where the user left only aliases, neither the name nor its short form is told."""
    home = PaperHome()
    home.entries["switch.power"]["aliases"] = ["Turbo"]
    names = begun(home).names
    assert names is not None
    assert "Turbo" in names
    assert not {"Ecobee Boost mode", "Boost mode"} & set(names)


def test_an_older_home_assistant_lists_aliases_alone() -> None:
    """Where no entity has its name among its aliases, the name comes first."""
    home = PaperHome()
    home.entries["light.lamp"]["aliases"] = ["Reading light"]
    home.entries["switch.power"]["aliases"] = []
    assert begun(home).names == USUAL


def test_a_device_that_is_part_of_itself() -> None:
    """A ring of parents, which cannot be, ends."""
    home = PaperHome()
    home.devices = [{"id": "d", "name": "Ecobee", "parent_device_id": "d"}]
    assert begun(home).names == ("Incubi lamp", "Reading light", "Ecobee Boost mode", "Boost mode")


def test_a_large_home_is_asked_in_parts() -> None:
    """No answer is long to read, and what people call by name most is asked for first."""
    home = PaperHome()
    home.states = {f"sensor.n{n}": f"Sensor {n}" for n in range(2000)} | {"light.z": "Zed"}
    home.entries = {one: entity(name) for one, name in home.states.items()}
    home.exposed = set(home.states)
    assert (begun(home).names or ())[0] == "Zed"
    parts = [
        len(one["entity_ids"])
        for one in home.asked
        if one["type"] == "config/entity_registry/get_entries"
    ]
    assert parts == [200] * 5
    assert sum(parts) == 1000


@pytest.mark.parametrize(
    "kind",
    [
        "area_registry_updated",
        "floor_registry_updated",
        "device_registry_updated",
        "entity_registry_updated",
        "homeassistant_started",
    ],
)
def test_a_change_is_seen_once_it_has_settled(kind: str) -> None:
    """Each kind of change; two seconds after it, not before."""
    home = PaperHome()
    dialogue = begun(home)
    home.areas[0]["name"] = "Scullery"
    now = 100.0
    assert dialogue.receive(home.change(kind), now) == []
    assert dialogue.due == now + 2
    assert dialogue.tick(now + 2 - 0.1) == []
    pump(dialogue, home, dialogue.tick(now + 2), now + 2)
    assert (dialogue.names or ())[0] == "Scullery"
    assert dialogue.due == now + 2 + 600


def test_a_storm_of_changes_is_one_look_every_ten_seconds() -> None:
    """However much changes: a starting Home Assistant fires hundreds of events a second."""
    home = PaperHome()
    dialogue = begun(home)
    for tenth in range(1000):
        now = tenth / 10
        dialogue.receive(home.change(), now)
        if now >= dialogue.due:
            pump(dialogue, home, dialogue.tick(now), now)
    assert looked(home) == 1 + 99 // 10


def test_a_change_during_a_look_is_another_look() -> None:
    """What was answered before the change would otherwise stay."""
    home = PaperHome()
    dialogue = begun(home)
    sending = dialogue.tick(600)
    assert dialogue.receive(home.change(), 600) == []
    pump(dialogue, home, sending, 609)
    assert dialogue.due == 609 + 2
    sending = dialogue.tick(611)
    assert dialogue.receive(home.change(), 611) == []
    pump(dialogue, home, sending, 611)
    assert dialogue.due == 611 + 10


def test_states_are_what_comes_as_states() -> None:
    """A change of state before the first states, or somebody else's, is not taken for them."""
    home = PaperHome()
    dialogue = Dialogue(TOKEN, 0.0)
    waiting = [home.hello]
    while waiting:
        frame = json.loads(waiting.pop(0))
        if frame["type"] == "event":
            number = frame["id"]
            early = {"id": number, "type": "event", "event": {"c": {"light.lamp": {}}}}
            other = {"id": number + 7, "type": "event", "event": {"a": {"light.x": {}}}}
            assert dialogue.receive(json.dumps(early), 0.0) == []
            assert dialogue.receive(json.dumps(other), 0.0) == []
        for one in dialogue.receive(json.dumps(frame), 0.0):
            waiting += home.answer(one)
    assert dialogue.names == USUAL


def test_what_things_do_is_no_change_of_names() -> None:
    """States that still come after the first ones move nothing, before and after the good-bye."""
    home = PaperHome()
    dialogue = begun(home)
    due = dialogue.due
    (states,) = (one for one in home.asked if one["type"] == "subscribe_entities")
    event = {"id": states["id"], "type": "event", "event": {"c": {"light.lamp": {}}}}
    assert dialogue.receive(json.dumps(event), 50.0) == []
    assert dialogue.due == due
    assert {"type": "unsubscribe_events", "subscription": states["id"]}.items() <= home.asked[
        -1
    ].items()


def test_it_looks_again_without_any_event() -> None:
    """What no event tells, such as a script from YAML that is exposed, is seen all the same."""
    home = PaperHome()
    dialogue = begun(home)
    home.exposed.add("sensor.secret")
    pump(dialogue, home, dialogue.tick(600), 600)
    assert "Secret thing" in (dialogue.names or ())


REFUSED = {
    "config/area_registry/list": ("x", "refuses config/area_registry/list"),
    "homeassistant/expose_entity/list": ("unauthorized", "not that of an administrator"),
    "subscribe_events": ("unauthorized", "not that of an administrator"),
    "subscribe_entities": ("unknown_command", "unknown_command"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_is_said(kind: str) -> None:
    """What is refused, and what to do about it; what it does not know yet may come as it starts."""
    code, says = REFUSED[kind]
    with pytest.raises(HomeFault, match=says) as caught:
        begun(PaperHome(refuses={kind: code}))
    assert caught.value.advice
    assert not caught.value.auth
    assert caught.value.passing is (code == "unknown_command")


@pytest.mark.parametrize("hello", ['{"type": "welcome"}', "<html>", "[]", "[" * 100_000, b"\xff"])
def test_somebody_else_answers(hello: str) -> None:
    """Another WebSocket server is told from Home Assistant before it gets the token."""
    with pytest.raises(HomeFault, match="is not Home Assistant"):
        Dialogue(TOKEN, 0.0).receive(hello, 0.0)


def test_a_wrong_token() -> None:
    """It is told apart from all else, and stands in no sentence."""
    with pytest.raises(HomeFault, match="does not take the token") as caught:
        begun(PaperHome(), token="mistyped-token")
    assert caught.value.auth
    assert "mistyped" not in str(caught.value) + caught.value.advice


@pytest.mark.parametrize("answered", [0, 1, 2, 7, 9])
def test_an_answer_that_does_not_come(answered: int) -> None:
    """However far it got, all of a look has thirty seconds; then it is a fault that may pass."""
    home = PaperHome()
    dialogue = Dialogue(TOKEN, 0.0)
    frames = [home.hello]
    for _ in range(answered):
        if frames:
            sending = dialogue.receive(frames.pop(0), 0.0)
            frames += [answer for one in sending for answer in home.answer(one)]
    assert dialogue.tick(30 - 0.1) == []
    with pytest.raises(HomeFault, match="did not answer within 30 s") as caught:
        dialogue.tick(30)
    assert caught.value.passing


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["a", "id", "name", "aliases", "area_id", "floor_id", "device_id", "light.x"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(anything, anything, anything, anything, anything)
def test_any_answers_give_clean_names(
    states: Any, entries: Any, devices: Any, areas: Any, floors: Any
) -> None:
    """Whatever stands where names are expected: no exception, names or nothing."""
    found = names_of(states, entries, devices, areas, floors)
    assert all(isinstance(name, str) and name.strip() for name in found)


frames = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=20),
    st.builds(
        lambda kind, number, **more: json.dumps({"type": kind, "id": number, **more}),
        st.sampled_from(["auth_required", "auth_ok", "result", "event", "pong"]),
        st.integers(0, 14) | anything,
        success=st.just(True) | anything,
        result=anything,
        event=st.fixed_dictionaries({"a": anything}) | anything,
    ),
)


@given(st.lists(st.tuples(st.integers(0, 40), frames), max_size=40), st.booleans())
def test_any_frames_at_any_time(said: list[tuple[int, str]], greeted: bool) -> None:
    """Whatever comes whenever: frames to send, or the one kind of fault, and always a deadline."""
    home = PaperHome()
    now = 0.0
    dialogue = Dialogue(TOKEN, now)
    with contextlib.suppress(HomeFault):
        if greeted:
            dialogue.receive(home.hello, now)
            dialogue.receive(json.dumps({"type": "auth_ok"}), now)
        for wait, frame in said:
            now += wait
            sending = dialogue.tick(now) + dialogue.receive(frame, now)
            assert all(isinstance(json.loads(one), dict) for one in sending)
            assert dialogue.due <= now + 600
