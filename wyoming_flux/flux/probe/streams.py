"""The records of a probe, stream by stream: what was sent, and what came when. Pure."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from wyoming_flux.flux.messages import TurnEvent, TurnInfo, parse

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """A TurnInfo, when it came, and how many seconds of audio had been sent by then."""

    at: float
    sent: float
    info: TurnInfo


class StreamRecords:
    """The records of one stream; times in seconds since it was asked for."""

    def __init__(self, records: Sequence[Record]) -> None:
        """Take records of one stream, at least one."""
        self.records = records
        self.name: str = records[0]["step"]
        self.refused = self.first("refused")
        self.opened = self.first("opened")
        self.closed = self.first("closed")
        self.said = self.first("said")
        self.sent: float = max(one["sent"] for one in records)

    def first(self, event: str) -> Record | None:
        """Return its first record of this event."""
        return next((one for one in self.records if one["event"] == event), None)

    @cached_property
    def frames(self) -> list[Record]:
        """What came."""
        return [one for one in self.records if one["event"] == "frame"]

    @cached_property
    def turns(self) -> list[Heard]:
        """The TurnInfos among it."""
        read = ((one, parse(one["data"])) for one in self.frames)
        return [
            Heard(one["at"], one["sent"], info) for one, info in read if isinstance(info, TurnInfo)
        ]

    @property
    def text(self) -> str:
        """The text of its turns."""
        texts = {
            one.info.turn_index: one.info.transcript for one in self.turns if one.info.transcript
        }
        return " ".join(text for _, text in sorted(texts.items()))

    @property
    def ends(self) -> list[Heard]:
        """The ends of its turns."""
        return [one for one in self.turns if one.info.event is TurnEvent.END_OF_TURN]

    @property
    def end(self) -> Heard | None:
        """The first end of a turn after what was said."""
        spoken = self.spoken
        return next((one for one in self.ends if spoken is not None and one.at >= spoken), None)

    @property
    def spoken(self) -> float | None:
        """When the last word was spoken."""
        return None if self.said is None else self.said["spoken"]

    @property
    def end_ms(self) -> float | None:
        """From the last word to the end of its turn."""
        end, spoken = self.end, self.spoken
        return None if end is None or spoken is None else 1000 * (end.at - spoken)


def streams_of(records: Iterable[Record]) -> Iterator[StreamRecords]:
    """Give the streams that were asked for, in order."""
    current: list[Record] = []
    for one in records:
        if one["event"] in ("opening", "left out") and current:
            yield StreamRecords(current)
            current = []
        if one["event"] != "left out":
            current.append(one)
    if current:
        yield StreamRecords(current)


def message_of(frame: Record) -> Record | None:
    """Return the JSON object of a frame; None: it is none."""
    try:
        message = json.loads(frame["data"])
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def kind_of(frame: Record) -> str:
    """Return the event of a frame, or its type; ``?`` where it has none."""
    message = message_of(frame) or {}
    return str(message.get("event") or message.get("type") or "?")


def kinds_of(frames: Iterable[Record]) -> set[str]:
    """Return all of them."""
    return {kind_of(one) for one in frames}
