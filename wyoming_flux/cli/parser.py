"""The parser of each command's line: readable help, and one sentence for what is wrong."""

import argparse
import difflib
import sys
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from wyoming_flux import __version__

from .options import RUNNING, Option, options_of

PROGRAM: Final = "wyoming-flux"

USAGE: Final = 2
"""Exit code for a mistake on the command line or in a setting."""


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def __init__(self, **options: Any) -> None:
        """Take the arguments of ``ArgumentParser``; flags cannot be shortened."""
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", _formatter)
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        """Print one sentence and exit with 2."""
        print(f"{PROGRAM}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(USAGE)

    def parse_known_flags(self, argv: list[str]) -> argparse.Namespace:
        """Parse *argv*; what is not known is an error with a hint at the closest flag."""
        namespace, unknown = self.parse_known_args(argv)
        if unknown:
            self.error(_unknown(unknown[0], self._option_string_actions))
        return namespace


def make_parser(
    command: str,
    summary: str,
    epilog: str | None = None,
    *,
    usage: str = "%(prog)s [options]",
) -> Parser:
    """Return a parser for *command*, without any options."""
    return Parser(
        prog=f"{PROGRAM} {command}",
        description=summary,
        usage=usage,
        epilog=epilog,
        add_help=False,
    )


def add_options(parser: Parser, command: str) -> None:
    """Add the options of *command* in their groups, and ``--help`` and ``--version`` to the last.

    All are None when not given, else the text that was given.
    """
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in options_of(command):
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        _add(groups[option.group], option)
    last = groups.get(RUNNING) or parser.add_argument_group(RUNNING)
    last.add_argument("--version", action="version", version=__version__, help="show the version")
    last.add_argument("-h", "--help", action="help", help="show this help")


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, max_help_position=32, width=100)


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    # Values stay text here: options from variables and files go the same way later on.
    help_text = option.help.replace("%", "%%")
    if option.switch:
        group.add_argument(
            option.flag, dest=option.name, action="store_const", const="yes", help=help_text
        )
    elif option.secret:
        group.add_argument(
            option.flag, dest=f"{option.name}_file", metavar=option.metavar, help=help_text
        )
    else:
        extra: dict[str, Any] = {}
        if option.optional_value:
            extra = {"nargs": "?", "const": "yes"}
        elif option.many:
            extra = {"action": "append"}
        group.add_argument(
            option.flag, dest=option.name, metavar=option.metavar, help=help_text, **extra
        )


def _unknown(argument: str, known: Iterable[str]) -> str:
    flag = argument.partition("=")[0]
    if not flag.startswith("-"):
        return f"unexpected argument {argument!r}"
    close = difflib.get_close_matches(flag, known, n=1)
    # Not the whole argument: somebody may have tried --token=SECRET.
    if flag == "--token":
        return "a token is not taken from the command line, which others can read: use --token-file"
    hint = f", did you mean {close[0]}?" if close else ""
    return f"unknown option {flag}{hint}"
