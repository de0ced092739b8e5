"""What passes between the server and the ear's own process: frames over two pipes."""

import asyncio
import json
import struct
from dataclasses import asdict
from enum import IntEnum
from typing import Any, Final

from wyoming_flux.flux.messages import TurnEvent, TurnInfo

_HEAD: Final = struct.Struct("<BII")


class Kind(IntEnum):
    """What a frame is. All but READY belong to a stream."""

    OPEN = 1
    """To the ear: a stream begins; the sample rate in Hz, as JSON."""
    AUDIO = 2
    """To the ear: linear16 mono."""
    FINISH = 3
    """To the ear: decode what was sent, tell it, and end the stream."""
    CLOSE = 4
    """To the ear: nobody listens any more."""
    READY = 5
    """From the ear: the model is loaded; how long that took in seconds, as JSON."""
    OPENED = 6
    """From the ear: the stream is heard."""
    BUSY = 7
    """From the ear: not this one too."""
    TURN = 8
    """From the ear: the fields of a ``TurnInfo``, as JSON."""
    FINISHED = 9
    """From the ear: all was told after FINISH."""


def frame(kind: Kind, stream: int, data: bytes = b"") -> bytes:
    """Return the bytes of a frame."""
    return _HEAD.pack(kind, stream, len(data)) + data


async def read_frame(reader: asyncio.StreamReader) -> tuple[Kind, int, bytes]:
    """Wait for the next frame. Raises ``asyncio.IncompleteReadError`` at the end of the pipe."""
    kind, stream, length = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    return Kind(kind), stream, await reader.readexactly(length)


def turn_to_bytes(turn: TurnInfo) -> bytes:
    """Return the payload of a TURN frame."""
    return json.dumps(asdict(turn)).encode()


def turn_from_bytes(data: bytes) -> TurnInfo:
    """Read the payload of a TURN frame."""
    fields: dict[str, Any] = json.loads(data)
    return TurnInfo(**{**fields, "event": TurnEvent(fields["event"])})
