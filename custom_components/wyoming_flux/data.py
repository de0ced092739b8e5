"""What one loaded entry consists of."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from homeassistant.config_entries import ConfigEntry

from wyoming_flux.flux import Connector
from wyoming_flux.flux.order import in_order
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance import Capture, Transcriber

from .fallback import EntityEndpoint
from .health import Health
from .names import HomeNames
from .usage import DailyUsage

type FluxConfigEntry = ConfigEntry[FluxData]


@dataclass(slots=True)
class FluxData:
    """The parts of a loaded entry that its entities share."""

    connector: Connector
    fallbacks: tuple[Connector | EntityEndpoint, ...]
    """Who is asked where Flux cannot be reached, in order."""
    turn: UtteranceSettings
    settings: FluxSettings
    """What the next stream is asked for, key terms included; replaced when names change."""
    names: HomeNames
    health: Health
    usage: DailyUsage
    capture: Capture | None = None
    """What keeps the last turns for a look."""
    keyterms_cut: int = 0
    """How many key terms did not fit."""
    stopping: bool = False
    """Whether the entry is being unloaded, or Home Assistant stops: no new turns."""
    on_stop: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What else has to end."""
    running: set[Transcriber] = field(default_factory=set)

    def begin(self, language: str, on_partial: Callable[[str], None] | None = None) -> Transcriber:
        """Begin a turn: it connects at once. It must be ended by :meth:`async_end`.

        ``on_partial`` gets words to append to those before. Raises :class:`MinutesUsedUp` where
        the day's minutes are used up and only Flux could hear.
        """
        # Two letters are what Flux takes as a hint, and the English model takes none.
        settings = dataclasses.replace(self.settings, language=language.partition("-")[0])
        ways = in_order(
            (self.connector, *self.fallbacks),
            settings,
            now=asyncio.get_running_loop().time(),
            minutes=not self.usage.exhausted,
            watched=False,
        )
        if not ways:
            self.usage.check()
        turn = Transcriber(ways, settings, self.turn, on_partial=on_partial, capture=self.capture)
        self.running.add(turn)
        turn.start()
        return turn

    async def async_end(self, turn: Transcriber) -> None:
        """Close all that belongs to a turn, and count what it cost, once."""
        try:
            await turn.close()
        finally:
            if turn in self.running:
                self.running.discard(turn)
                self.usage.add(turn.report.billed_seconds)

    async def async_stop(self) -> None:
        """End every turn that runs, and let no other begin."""
        self.stopping = True
        self.health.async_stop()
        turns = [self.async_end(turn) for turn in tuple(self.running)]
        await asyncio.gather(*turns, *(stop() for stop in self.on_stop))
        if self.capture is not None:
            # Last: what has ended just now is to be written.
            await asyncio.to_thread(self.capture.close)
