"""A Home Assistant of paper: what its WebSocket API says of one home, written from its sources."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

TOKEN: Final = "long-lived-access-token"
USUAL: Final = (
    "Kitchen",
    "Galley",
    "Ground floor",
    "Incubi lamp",
    "Reading light",
    "Ecobee Boost mode",
    "Boost mode",
)
"""The names of the home that ``tests/hass/test_names.py`` has, and ``tests/unit/home`` on paper."""
Frame = dict[str, Any]


def entity(name: str | None, **fields: Any) -> Frame:
    """Return what ``config/entity_registry/get_entries`` tells of an entity."""
    usual = {"area_id": None, "device_id": None, "name": None, "aliases": [None]}
    return {**usual, "original_name": name, **fields}


@dataclass
class PaperHome:
    """One home; the usual one has a floor, two areas, a lamp, a heater and a hidden sensor."""

    areas: list[Frame] = field(
        default_factory=lambda: [
            {"area_id": "k", "name": "Kitchen", "aliases": ["Galley"], "floor_id": "g"},
            {"area_id": "a", "name": "Attic", "aliases": [], "floor_id": None},
        ]
    )
    floors: list[Frame] = field(
        default_factory=lambda: [{"floor_id": "g", "name": "Ground floor", "aliases": []}]
    )
    devices: list[Frame] = field(
        default_factory=lambda: [
            {"id": "d", "name": "Ecobee", "name_by_user": None, "area_id": None}
            | {"parent_device_id": "p"},
            {"id": "p", "name": "Box", "name_by_user": None, "area_id": "k"},
        ]
    )
    entries: dict[str, Frame] = field(
        default_factory=lambda: {
            "switch.power": entity("Boost mode", device_id="d"),
            "light.lamp": entity("Incubi lamp", aliases=[None, "Reading light"]),
            "sensor.secret": entity("Secret thing"),
        }
    )
    states: dict[str, str] = field(
        default_factory=lambda: {
            "switch.power": "Ecobee Boost mode",
            "light.lamp": "Incubi lamp",
            "sensor.secret": "Secret thing",
        }
    )
    """Names as shown, by entity."""
    exposed: set[str] = field(default_factory=lambda: {"switch.power", "light.lamp"})
    subscribed: dict[str, int] = field(default_factory=dict)
    """The numbers of the subscriptions, by event."""
    asked: list[Frame] = field(default_factory=list)
    """All that was asked, the sign-in aside."""
    refuses: dict[str, str] = field(default_factory=dict)
    """Codes of the errors that commands are answered with."""

    hello = json.dumps({"type": "auth_required", "ha_version": "2026.10.4"})

    def answer(self, text: str) -> list[str]:
        """Answer one frame."""
        said = json.loads(text)
        if said["type"] == "auth":
            if said["access_token"] != TOKEN:
                return [json.dumps({"type": "auth_invalid", "message": "Invalid access token"})]
            return [json.dumps({"type": "auth_ok", "ha_version": "2026.10.4"})]
        self.asked.append(said)
        number, kind = said["id"], said["type"]
        if code := self.refuses.get(kind):
            error = {"code": code, "message": "no"}
            refused = {"id": number, "type": "result", "success": False, "error": error}
            return [json.dumps(refused)]
        result = {"id": number, "type": "result", "success": True, "result": self._result(said)}
        answers = [result]
        if kind == "subscribe_entities":
            wanted = [one for one in said["entity_ids"] if one in self.states]
            added = {one: {"s": "on", "a": {"friendly_name": self.states[one]}} for one in wanted}
            answers.append({"id": number, "type": "event", "event": {"a": added}})
        return [json.dumps(one) for one in answers]

    def change(self, kind: str = "area_registry_updated") -> str:
        """Return the event of a change."""
        event = {"event_type": kind, "data": {"action": "update"}}
        return json.dumps({"id": self.subscribed[kind], "type": "event", "event": event})

    def _result(self, said: Frame) -> Any:
        match said["type"]:
            case "subscribe_events":
                self.subscribed[said["event_type"]] = said["id"]
            case "config/area_registry/list":
                return self.areas
            case "config/floor_registry/list":
                return self.floors
            case "config/device_registry/list":
                return self.devices
            case "homeassistant/expose_entity/list":
                hidden = {one: {"cloud.alexa": True} for one in self.states}
                exposed = {one: {"conversation": True} for one in self.exposed}
                return {"exposed_entities": hidden | exposed}
            case "config/entity_registry/get_entries":
                return {one: self.entries.get(one) for one in said["entity_ids"]}
        return None
