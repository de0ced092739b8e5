"""``wyoming-flux transcribe``: recordings or a microphone into text."""

import argparse
import asyncio
import contextlib
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from wyoming_flux.address import parse_uri
from wyoming_flux.audio import AudioFormat
from wyoming_flux.ear import Ear
from wyoming_flux.errors import EndpointError, InvalidSetting, WyomingFluxError, os_reason
from wyoming_flux.flux import Connector
from wyoming_flux.settings import FluxSettings, ProgramSettings, UtteranceSettings
from wyoming_flux.utterance import Capture

from . import direct, interrupt, options, satellite
from .endpoints import Way, endpoints
from .environment import Given
from .outcome import Display, Outcome
from .player import Player
from .recording import STDIN, Recording, open_recording, parse_raw_format

NOTHING: Final = 3
"""Exit code: nothing was heard."""

_UNREADABLE: Final = {
    FileNotFoundError: "there is no such file",
    IsADirectoryError: "this is a directory; name the recordings in it",
}
# What a client can ask of a server; the rest is the server's own business.
_WISHES: Final = frozenset(
    "language keyterms keyterms_file sensitivity debug quiet log_format".split()
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what no other command takes."""
    parser.usage = "%(prog)s FILE... [options]"
    parser.description = "Turns recordings, or what a microphone hears, into text."
    parser.epilog = (
        "exit codes: 0 text from each file, 1 an error, 2 a wrong option, 3 nothing heard in one,"
        " 130 Ctrl-C"
    )
    group = parser.add_argument_group("what to transcribe")
    group.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="a WAV, or with ffmpeg installed any audio file; - is standard input:"
        " arecord -f S16_LE -r 16000 | wyoming-flux transcribe -",
    )
    group.add_argument(
        "--raw",
        metavar="FORMAT",
        help="take what is no audio file as raw samples of RATE:BITS:CHANNELS, as 16000:16:1",
    )
    group = parser.add_argument_group("how")
    group.add_argument(
        "--via",
        metavar="URI",
        help="be the client of a Wyoming server, as a satellite is: tcp://HOST:PORT, unix:///PATH",
    )
    pace = group.add_mutually_exclusive_group()
    pace.add_argument(
        "--fast", action="store_true", help="as fast as possible (the default without --via)"
    )
    pace.add_argument(
        "--real-time", action="store_true", help="as a microphone would (the default with --via)"
    )
    group.add_argument("--json", action="store_true", help="print one JSON object per file")
    group.add_argument(
        "-v", "--verbose", action="store_true", help="say on standard error what happens, and when"
    )


@dataclass(slots=True)
class _Job:
    """What is the same for all files, and the microphone that is open."""

    arguments: argparse.Namespace
    raw: AudioFormat | None
    wish: satellite.Wish
    ways: tuple[Way, ...]
    """Who is asked, in order; none with ``--via``."""
    flux: FluxSettings
    given: Given
    capture: Capture | None
    microphone: asyncio.Event | None = None
    """Ends it, where one is open."""

    def end_microphone(self) -> bool:
        """Take Ctrl-C for the end of what is said: it is still to be answered."""
        if self.microphone is None:
            return False
        self.microphone.set()
        return True

    def turn_settings(self, *, live: bool) -> UtteranceSettings:
        """A file is answered as a whole; who speaks into a microphone waits for the answer."""
        usual = "end-of-turn" if live else "audio-stop"
        return self.given.make(UtteranceSettings, answer_on=usual, wake_phrases=())


def run(arguments: argparse.Namespace, given: Given) -> int:
    """Transcribe; return the exit code. Raises :class:`InvalidSetting`."""
    if not arguments.files:
        raise InvalidSetting("", "name a recording, or - for standard input")
    if arguments.verbose and given.make(ProgramSettings).quiet:
        raise InvalidSetting("quiet", "it contradicts --verbose")
    if arguments.files.count(STDIN) > 1:
        raise InvalidSetting("", "standard input can be read once only")
    with given.capture() as capture:
        job = _prepare(arguments, given, capture)
        return interrupt.run(_transcribe_all(job), first=job.end_microphone)


def _prepare(arguments: argparse.Namespace, given: Given, capture: Capture | None) -> _Job:
    try:
        raw = None if arguments.raw is None else parse_raw_format(arguments.raw)
    except (ValueError, WyomingFluxError) as error:
        raise InvalidSetting("", f"--raw: {error}") from None
    flux, cut = given.flux()
    if cut:
        logging.getLogger(__name__).warning("%d key terms do not fit within Flux's limits", cut)
    given.make(UtteranceSettings)
    ways: tuple[Way, ...] = ()
    wish = satellite.Wish()
    if arguments.via is None:
        ways = endpoints(given)
        for way in ways:
            way.check(flux)
    else:
        _check_via(arguments.via, given)
        wish = satellite.Wish(
            language=flux.language,
            keyterms=flux.keyterms,
            sensitivity=given.values.get("sensitivity"),
        )
    return _Job(arguments, raw, wish, ways, flux, given, capture)


def _check_via(uri: str, given: Given) -> None:
    try:
        parse_uri(uri)
    except InvalidSetting as error:
        raise InvalidSetting("", f"--via: {str(error).removeprefix('uri ')}") from None
    for name, source in given.sources.items():
        # Variables may be meant for the server that runs beside us; flags are not.
        if name not in _WISHES and source.startswith("--"):
            raise InvalidSetting("", f"{source} has no effect with --via: it is the server's")


async def _transcribe_all(job: _Job) -> int:
    async with AsyncExitStack() as stack:
        for way in job.ways:
            if isinstance(way, Ear):
                stack.push_async_callback(way.close)
                # Where it fails, an utterance says so if it needs it.
                with contextlib.suppress(EndpointError):
                    await way.start()
        codes = [await _transcribe_one(name, job) for name in job.arguments.files]
    return next((code for code in (options.ERROR, NOTHING) if code in codes), 0)


async def _transcribe_one(name: str, job: _Job) -> int:
    arguments = job.arguments
    display = Display(
        name,
        as_json=arguments.json,
        label=len(arguments.files) > 1,
        verbose=arguments.verbose,
        quiet=job.given.make(ProgramSettings).quiet,
    )
    try:
        async with AsyncExitStack() as stack:
            recording = await open_recording(name, job.raw, stack)
            real_time = arguments.real_time or (arguments.via is not None and not arguments.fast)
            player = Player(recording, real_time=real_time)
            if recording.seconds is not None and job.ways and isinstance(job.ways[0], Connector):
                display.price(recording.seconds, job.ways[0].endpoint.route)
            outcome = await _answer(recording, player, display, job)
    except asyncio.CancelledError:
        display.given_up()
        raise
    except WyomingFluxError as error:
        code = error.server_code if isinstance(error, satellite.ServerError) else error.code
        display.failed(str(error), code or "internal")
        return options.ERROR
    except OSError as error:
        display.failed(
            _UNREADABLE.get(type(error)) or f"cannot be read: {os_reason(error)}", "unreadable"
        )
        return options.ERROR
    display.done(outcome)
    if recording.cut_off:
        display.cut_off(recording.cut_off)
    if outcome.missing:
        return options.failed(
            f"{name}: the connection was lost for good: {outcome.missing:.1f} s of the recording"
            " are missing in the text"
        )
    return 0 if outcome.text else NOTHING


async def _answer(recording: Recording, player: Player, display: Display, job: _Job) -> Outcome:
    ending = asyncio.Event()
    job.microphone = ending if recording.live else None
    try:
        if not job.ways:
            return await satellite.transcribe(
                recording,
                player,
                display,
                uri=job.arguments.via,
                wish=job.wish,
                fast=job.arguments.fast,
                ending=ending,
            )
        return await direct.transcribe(
            recording,
            player,
            display,
            ways=job.ways,
            flux=job.flux,
            turn=job.turn_settings(live=recording.live),
            ending=ending,
            capture=job.capture,
        )
    finally:
        job.microphone = None
