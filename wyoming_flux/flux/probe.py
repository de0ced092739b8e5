"""Is it Flux that answers? Half a second of silence, and its first message."""

import asyncio
from typing import Final

from wyoming_flux.errors import FluxTimeout, NotFlux, Refused
from wyoming_flux.settings import FluxSettings

from .connection import FluxConnection
from .messages import FluxFault, Garbage, Message

ANSWER_TIMEOUT: Final = 5.0
"""Seconds in which Flux has to say something."""

_FRAMES: Final = 5
_FRAME_SECONDS: Final = 0.1


async def first_message(connection: FluxConnection, settings: FluxSettings) -> Message:
    """Send half a second of silence on a new connection and return what Flux says first.

    Silence, because some deployments say nothing before audio has come. Raises
    :class:`FluxTimeout` after five seconds, :class:`NotFlux` for what is no message of Flux,
    :class:`Refused` for Flux's own ``Error``, and :class:`ConnectionLost`.
    """
    frame = bytes(2 * int(settings.sample_rate * _FRAME_SECONDS))
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            for _ in range(_FRAMES):
                await connection.send_audio(frame)
            message = await connection.receive()
    except TimeoutError:
        raise FluxTimeout(
            f"{connection.host} takes audio, but said nothing for {ANSWER_TIMEOUT:g} s:"
            " is this Flux?"
        ) from None
    match message:
        case Garbage():
            raise NotFlux(f"{connection.host} talks, but not as Flux does")
        case FluxFault(code=code, description=description):
            raise Refused(f"Flux refused: {description or code}", upstream_code=code or None)
        case _:
            return message
