"""One parser for all commands, made from the settings; one sentence for what is wrong."""

import argparse
import difflib
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, Final, NoReturn

from wyoming_flux import __version__
from wyoming_flux.declare import Setting, settings_of
from wyoming_flux.settings import (
    GROUPS,
    RUNNING,
    CaptureSettings,
    FallbackSettings,
    FluxSettings,
    HomeSettings,
    ProgramSettings,
    ServerSettings,
    UtteranceSettings,
)

PROGRAM: Final = "wyoming-flux"
PREFIX: Final = "WYOMING_FLUX_"
FILE_SUFFIX: Final = "_FILE"

ERROR: Final = 1
"""Exit code for what went wrong at run time."""
USAGE: Final = 2
"""Exit code for a mistake on the command line or in a setting."""
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells tell it: 128 and the number of SIGINT."""

COMMANDS: Final = {
    "serve": "listen for Wyoming clients (also without naming a command)",
    "transcribe": "turn WAV files or a microphone into text",
    "check": "connect to Flux once and say what is there, or what is wrong",
    "deploy": "put the Worker into your Cloudflare account, or renew it there",
    "health": "ask a running server whether it is there, for containers",
    "show": "make a page of a captured utterance, or of a folder of them",
    "replay": "run a captured utterance through the program once more",
    "simulate": "run a local Flux, for trying out and testing",
}

_FLUX: Final = {**settings_of(FluxSettings), **settings_of(ProgramSettings)}
_QUIET: Final = {"quiet": _FLUX.pop("quiet")}
_UTTERANCE: Final = {**settings_of(UtteranceSettings), **settings_of(CaptureSettings)}
_HEARS: Final = {**_FLUX, **_QUIET, **settings_of(FallbackSettings), **_UTTERANCE}
_SERVER: Final = settings_of(ServerSettings)
SETTINGS: Final[Mapping[str, Mapping[str, Setting]]] = {
    "serve": {**_HEARS, **settings_of(HomeSettings), **_SERVER},
    "transcribe": _HEARS,
    "check": _FLUX,
    "deploy": {},
    "health": {"uri": _SERVER["uri"]},
    "show": {},
    "replay": {},
    "simulate": {},
}
"""The settings that each command takes, by their names; ``serve`` takes all."""

# What a setting is for in a command, and its default there, where they are not the setting's own.
_MEANINGS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "transcribe": {
        "answer_on": (
            "when to answer (end-of-turn: after the first turn; audio-stop: all of it, at the end)",
            "audio-stop for a file, end-of-turn for a microphone",
        ),
        "wake_phrases": ("left out where the text begins with it; repeatable", "none"),
    },
    "health": {
        "uri": ("whom to ask: tcp://HOST:PORT or unix:///PATH", "tcp://127.0.0.1:10300"),
    },
}
_SHORT: Final[Mapping[str, Mapping[str, str]]] = {
    "serve": {"debug": "-v", "quiet": "-q"},
    "check": {"debug": "-v"},
    "transcribe": {"quiet": "-q"},
}

_UNITS: Final = {"s": "SECONDS", "ms": "MS", "min": "MINUTES"}
_EPILOG: Final = """\
Each command has its --help. Every option can also be set as an environment variable:
--worker-url is WYOMING_FLUX_WORKER_URL, or a file named by WYOMING_FLUX_WORKER_URL_FILE.

exit codes: 0 fine, 1 error, 2 wrong option or setting, 3 nothing was heard (transcribe),
130 Ctrl-C (serve and simulate: 0)
"""


def flag_of(setting: Setting) -> str:
    """Return the flag; that of a secret names a file, for others can read command lines."""
    return f"--{setting.option.replace('_', '-')}{'-file' if setting.secret else ''}"


def variable_of(setting: Setting) -> str:
    """Return the environment variable of the value itself."""
    return PREFIX + setting.option.upper()


def file_variable_of(setting: Setting) -> str | None:
    """Return the variable that names a file; None where the value is the name of a file anyway."""
    return None if setting.option.endswith("_file") else variable_of(setting) + FILE_SUFFIX


def failed(sentence: str) -> int:
    """Print what went wrong, and return the exit code for it."""
    print(f"{PROGRAM}: {sentence}", file=sys.stderr)
    return ERROR


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def __init__(self, **more: Any) -> None:
        """Take the arguments of ``ArgumentParser``; flags cannot be shortened."""
        more = {"allow_abbrev": False, "formatter_class": _formatter, "add_help": False, **more}
        super().__init__(**more)

    def error(self, message: str) -> NoReturn:
        """Print one sentence and exit with 2."""
        print(f"{PROGRAM}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(USAGE)


def parse(words: list[str]) -> argparse.Namespace:
    """Parse a command line that begins with a command or with ``--help``.

    Settings that were not given are absent; the others are the text that was given. Leaves with
    :class:`SystemExit` 2 and one sentence, with a hint at the closest flag, for what is wrong.
    """
    top, commands = make_parser(words[0])
    arguments, unknown = top.parse_known_args(words)
    if unknown:
        chosen = commands[words[0]]
        chosen.error(_unknown(unknown[0], chosen._option_string_actions))
    return arguments


def make_parser(command: str | None = None) -> tuple[Parser, Mapping[str, Parser]]:
    """Return the parser of all, and those of the commands.

    Only *command* is given its options, so that not more is imported than it needs; None: all are.
    """
    top = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [serve] [options]\n       {PROGRAM} COMMAND [options]",
        description="Wyoming speech-to-text on Deepgram Flux, through a Cloudflare Worker.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", prog=PROGRAM)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, usage="%(prog)s [options]")
        if command in (None, name):
            import_module(f".{name}", __package__).add_options(sub)
            _add_settings(sub, name)
    _add_settings(top)
    return top, commands.choices


def _add_settings(parser: Parser, command: str = "") -> None:
    settings = SETTINGS.get(command, {})
    for title in GROUPS:
        members = [one for one in settings.values() if one.group == title]
        if members or title == RUNNING:
            group = parser.add_argument_group(title)
            for setting in members:
                _add(group, setting, command)
            if title == RUNNING:
                group.add_argument(
                    "-V",
                    "--version",
                    action="version",
                    version=__version__,
                    help="show the version",
                )
                group.add_argument("-h", "--help", action="help", help="show this help")


def _add(group: argparse._ArgumentGroup, setting: Setting, command: str) -> None:
    # Values stay text here: what comes from variables and files goes the same way later on.
    more: dict[str, Any] = {"metavar": _metavar(setting)}
    if setting.kind == "switch":
        more = {"action": "store_const", "const": "yes"}
    elif setting.kind == "name":
        more |= {"nargs": "?", "const": "yes"}
    elif setting.kind == "texts" and not setting.secret:
        more |= {"action": "append"}
    short = _SHORT.get(command, {}).get(setting.name)
    meant = _MEANINGS.get(command, {}).get(setting.name)
    text = _help(setting) if meant is None else "{} (default: {})".format(*meant)
    group.add_argument(
        *([short] if short else []),
        flag_of(setting),
        dest=setting.name,
        default=argparse.SUPPRESS,
        help=text.replace("%", "%%"),
        **more,
    )


def _metavar(setting: Setting) -> str:
    if setting.secret:
        return "PATH"
    if setting.metavar or setting.limits is None:
        return setting.metavar
    low, high = setting.limits
    return _UNITS.get(setting.unit) or f"{low:g}..{high:g}"


def _help(setting: Setting) -> str:
    text = f"file with {setting.help}" if setting.secret else setting.help
    if setting.choices:
        text += f": {setting.listed}"
    elif setting.kind == "texts" and not setting.secret:
        text += "; repeatable"
    usual = setting.usual
    if setting.unset:
        return f"{text} (default: {usual})"
    if isinstance(setting.default, tuple) and usual:
        return f"{text} (default: {', '.join(setting.default[:2])}, …)"
    return f"{text} (default {usual})" if usual and usual != "default" else text


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, max_help_position=32, width=100)


def _unknown(argument: str, known: Iterable[str]) -> str:
    flag = argument.partition("=")[0]
    if not flag.startswith("-"):
        return f"unexpected argument {argument!r}"
    # Not the whole argument: somebody may have tried --token=SECRET.
    if flag == "--token":
        return "a token is not taken from the command line, which others can read: use --token-file"
    begun = [one for one in known if len(flag) > 2 and one.startswith(flag)]
    close = begun[:1] or difflib.get_close_matches(flag, known, n=1)
    hint = f", did you mean {close[0]}?" if close else ""
    return f"unknown option {flag}{hint}"
