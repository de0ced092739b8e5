"""``check --probe FOLDER``: records what an endpoint does, for an issue and as a test."""

import json
import sys
from pathlib import Path
from typing import Any, TextIO

from wyoming_flux.errors import InvalidSetting, os_reason
from wyoming_flux.flux import Endpoint
from wyoming_flux.flux.probe import cost, find, make_plan, probe, profile_of, summary_of
from wyoming_flux.flux.probe.plan import Step
from wyoming_flux.settings import FluxSettings

from . import interrupt, options


def run(endpoint: Endpoint, flux: FluxSettings, folder: str, *, yes: bool) -> int:
    """Ask, probe, write three files into a new folder; return the exit code.

    Raises :class:`InvalidSetting` where the folder cannot be used.
    """
    steps = make_plan(flux)
    minutes, dollars = cost(steps, endpoint.route)
    said = (
        f"This sends at most {minutes:.1f} minutes of audio to {endpoint.host}, about"
        f" ${dollars:.3f}, on {len(steps)} streams or a few more; it takes some two minutes."
    )
    print(said, file=sys.stderr, flush=True)
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidSetting("", "--probe asks on a terminal; without one add --yes")
        print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
            return options.failed("nothing was sent")
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with (place / "records.jsonl").open("x", encoding="utf-8") as file:
            records = interrupt.run(_record(endpoint, steps, file))
    except FileExistsError:
        raise InvalidSetting(
            "", f"--probe: {place} has the records of a probe already: name another folder"
        ) from None
    except OSError as error:
        raise InvalidSetting(
            "", f"--probe: {place} cannot be written: {os_reason(error)}"
        ) from None
    return _finish(place, records)


async def _record(
    endpoint: Endpoint, steps: tuple[Step, ...], file: TextIO
) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []

    def take(record: dict[str, Any]) -> None:
        # At once, so that a run that is broken off is not lost; some bytes, so in the loop.
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
        records.append(record)
        if record["event"] == "opening":
            print(f"  {record['step']}", file=sys.stderr, flush=True)

    await probe(endpoint, steps, take)
    return records


def _finish(place: Path, records: list[dict[str, Any]]) -> int:
    found = find(records)
    summary = summary_of(found)
    (place / "summary.md").write_text(summary, "utf-8")
    print(summary, flush=True)
    try:
        profile = profile_of(found)
    except ValueError as error:
        return options.failed(str(error))
    text = json.dumps(profile, indent=2, ensure_ascii=False) + "\n"
    (place / "profile.json").write_text(text, "utf-8")
    print(f"Written to {place}: records.jsonl, summary.md, profile.json", file=sys.stderr)
    return 0
