"""What all utterances of a server share: settings, the way to Flux, today's minutes, the tasks."""

import asyncio
import dataclasses
import itertools
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from wyoming_flux import keyterms
from wyoming_flux.audio import AudioFormat, Converter, prepare
from wyoming_flux.errors import UnsupportedLanguage, WyomingFluxError
from wyoming_flux.minutes import DailyMinutes
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance import Report, Transcriber

from .events import TranscribeRequest
from .settings import Limits
from .standing import Standing

_LOGGER = logging.getLogger(__name__)


MakeTranscriber = Callable[[FluxSettings, Callable[[str], None], Callable[[], None]], Transcriber]
"""Takes the settings, what takes partial text, and what is called once the outcome is known."""


@dataclass(kw_only=True)
class Shared:
    """One for each server."""

    flux: FluxSettings
    utterance: UtteranceSettings
    languages: tuple[str, ...]
    """Tags that the model knows."""
    host: str
    """Of the endpoint, for the log."""
    standing: Standing
    transcriber: MakeTranscriber
    """Makes the transcriber of one utterance."""
    minutes: DailyMinutes
    limits: Limits
    free: bool = False
    """Whether somebody can be asked who costs no minutes."""
    keyterms: Callable[[], Iterable[str]] | None = None
    """Asked at each utterance for terms weaker than the configured ones."""
    on_report: Callable[[Report], None] | None = None
    """Told what became of each utterance."""
    debug: bool = False
    """Whether transcripts may be logged."""
    stopping: WyomingFluxError | None = None
    """Why no new utterance may begin: the server is being stopped."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    """All tasks of all utterances, so that none is lost and stopping can wait for them."""
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _said_cut: bool = False

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run *coroutine* as a task that the server owns."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def check(self) -> None:
        """Raise the :class:`WyomingFluxError` for which no utterance may begin now."""
        if self.stopping is not None:
            raise self.stopping.with_traceback(None)
        if not self.free:
            self.minutes.check()

    async def converter(self, source: AudioFormat) -> Converter:
        """Return a new converter to the stream's rate, without blocking the loop."""
        if not source.matches(self.flux.sample_rate):
            await asyncio.to_thread(prepare)
        return Converter(source, self.flux.sample_rate)

    def settings_for(self, request: TranscribeRequest) -> FluxSettings:
        """Return the settings of an utterance: the server's, with what the client asked for.

        Raises :class:`UnsupportedLanguage`.
        """
        settings = self.flux
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
        known = {one.casefold(): one for one in self.languages}
        found = known.get(asked) or known.get(asked.partition("-")[0])
        if found is None:
            names = ", ".join(sorted({one.partition("-")[0] for one in self.languages}))
            raise UnsupportedLanguage(
                f"The model {self.flux.model} does not know the language {tag[:40]!r};"
                f" it knows {names}."
            )
        return found

    def _with_keyterms(self, settings: FluxSettings, request: TranscribeRequest) -> FluxSettings:
        extra = tuple(self.keyterms()) if self.keyterms is not None else ()
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
