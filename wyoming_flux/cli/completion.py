"""Shell completion with argcomplete (extra ``completion``).

``eval "$(register-python-argcomplete wyoming-flux)"`` switches it on; the shell then runs the
command with ``_ARGCOMPLETE`` set, and the answer is made from the parsers of all commands.
"""

import argparse

from .parser import PROGRAM, Parser


def complete() -> None:
    """Answer the shell and exit; do nothing without argcomplete."""
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(full_parser())


def full_parser() -> argparse.ArgumentParser:
    """Return one parser with all commands."""
    from . import check, deploy, health, serve, simulate, transcribe

    top: argparse.ArgumentParser = Parser(prog=PROGRAM)
    commands = top.add_subparsers()
    for name, module in (
        ("serve", serve),
        ("transcribe", transcribe),
        ("check", check),
        ("deploy", deploy),
        ("health", health),
    ):
        commands.add_parser(name, parents=[module.parser()], add_help=False)
    simulate.add_parser(commands)
    return top
