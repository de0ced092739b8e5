"""Does a control message do here what is written of it? Tried after an answer, before closing."""

import asyncio
from typing import Final, Protocol

from wyoming_flux.errors import ConnectionLost, EndpointError
from wyoming_flux.flux.messages import CLOSE_STREAM, FluxFault, Message, TurnEvent, TurnInfo

TIME: Final = 1.0
"""Seconds that a proof may take."""
_SILENCE: Final = 0.24
"""Seconds of silence that are to be flushed: three frames."""
_SLACK: Final = 0.08


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
            await connection.send_audio(bytes(int(rate * _SILENCE) * 2))
            await connection.send_control(control)
            while True:
                match await connection.receive():
                    case TurnInfo() as info:
                        end = info.audio_window_end or 0.0
                        covered = covered or end >= sent + _SILENCE - _SLACK
                        if control != CLOSE_STREAM and info.event is TurnEvent.END_OF_TURN:
                            return info.trigger == "manual"
                    case FluxFault():
                        return False
                    case _:
                        pass
    except ConnectionLost as err:
        closed = err.upstream_code in ("1000", "1005", "1006")
        return control == CLOSE_STREAM and covered and closed
    except (EndpointError, TimeoutError):
        return False
