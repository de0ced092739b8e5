"""``wyoming-flux replay``: a captured utterance through the machine of today."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wyoming_flux.errors import os_reason
from wyoming_flux.utterance.record import InvalidRecord, read
from wyoming_flux.utterance.replay import differences

from . import options
from .environment import Given


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what this command does, and add what it takes."""
    parser.usage = "%(prog)s FILE..."
    parser.description = (
        "Gives what a record says was heard to this program once more, and prints where it now"
        " decides otherwise."
    )
    parser.epilog = "exit codes: 0 all the same, 1 something differs, or a file is no record"
    group = parser.add_argument_group("what to replay")
    group.add_argument("files", nargs="+", metavar="FILE", help="record of an utterance (.jsonl)")


def run(arguments: argparse.Namespace, _: Given) -> int:
    """Replay each file; return the exit code."""
    codes = [_replay(name) for name in arguments.files]
    return max(codes)


def _replay(name: str) -> int:
    try:
        record = read(Path(name).read_text("utf-8"))
    except InvalidRecord as error:
        return options.failed(f"{name}: {error}")
    except UnicodeDecodeError:
        return options.failed(f"{name}: this is no record of an utterance")
    except OSError as error:
        return options.failed(f"{name}: cannot be read: {os_reason(error)}")
    found = differences(record)
    if not found:
        print(f"{name}: the same, {sum(1 for _ in record.outputs)} decisions")
        return 0
    print(f"{name}: {len(found)} decisions differ")
    for one in found:
        print(f"  recorded  {_line(one.recorded)}")
        print(f"  now       {_line(one.replayed)}")
    return options.ERROR


def _line(decision: Mapping[str, Any] | None) -> str:
    if decision is None:
        return "nothing"
    rest = {name: value for name, value in decision.items() if name not in ("t", "out")}
    return f"{decision['t']:8.4f} s  {decision['out']}  {json.dumps(rest, ensure_ascii=False)}"
