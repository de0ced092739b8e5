"""What the commands have in common: options in, mistakes out as one sentence."""

import argparse
import asyncio
import logging
import sys
from typing import Final, Never

from wyoming_flux.errors import InvalidSetting

from . import logs, values
from .parser import PROGRAM, USAGE, Parser
from .values import Values

_LOGGER: Final = logging.getLogger(__name__)

ERROR: Final = 1
"""Exit code for what went wrong at run time."""


def read(
    command: str, parser: Parser, argv: list[str], *, level: int = logging.INFO
) -> tuple[argparse.Namespace, Values]:
    """Parse the command line, read the options, set up the log, warn of unknown variables.

    Leaves with :class:`SystemExit` 2 and one sentence for what is wrong.
    """
    namespace = parser.parse_known_flags(argv)
    try:
        found = values.read(command, namespace)
    except InvalidSetting as error:
        wrong(str(error))
    logs.set_up(
        json_lines=found.get("log_format") == "json", debug=bool(found.get("debug")), level=level
    )
    for warning in values.unknown_variables():
        _LOGGER.warning("%s", warning)
    return namespace, found


def wrong(sentence: str) -> Never:
    """Print what is wrong with the options, and leave."""
    print(f"{PROGRAM}: {sentence}", file=sys.stderr)
    raise SystemExit(USAGE)


def failed(sentence: str) -> int:
    """Print what went wrong, and return the exit code for it."""
    print(f"{PROGRAM}: {sentence}", file=sys.stderr)
    return ERROR


def run_simulate(argv: list[str]) -> int:
    """Run ``simulate``, whose parser is made for sub-commands."""
    from . import simulate

    top: argparse.ArgumentParser = Parser(prog=PROGRAM)
    simulate.add_parser(top.add_subparsers())
    return asyncio.run(simulate.run(top.parse_args(["simulate", *argv])))
