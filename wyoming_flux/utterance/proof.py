"""Does a control message do here what is written of it? Tried after an answer, before closing."""

import asyncio
from typing import Final, Protocol

from wyoming_flux.errors import ConnectionLost, EndpointError
from wyoming_flux.flux.messages import (
    CLOSE_STREAM,
    FORCE_END_TURN,
    NO_ACTIVE_TURN,
    FluxFault,
    FluxWarning,
    Message,
    TurnEvent,
    TurnInfo,
)

from .rules import FLUSHED, FRAME

TIME: Final = 1.0
"""Seconds that a proof may take."""
_FRAMES: Final = 3
"""Frames of silence that are to be flushed."""
COSTS: Final = _FRAMES * FRAME
"""Seconds of audio that a proof sends."""


class Provable(Protocol):
    """What a proof needs of a connection."""

    async def send_audio(self, pcm: bytes) -> None:
        """Send one frame."""

    async def send_control(self, message: str) -> None:
        """Send one control message."""

    async def receive(self) -> Message:
        """Wait for the next message."""


async def prove(connection: Provable, control: str, sent: float, rate: int) -> bool:
    """Send some silence and *control*; tell whether it flushes, as its documentation says.

    ``CloseStream``: a turn message that covers all that was sent, then a close with 1000, 1005 or
    1006. ``ForceEndTurn``: a turn that ends, or the warning that none was open. An ``Error``, any
    other close and silence are none. ``sent``: seconds of audio sent before. Never raises for what
    Flux does; cancelling it is safe.
    """
    covered = False
    try:
        async with asyncio.timeout(TIME):
            for _ in range(_FRAMES):
                await connection.send_audio(bytes(int(rate * FRAME) * 2))
            await connection.send_control(control)
            while True:
                match await connection.receive():
                    case TurnInfo() as info:
                        end = info.audio_window_end or 0.0
                        covered = covered or end >= sent + (_FRAMES - 1) * FRAME
                        if control == FORCE_END_TURN and info.event is TurnEvent.END_OF_TURN:
                            return info.trigger == "manual"
                    case FluxWarning(code=code) if code == NO_ACTIVE_TURN:
                        # It is known, and there was nothing to end.
                        return control == FORCE_END_TURN
                    case FluxFault():
                        return False
                    case _:
                        pass
    except ConnectionLost as err:
        return control == CLOSE_STREAM and covered and err.close_code in FLUSHED
    except (EndpointError, TimeoutError):
        return False
