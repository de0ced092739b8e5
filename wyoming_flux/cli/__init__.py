"""The command line."""
# PYTHON_ARGCOMPLETE_OK

import difflib
import json
import logging
import os
import sys
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Final, TextIO, cast

from wyoming_flux.errors import InvalidSetting, os_reason

from . import environment, options

_LOGGER: Final = logging.getLogger(__name__)
_FOR_ALL: Final = ("-h", "--help", "-V", "--version")
_TEXT: Final = "%(asctime)s %(levelname)s %(message)s"


def main(argv: list[str] | None = None) -> int:
    """Run one command, ``serve`` if none is named; return the exit code."""
    _open_what_is_closed()
    output = _Output(sys.stdout)
    sys.stdout = cast("TextIO", output)
    code = options.ERROR
    try:
        code = _command(list(sys.argv[1:] if argv is None else argv))
        output.flush()
    except OSError:
        if output.failure is None:
            raise
    finally:
        sys.stdout = output.stream
    return code if output.failure is None else _output_failed(output.stream, output.failure)


def _command(words: list[str]) -> int:
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    if words[:1] in (["help"], ["version"]):
        words[0] = f"--{words[0]}"
    if not words or (words[0].startswith("-") and words[0] not in _FOR_ALL):
        words.insert(0, "serve")
    if not words[0].startswith("-") and words[0] not in options.COMMANDS:
        close = difflib.get_close_matches(words[0], options.COMMANDS, n=1)
        names = ", ".join(options.COMMANDS)
        hint = f", did you mean {close[0]}?" if close else f"; there are {names}"
        print(f"{options.PROGRAM}: there is no command {words[0]!r}{hint}", file=sys.stderr)
        return options.USAGE
    try:
        return _run(words)
    except SystemExit as end:
        # argparse leaves this way after --help and after a mistake.
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        return options.INTERRUPTED


class _Output:
    """Standard output that remembers that it took no more; argparse, for one, does not care."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            self.failure = error
            raise


def _open_what_is_closed() -> None:
    """Open the standard streams that a shell closed (``<&-``, ``>&-``), for they are used.

    Opened the wrong way round: whoever needs one gets an error, as at any closed file, and no
    socket of ours takes its number. What nobody can be told on standard error goes nowhere.
    """
    modes = (("stdin", os.O_WRONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY))
    for number, (name, mode) in enumerate(modes):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, mode)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _output_failed(stream: TextIO, failure: OSError) -> int:
    """Tell why standard output takes no more; return the exit code."""
    # Who has left does not want to hear of it.
    if not isinstance(failure, BrokenPipeError):
        options.failed(f"standard output: {os_reason(failure)}")
    # Python would complain once more at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return options.ERROR


def _run(words: list[str]) -> int:
    command, arguments = words[0], options.parse(words)
    given = environment.Given()
    try:
        given = environment.collect(options.SETTINGS[command], vars(arguments), os.environ)
        if "log_format" in options.SETTINGS[command]:
            quiet = given.values.get("quiet", False)
            set_up_log(
                json_lines=given.values.get("log_format") == "json",
                debug=given.values.get("debug", False),
                level=logging.WARNING if quiet or command != "serve" else logging.INFO,
                text=_TEXT if command == "serve" else f"{options.PROGRAM}: %(message)s",
            )
            for warning in environment.unknown_variables(os.environ):
                _LOGGER.warning("%s", warning)
        code: int = import_module(f".{command}", __name__).run(arguments, given)
    except InvalidSetting as error:
        print(f"{options.PROGRAM}: {given.explain(error)}", file=sys.stderr)
        return options.USAGE
    return code


def _complete() -> None:
    """Answer the shell and exit; do nothing without argcomplete (extra ``completion``).

    ``eval "$(register-python-argcomplete wyoming-flux)"`` switches it on.
    """
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(options.make_parser()[0])


def set_up_log(*, json_lines: bool, debug: bool, level: int, text: str = _TEXT) -> None:
    """Log to standard error: text for a person, or one JSON object per line.

    Never a secret, never the handshake: ``debug`` is for our own modules, not for the libraries
    below them.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if json_lines else logging.Formatter(text))
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler], force=True)
    logging.getLogger("wyoming_flux").setLevel(logging.DEBUG if debug else level)
    # What else may log at DEBUG or INFO here says nothing to whom runs a server.
    for name in ("asyncio", "websockets"):
        logging.getLogger(name).setLevel(logging.WARNING)


class _JsonFormatter(logging.Formatter):
    """One object per line: time (ISO 8601, UTC), level, logger, message; ``turn`` and ``error``."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        utterance = getattr(record, "utterance", None)
        if utterance is not None:
            fields["utterance"] = utterance
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)
