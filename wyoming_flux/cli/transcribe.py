"""``wyoming-flux transcribe``: recordings or a microphone into text."""

import argparse
import asyncio
import contextlib
import logging
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from wyoming_flux.address import parse_uri
from wyoming_flux.audio import AudioFormat
from wyoming_flux.ear import Ear
from wyoming_flux.errors import EndpointError, InvalidSetting, WyomingFluxError, os_reason
from wyoming_flux.settings import DEFAULT_SAMPLE_RATE, FluxSettings, UtteranceSettings

from . import direct, options, satellite
from .endpoints import Way, endpoints
from .environment import Given
from .outcome import Display, Outcome
from .player import Player
from .recording import STDIN, Recording, open_recording, parse_raw_format

NOTHING: Final = 3
"""Exit code: nothing was heard."""

_RAW: Final = f"{DEFAULT_SAMPLE_RATE}:16:1"
# What a client can ask of a server; the rest is the server's own business.
_WISHES: Final = ("language", "keyterms", "keyterms_file", "sensitivity", "debug", "log_format")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what no other command takes."""
    parser.usage = "%(prog)s FILE... [options]"
    parser.description = "Turns recordings, or what a microphone hears, into text."
    parser.epilog = (
        "exit codes: 0 text from each file, 1 an error, 2 a wrong option, 3 nothing heard in one"
    )
    group = parser.add_argument_group("what to transcribe")
    group.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="WAV file of any format; - is standard input, WAV or raw:"
        " arecord -f S16_LE -r 16000 | wyoming-flux transcribe -",
    )
    group.add_argument(
        "--raw", metavar="FORMAT", default=_RAW, help=f"RATE:BITS:CHANNELS of raw input ({_RAW})"
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
        "--verbose", action="store_true", help="say on standard error what happens, and when"
    )


@dataclass(frozen=True, slots=True)
class _Job:
    """What is the same for all files."""

    arguments: argparse.Namespace
    raw: AudioFormat
    wish: satellite.Wish
    ways: tuple[Way, ...]
    """Who is asked, in order; none with ``--via``."""
    flux: FluxSettings
    given: Given

    def turn_settings(self, *, live: bool) -> UtteranceSettings:
        """A file is answered as a whole; who speaks into a microphone waits for the answer."""
        usual = "end-of-turn" if live else "audio-stop"
        return self.given.make(UtteranceSettings, answer_on=usual, wake_phrases=())


def run(arguments: argparse.Namespace, given: Given) -> int:
    """Transcribe; return the exit code. Raises :class:`InvalidSetting`."""
    if not arguments.files:
        raise InvalidSetting("", "name a WAV file, or - for standard input")
    if arguments.files.count(STDIN) > 1:
        raise InvalidSetting("", "standard input can be read once only")
    return asyncio.run(_transcribe_all(_prepare(arguments, given)))


def _prepare(arguments: argparse.Namespace, given: Given) -> _Job:
    try:
        raw = parse_raw_format(arguments.raw)
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
    return _Job(arguments, raw, wish, ways, flux, given)


def _check_via(uri: str, given: Given) -> None:
    try:
        parse_uri(uri)
    except InvalidSetting as error:
        raise InvalidSetting("", f"--via: {error}") from None
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
    )
    try:
        async with AsyncExitStack() as stack:
            recording = await open_recording(name, job.raw, stack)
            real_time = arguments.real_time or (arguments.via is not None and not arguments.fast)
            player = Player(recording, real_time=real_time, on_progress=display.progress)
            outcome = await _answer(recording, player, display, job)
    except WyomingFluxError as error:
        code = error.server_code if isinstance(error, satellite.ServerError) else error.code
        display.failed(str(error), code or "internal")
        return options.ERROR
    except OSError as error:
        display.failed(f"cannot be read: {os_reason(error)}", "unreadable")
        return options.ERROR
    display.done(outcome)
    if outcome.missing:
        return options.failed(
            f"{name}: the connection was lost for good: {outcome.missing:.1f} s of the recording"
            " are missing in the text"
        )
    return 0 if outcome.text else NOTHING


async def _answer(recording: Recording, player: Player, display: Display, job: _Job) -> Outcome:
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    if recording.live:
        # Ctrl-C ends the microphone, not us: what was said is still to be answered.
        loop.add_signal_handler(signal.SIGINT, ending.set)
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
        )
    finally:
        loop.remove_signal_handler(signal.SIGINT)
