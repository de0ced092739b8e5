"""What all connections of a server share: settings, the way to Flux, today's minutes, the tasks."""

import asyncio
import dataclasses
import itertools
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, Protocol

from wyoming_flux import keyterms
from wyoming_flux.audio import AudioFormat, Converter, prepare
from wyoming_flux.errors import UnsupportedLanguage, WyomingFluxError
from wyoming_flux.settings import FluxSettings
from wyoming_flux.utterance import Report, Transcript

from .report import TurnReport
from .requests import TranscribeRequest
from .settings import Limits
from .usage import DailyMinutes

_LOGGER = logging.getLogger(__name__)


class Utterance(Protocol):
    """What a turn needs of a transcriber: :class:`wyoming_flux.utterance.Transcriber`."""

    @property
    def report(self) -> Report:
        """What it came to so far."""

    def start(self) -> None:
        """Begin to connect."""

    async def send(self, pcm: bytes) -> None:
        """Take audio."""

    def end(self) -> None:
        """No more audio follows."""

    async def result(self) -> Transcript:
        """Wait for the transcript."""

    async def close(self) -> None:
        """Give up."""


TranscriberFactory = Callable[[FluxSettings, Callable[[str], None]], Utterance]
"""Makes the transcriber of one turn, from its settings and what takes partial text."""


class Service:
    """Shared by all connections of one server."""

    def __init__(
        self,
        *,
        info: bytes,
        flux: FluxSettings,
        languages: tuple[str, ...],
        transcriber: TranscriberFactory,
        usage: DailyMinutes,
        limits: Limits,
        extra_keyterms: Callable[[], Iterable[str]] | None = None,
        on_turn: Callable[[TurnReport], None] | None = None,
        debug: bool = False,
        whole: bool = True,
    ) -> None:
        """Keep what is shared; ``info`` is the encoded answer to ``describe``."""
        self.info: Final = info
        self.transcriber: Final = transcriber
        self.usage: Final = usage
        self.limits: Final = limits
        self.debug: Final = debug
        self.whole: Final = whole
        # Why no new turn may begin: the server is being stopped.
        self.stopping: WyomingFluxError | None = None
        # All tasks of all turns, so that none is lost and stopping can wait for them.
        self.tasks: Final[set[asyncio.Task[None]]] = set()
        self._flux = flux
        self._languages = {tag.casefold(): tag for tag in languages}
        self._extra_keyterms = extra_keyterms
        self._on_turn = on_turn
        self._numbers = itertools.count(1)
        self._said_cut = False

    def next_number(self) -> int:
        """Return the number of a new turn."""
        return next(self._numbers)

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run *coroutine* as a task that the server owns."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def check(self) -> None:
        """Raise the :class:`WyomingFluxError` for which no turn may begin now."""
        if self.stopping is not None:
            raise self.stopping.with_traceback(None)
        self.usage.check()

    async def converter(self, source: AudioFormat) -> Converter:
        """Return a new converter to the stream's rate, without blocking the loop."""
        if not source.matches(self._flux.sample_rate):
            await asyncio.to_thread(prepare)
        return Converter(source, self._flux.sample_rate)

    def report(self, report: TurnReport) -> None:
        """Tell the log, and who else wants to know, what became of a turn."""
        report.log()
        if self._on_turn is not None:
            try:
                self._on_turn(report)
            except Exception:
                _LOGGER.exception("on_turn failed")

    def settings_for(self, request: TranscribeRequest) -> FluxSettings:
        """Return the settings of a turn: the server's, with what the client asked for.

        Raises :class:`UnsupportedLanguage`.
        """
        settings = self._flux
        language = self._language(request.language)
        if language is not None and settings.model != "flux-general-en":
            # The English model takes no language; the other wants one without region.
            settings = dataclasses.replace(settings, language=language.partition("-")[0])
        if request.name is not None and request.name != settings.model:
            _LOGGER.debug(
                "Model %.40r was asked for; there is %s only", request.name, settings.model
            )
        if request.sensitivity is not None:
            settings = settings.with_sensitivity(request.sensitivity)
        return self._with_keyterms(settings, request)

    def _language(self, tag: str | None) -> str | None:
        """Return our spelling of *tag*, or of its language alone where the region is unknown."""
        if tag is None:
            return None
        asked = tag.replace("_", "-").casefold()
        known = self._languages.get(asked) or self._languages.get(asked.partition("-")[0])
        if known is None:
            names = ", ".join(sorted({one.partition("-")[0] for one in self._languages.values()}))
            raise UnsupportedLanguage(
                f"The model {self._flux.model} does not know the language {tag[:40]!r};"
                f" it knows {names}."
            )
        return known

    def _with_keyterms(self, settings: FluxSettings, request: TranscribeRequest) -> FluxSettings:
        extra = tuple(self._extra_keyterms()) if self._extra_keyterms is not None else ()
        if not (request.names or request.terms or extra):
            return settings
        merged = keyterms.merge(request.names, request.terms, settings.keyterms, extra)
        if merged.cut and not self._said_cut:
            self._said_cut = True
            _LOGGER.warning(
                "%d key terms do not fit within Flux's limits; %d are used",
                merged.cut,
                len(merged.terms),
            )
        return settings.with_keyterms(merged.terms)
