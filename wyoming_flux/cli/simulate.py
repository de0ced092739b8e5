"""``wyoming-flux simulate``: a local Flux to try things out with, without any account."""

import argparse
import asyncio
import ipaddress
import sys
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wyoming_flux.errors import InvalidSetting, WyomingFluxError, os_reason

from . import interrupt
from .environment import Given

# Imported when it runs, so that every other command starts without it.
if TYPE_CHECKING:
    from wyoming_flux.simulator import Profile, Upgrade

_EPILOG = """\
faults:
  NAME or NAME:KEY=VALUE,KEY=VALUE; each takes connection=N (only the N-th connection, from 1).
  Those marked * take after=SECONDS of audio and on=MOMENT (connected, start-of-turn,
  end-of-turn, force-end-turn, close-stream).
    refuse:status=429,code=3036      answer the upgrade with an HTTP status (body=TEXT goes last)
    connect-late:seconds=3           answer the upgrade late
    connected-late:seconds=3         send the first message late (or after_audio=true)
    drop:after=1.5,code=1011       * end the connection (1006: TCP alone, 1005: without a code)
    stall:after=1                  * take audio and say nothing (seconds=N: for N s of audio)
    error:after=1,code=NAME        * report a fatal error and close
    garbage:kind=text              * say something that is no message (text, json, binary, empty)
    slow-reader:rate=0.5           * take audio slower than real time (0: not at all)
    jitter:seconds=0.3               each message up to so late
    end:kind=empty                   EndOfTurn without text (kind=twice; late: out of order)
    window:seconds=0.6               ends of audio windows lag (kind=creeping, kind=missing)
    untyped, binary                  messages without type, as binary frames
    unflushed                        CloseStream closes at once
    no-controls:answer=error         no control message is known (error, close, ignore)

profile files are JSON: {"base": "workers-ai" or "deepgram", and what is different there}; see
docs/simulator.md.

scripts are TOML: [[turn]] tables with text (or a list of texts with pauses between them),
unfinished = true, confidence = 0.6, interim = "what is believed first"; and a table [misheard] of
what is heard instead of what is no key term: "living room" = "leaving room".
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what no other command takes."""
    parser.description = "Runs a local Flux: the same wire, its own recognizer."
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--uri",
        default="ws://127.0.0.1:8787",
        help="where to listen; port 0: any (default %(default)s)",
    )
    parser.add_argument(
        "--profile",
        default="workers-ai",
        metavar="NAME|FILE",
        help="whose Flux to play: workers-ai, deepgram, or a profile file (default %(default)s)",
    )
    parser.add_argument(
        "--recognizer",
        choices=("local", "script"),
        help="local hears real speech and needs the extra local; script says what --script says"
        " while there is sound (default: local; script where --script is given or the extra is"
        " missing)",
    )
    parser.add_argument("--script", type=Path, metavar="FILE", help="what to hear, as TOML")
    parser.add_argument(
        "--ingest-rate",
        type=float,
        default=1.25,
        metavar="N",
        help="take audio at most N times as fast as real time; 0: unlimited (default %(default)s)",
    )
    parser.add_argument(
        "--max-streams",
        type=int,
        metavar="N",
        help="so many connections at once, 503 beyond (default: 8 with local, 1000 with script)",
    )
    parser.add_argument(
        "--fault", action="append", default=[], metavar="FAULT", help="go wrong; repeatable"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="only let in who brings this token"
    )
    parser.add_argument(
        "--any-address", action="store_true", help="allow an address that others can reach"
    )


def run(arguments: argparse.Namespace, _: Given) -> int:
    """Serve until told to stop; return the exit code."""
    return asyncio.run(simulate(arguments))


async def simulate(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM: 0; 1 where the port cannot be opened, 2 for wrong options."""
    try:
        options = await asyncio.to_thread(_options, args)
    except (WyomingFluxError, ValueError, OSError) as error:
        print(f"wyoming-flux simulate: {error}", file=sys.stderr)
        return 2
    from wyoming_flux.simulator import Simulator

    stop = asyncio.Event()
    interrupt.stop_on_signal(stop)

    def observe(upgrade: "Upgrade", line: str) -> None:
        try:
            _log(f"#{upgrade.number} {line}")
        except OSError:
            stop.set()  # nobody reads any more

    async with AsyncExitStack() as stack:
        try:
            simulator = await stack.enter_async_context(Simulator(**options, observe=observe))
        except OSError as error:
            print(
                f"wyoming-flux simulate: cannot listen on {args.uri}: {os_reason(error)}",
                file=sys.stderr,
            )
            return 1
        name = args.recognizer
        _log(f"Flux simulator ({args.profile}, {name}) listening on {simulator.url}")
        await stop.wait()
    return 0


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the simulator's arguments; raises ValueError or OSError with one sentence."""
    from wyoming_flux.simulator import faults, script

    _check_uri(args.uri, any_address=args.any_address)
    if args.recognizer is None:
        from wyoming_flux.simulator.local import local_is_installed

        args.recognizer = "script" if args.script or not local_is_installed() else "local"
    if args.script and args.recognizer != "script":
        raise InvalidSetting("script", "--script needs --recognizer script")
    if not 0 <= args.ingest_rate <= 1000:
        raise InvalidSetting("ingest_rate", "--ingest-rate must be between 0 and 1000")
    if args.max_streams is not None and args.max_streams < 1:
        raise InvalidSetting("max_streams", "--max-streams must be at least 1")
    options: dict[str, Any] = {
        "uri": args.uri,
        "profile": _profile(args.profile),
        "max_streams": args.max_streams,
        "recognizer": args.recognizer,
        "ingest_rate": args.ingest_rate,
        "faults": [faults.parse(text) for text in args.fault],
        "keep": False,
    }
    if args.script:
        loaded = script.load(args.script)
        options["script"] = loaded.turns
        options["seconds_per_word"] = loaded.seconds_per_word
        options["misheard"] = loaded.misheard
    if args.token_file:
        options["token"] = args.token_file.read_text(encoding="utf-8").strip()
        if not options["token"]:
            raise InvalidSetting("token", f"{args.token_file} is empty")
    if args.recognizer == "local":
        from wyoming_flux.simulator.local import require_local

        require_local()

    return options


def _profile(name: str) -> "Profile":
    """Return a profile by its name, or of a file."""
    from wyoming_flux.simulator import PROFILES, profiles

    if name in PROFILES:
        return PROFILES[name]
    path = Path(name)
    if not path.suffix and not path.exists():
        raise InvalidSetting(
            "profile", f"--profile must be {', '.join(PROFILES)} or a file, not {name!r}"
        )
    return profiles.load(path)


def _check_uri(uri: str, *, any_address: bool) -> None:
    parts = urlsplit(uri)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "ws" or not parts.hostname or parts.path not in ("", "/") or port is None:
        raise InvalidSetting("uri", f"--uri must look like ws://127.0.0.1:8787, not {uri!r}")
    if any_address or parts.hostname == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise InvalidSetting(
            "uri",
            f"others could reach {parts.hostname}; use a loopback address, or add --any-address",
        )


def _log(line: str) -> None:
    now = datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]
    print(f"{now} {line}", flush=True)
