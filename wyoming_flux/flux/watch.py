"""Tries again, beside the utterances, the endpoints that are down: no sentence pays for it."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from wyoming_flux.errors import WyomingFluxError
from wyoming_flux.settings import FluxSettings

from .check import check_flux
from .connector import Connector
from .order import Way

EVERY: Final = 5.0
"""Seconds between two looks at what is down; each endpoint is asked after 30 to 600 s."""
_LIMIT: Final = 15.0
"""Seconds that one check may take, whatever is checked."""

_LOGGER: Final = logging.getLogger(__name__)


async def watch(
    endpoints: Sequence[Way],
    settings: FluxSettings,
    *,
    clock: Callable[[], float] = time.monotonic,
    every: float = EVERY,
) -> None:
    """Check again and again what is down, until cancelled; at most half a second of audio each."""
    while True:
        await asyncio.sleep(every)
        for endpoint in endpoints:
            learnt = endpoint.learnt
            if not learnt.suspect or learnt.down(clock()):
                continue
            try:
                async with asyncio.timeout(_LIMIT):
                    await _check(endpoint, settings)
            except (WyomingFluxError, TimeoutError) as error:
                learnt.mark_down(clock(), str(error))
                _LOGGER.debug("%s is still down: %s", endpoint.name, error)
            except Exception:
                # Without a watch it would be asked last for ever.
                learnt.mark_down(clock(), "a fault of ours")
                _LOGGER.exception("Looking at %s failed", endpoint.name)
            else:
                if learnt.mark_up():
                    _LOGGER.info("%s works again", endpoint.name)


async def _check(endpoint: Way, settings: FluxSettings) -> None:
    if isinstance(endpoint, Connector):
        await check_flux(endpoint, settings)
        return
    await (await endpoint.connect(settings)).close()
