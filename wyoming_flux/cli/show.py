"""``wyoming-flux show``: a captured utterance as a page, or a folder of them."""

import argparse
import tempfile
import webbrowser
from pathlib import Path

from wyoming_flux.errors import os_reason
from wyoming_flux.look import Entry, Turn, index_page, look_at, record_page
from wyoming_flux.utterance.record import InvalidRecord, read

from . import options
from .environment import Given

INDEX = "index.html"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what this command does, and add what it takes."""
    parser.usage = "%(prog)s FILE|FOLDER [--output PATH]"
    parser.description = (
        "Makes a page of a captured utterance, or an index with a page of each for a folder, and"
        " opens it in the browser. The pages need no network."
    )
    group = parser.add_argument_group("what to show")
    group.add_argument("path", metavar="FILE|FOLDER", help="a record (.jsonl), or a folder of them")
    group.add_argument(
        "--output",
        metavar="PATH",
        help="write the page there (of a folder: the pages into that folder), and open nothing",
    )


def run(arguments: argparse.Namespace, _: Given) -> int:
    """Make the page; return the exit code."""
    path = Path(arguments.path)
    output = None if arguments.output is None else Path(arguments.output)
    try:
        if path.is_dir():
            page = _show_folder(path, output or _temporary())
        else:
            page = output or _temporary() / f"{path.stem}.html"
            _write(page, _page_of(path, _read(path)))
    except InvalidRecord as error:
        return options.failed(f"{path}: {error}")
    except OSError as error:
        return options.failed(f"{error.filename or path}: {os_reason(error)}")
    print(page, flush=True)
    if output is None and not webbrowser.open(page.resolve().as_uri()):
        return options.failed("there is no browser here; open the page above in one")
    return 0


def _show_folder(folder: Path, output: Path) -> Path:
    entries, unreadable = [], []
    for path in sorted(folder.glob("*.jsonl"), reverse=True):
        try:
            turn = _read(path)
        except InvalidRecord as error:
            unreadable.append(f"{path.name}: {error}")
            continue
        entries.append(Entry(turn, f"{path.stem}.html"))
        _write(output / f"{path.stem}.html", _page_of(path, turn))
    if not entries and not unreadable:
        raise InvalidRecord("there is no record of an utterance in this folder")
    entries.sort(key=lambda one: str(one.turn.record.header.get("began")), reverse=True)
    _write(output / INDEX, index_page(entries, unreadable))
    return output / INDEX


def _read(path: Path) -> Turn:
    try:
        return look_at(read(path.read_text("utf-8")))
    except UnicodeDecodeError:
        raise InvalidRecord("this is no record of an utterance") from None


def _page_of(path: Path, turn: Turn) -> str:
    name = turn.record.header.get("audio")
    # Beside the record and nowhere else, whatever a record from somebody else says.
    wav = path.with_name(Path(str(name)).name) if name else None
    return record_page(turn, wav.read_bytes() if wav is not None and wav.is_file() else None)


def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="wyoming-flux-"))


def _write(path: Path, page: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, "utf-8")
