"""The command line."""
# PYTHON_ARGCOMPLETE_OK

import difflib
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Final, cast

from wyoming_flux import __version__

COMMANDS: Final = {
    "serve": "listen for Wyoming clients (also without naming a command)",
    "transcribe": "turn WAV files or a microphone into text",
    "check": "connect to Flux once and say what is there, or what is wrong",
    "deploy": "put the Worker into your Cloudflare account, or renew it there",
    "health": "ask a running server whether it is there, for containers",
    "simulate": "run a local Flux, for trying out and testing",
}

_OVERVIEW: Final = """\
usage: wyoming-flux [serve] [options]
       wyoming-flux COMMAND [options]

Wyoming speech-to-text on Deepgram Flux, through a Cloudflare Worker.

commands:
{commands}

Each command has its --help. Every option can also be set as an environment variable:
--worker-url is WYOMING_FLUX_WORKER_URL, or a file named by WYOMING_FLUX_WORKER_URL_FILE.

exit codes: 0 fine, 1 error, 2 wrong option or setting, 3 nothing was heard (transcribe)
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command, ``serve`` if none is named; return the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if "_ARGCOMPLETE" in os.environ:
        from .completion import complete

        complete()
    first = arguments[0] if arguments else ""
    if first in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        lines = (f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items())
        print(_OVERVIEW.format(commands="\n".join(lines)), end="")
        return 0
    if first in ("--version", "version"):
        print(__version__)
        return 0
    name = "serve"
    if first and not first.startswith("-"):
        name, arguments = first, arguments[1:]
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f", did you mean {close[0]}?" if close else f"; there are {', '.join(COMMANDS)}"
        print(f"wyoming-flux: there is no command {name!r}{hint}", file=sys.stderr)
        return 2
    # Only what this command needs is imported, so that `serve` is there at once.
    try:
        code = _function(name)(arguments)
        sys.stdout.flush()
    except SystemExit as end:
        # argparse leaves this way after --help and after a mistake.
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _function(name: str) -> Callable[[list[str]], int]:
    if name == "simulate":
        function = import_module(".command", __name__).run_simulate
    else:
        function = import_module(f".{name}", __name__).run
    return cast("Callable[[list[str]], int]", function)
