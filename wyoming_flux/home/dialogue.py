"""What is said to Home Assistant, and what names follow from its answers; no I/O.

Each fact is from the sources of Home Assistant 2026.10.4: ``components/websocket_api`` (sign-in,
events, ``subscribe_entities``), ``components/config/*_registry.py``, and
``components/homeassistant/exposed_entities.py``, whose list only an administrator may have.

States are asked for what is exposed alone, once per look: what else is in the home, and what it
does, is not our business.
"""

import itertools
import json
from collections.abc import Mapping
from typing import Any, Final

from wyoming_flux.names import DOMAINS, Place, Thing, rank, short_name

PATIENCE: Final = 30.0
"""Seconds for the sign-in, and for all answers of one look."""
SETTLE: Final = 2.0
"""Seconds that changes are gathered for: a start or a rename fires hundreds of events."""
GAP: Final = 10.0
"""Seconds from one look to the next, however much changes."""
REFRESH: Final = 600.0
"""Seconds after which it is looked again: for what no event tells, such as things from YAML."""
MOST_THINGS: Final = 1000
"""Exposed entities that are asked for, those that people call by name most first."""

_ASSISTANT: Final = "conversation"
_AT_ONCE: Final = 200
"""Entities per request, so that no single answer is long to read."""
_EVENTS: Final = (
    "area_registry_updated",
    "floor_registry_updated",
    "device_registry_updated",
    "entity_registry_updated",
    # What is exposed has no state, and so no name, before its integration is set up.
    "homeassistant_started",
)
_CHANGES: Final = "subscribe_events"
_EXPOSED: Final = "homeassistant/expose_entity/list"
_AREAS: Final = "config/area_registry/list"
_FLOORS: Final = "config/floor_registry/list"
_DEVICES: Final = "config/device_registry/list"
_ENTRIES: Final = "config/entity_registry/get_entries"
_STATES: Final = "subscribe_entities"


class HomeFault(Exception):
    """Why there are no names: one sentence, and what to do about it."""

    def __init__(self, what: str, advice: str, *, passing: bool = False, auth: bool = False):
        """``passing``: it may end by itself; ``auth``: trying again is a failed login there."""
        super().__init__(what)
        self.advice = advice
        self.passing = passing
        self.auth = auth


class Dialogue:
    """One connection: frames in, frames to send out, names; times in seconds of any clock."""

    def __init__(self, token: str, now: float) -> None:
        """Begin as the socket opens: Home Assistant speaks first."""
        self.names: tuple[str, ...] | None = None
        """What was found last; None before."""
        self.due = now + PATIENCE
        """When :meth:`tick` has to be called."""
        self._token = token
        self._signed_in = False
        self._ids = itertools.count(1)
        self._asked: dict[int, str] = {}
        """What each answer that is owed was asked with."""
        self._changes: set[int] = set()
        """The subscriptions whose events tell of changes."""
        self._states_of = 0
        """The subscription whose first event holds the states; 0 for none."""
        self._found: dict[str, Any] = {}
        self._looking = False
        self._looked_at = now
        self._changed = False

    def receive(self, frame: str | bytes, now: float) -> list[str]:
        """Take a frame; return what to send. Raises :class:`HomeFault`."""
        message = _parse(frame)
        kind = message.get("type")
        if not self._signed_in:
            return self._sign_in(kind, now)
        if kind == "result":
            return self._take_result(message, now)
        if kind == "event":
            return self._take_event(message, now)
        return []

    def tick(self, now: float) -> list[str]:
        """Do what is due; return what to send. Raises :class:`HomeFault` for a late answer."""
        if now < self.due:
            return []
        if self._looking or not self._signed_in:
            raise HomeFault(
                f"it did not answer within {PATIENCE:g} s", "Look at its log.", passing=True
            )
        return self._look(now)

    def _sign_in(self, kind: object, now: float) -> list[str]:
        match kind:
            case "auth_required":
                return [json.dumps({"type": "auth", "access_token": self._token})]
            case "auth_ok":
                self._signed_in = True
                changes = [self._ask(_CHANGES, event_type=one) for one in _EVENTS]
                return [*changes, *self._look(now)]
            case "auth_invalid":
                raise HomeFault(
                    "it does not take the token",
                    "Make a long-lived access token of an administrator (your profile, Security),"
                    " put it into the file of --home-assistant-token-file, and restart the server.",
                    auth=True,
                )
            case _:
                raise not_home_assistant()

    def _ask(self, kind: str, **fields: Any) -> str:
        number = next(self._ids)
        self._asked[number] = kind
        if kind == _STATES:
            self._states_of = number
        elif kind == _CHANGES:
            self._changes.add(number)
        return json.dumps({"id": number, "type": kind, **fields})

    def _look(self, now: float) -> list[str]:
        self._looking, self._changed = True, False
        self._looked_at, self.due = now, now + PATIENCE
        self._found = {_ENTRIES: {}, _STATES: {}}
        return [self._ask(kind) for kind in (_AREAS, _FLOORS, _DEVICES, _EXPOSED)]

    def _take_result(self, message: Mapping[str, Any], now: float) -> list[str]:
        kind = self._asked.pop(_number(message.get("id")), None)
        if kind is None:
            return []
        if message.get("success") is not True:
            raise _refused(kind, _mapping(message.get("error")).get("code"))
        result = message.get("result")
        sending: list[str] = []
        if kind == _EXPOSED:
            sending = self._ask_for(_exposed(result))
        elif kind == _ENTRIES:
            self._found[_ENTRIES].update(_mapping(result))
        elif kind in (_AREAS, _FLOORS, _DEVICES):
            self._found[kind] = result
        self._settle(now)
        return sending

    def _ask_for(self, things: list[str]) -> list[str]:
        if not things:
            return []
        parts = [things[at : at + _AT_ONCE] for at in range(0, len(things), _AT_ONCE)]
        entries = [self._ask(_ENTRIES, entity_ids=part) for part in parts]
        return [*entries, self._ask(_STATES, entity_ids=things)]

    def _take_event(self, message: Mapping[str, Any], now: float) -> list[str]:
        number = _number(message.get("id"))
        if number in self._changes:
            self._changed = True
            if not self._looking:
                self.due = min(self.due, max(now + SETTLE, self._looked_at + GAP))
            return []
        states = _mapping(message.get("event")).get("a")
        if number != self._states_of or states is None:
            return []
        self._states_of = 0
        self._found[_STATES] = _mapping(states)
        ending = self._ask("unsubscribe_events", subscription=number)
        self._settle(now)
        return [ending]

    def _settle(self, now: float) -> None:
        """Compute the names once everything is there."""
        if not self._looking or self._states_of or self._found.keys() < _NEEDED:
            return
        if any(kind in (_EXPOSED, _ENTRIES) for kind in self._asked.values()):
            return
        self._looking = False
        found = self._found
        self.names = names_of(
            found[_STATES], found[_ENTRIES], found[_DEVICES], found[_AREAS], found[_FLOORS]
        )
        self._found = {}
        self.due = now + REFRESH
        if self._changed:
            self.due = max(now + SETTLE, self._looked_at + GAP)


_NEEDED: Final = {_AREAS, _FLOORS, _DEVICES, _ENTRIES, _STATES}


def names_of(
    states: object, entries: object, devices: object, areas: object, floors: object
) -> tuple[str, ...]:
    """Return the ranked names; what is not as it should be counts as not there, never raises."""
    by_id = {_text(one.get("id")): one for one in _mappings(devices)}
    registered = _mapping(entries)
    # Before Home Assistant 2026 the name was not among the aliases, where None stands for it now.
    listed = any(None in _list(_mapping(one).get("aliases")) for one in registered.values())
    things = []
    for entity_id, state in _mapping(states).items():
        domain, _, object_id = entity_id.partition(".")
        known = _text(_mapping(_mapping(state).get("a")).get("friendly_name"))
        name = known or object_id.replace("_", " ")
        entry = _mapping(registered.get(entity_id))
        if not entry:
            things.append(Thing(domain, (name,)))
            continue
        aliases = _list(entry.get("aliases"))
        aliases = aliases if listed else [None, *aliases]
        device = by_id.get(_text(entry.get("device_id")), {})
        own = _text(entry.get("name")) or _text(entry.get("original_name"))
        owner = _text(device.get("name_by_user")) or _text(device.get("name"))
        things.append(
            Thing(
                domain,
                tuple(name if one is None else _text(one) for one in aliases),
                short_name(own, owner) if None in aliases else "",
                _text(entry.get("area_id")) or _area(device, by_id),
            )
        )
    return rank(_places(areas, "area_id"), _places(floors, "floor_id"), things)


def not_home_assistant() -> HomeFault:
    """Return the fault of somebody else who answers."""
    return HomeFault(
        "what answers there is not Home Assistant",
        "Give the address that you see in your browser: --home-assistant"
        " http://homeassistant.local:8123.",
    )


def _refused(kind: str, code: object) -> HomeFault:
    if code == "unauthorized":
        return HomeFault(
            "its token is not that of an administrator, who alone may know what is exposed",
            "Make the token as an administrator.",
        )
    return HomeFault(
        f"it refuses {kind}" + (f" ({code[:40]!r})" if isinstance(code, str) else ""),
        "2026.10 is the oldest Home Assistant that this was tried with.",
        # While it starts, not all of it is there yet.
        passing=code == "unknown_command",
    )


def _exposed(result: object) -> list[str]:
    """Return what is exposed to Assist, cut at :data:`MOST_THINGS`."""
    listed = _mapping(_mapping(result).get("exposed_entities"))
    exposed = [
        one for one, assistants in listed.items() if _mapping(assistants).get(_ASSISTANT) is True
    ]
    order = {domain: at for at, domain in enumerate(DOMAINS)}
    exposed.sort(key=lambda one: (order.get(one.partition(".")[0], len(order)), one))
    return exposed[:MOST_THINGS]


def _places(listed: object, key: str) -> list[Place]:
    return [
        Place(
            _text(one.get(key)),
            (_text(one.get("name")), *sorted(_text(alias) for alias in _list(one.get("aliases")))),
            _text(one.get("floor_id")) or None,
        )
        for one in _mappings(listed)
    ]


def _area(device: Mapping[str, Any], devices: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the area of a device, else that of the one it is part of."""
    for _ in range(8):  # a parent has no parent; what says otherwise may be a ring
        if area := _text(device.get("area_id")):
            return area
        device = devices.get(_text(device.get("parent_device_id")), {})
    return None


def _parse(frame: str | bytes) -> Mapping[str, Any]:
    try:
        message = json.loads(frame)
    except (ValueError, RecursionError):
        raise not_home_assistant() from None
    if not isinstance(message, dict):
        raise not_home_assistant()
    return message


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [one for one in _list(value) if isinstance(one, dict)]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if type(value) is int else 0
