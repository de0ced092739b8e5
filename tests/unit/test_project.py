"""The project's files agree with each other, and none of them knows the machine it was made on."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

import wyoming_flux

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
VERSION = PROJECT["project"]["version"]


def test_version_of_the_package_is_the_projects() -> None:
    """`wyoming-flux --version` says what PyPI says."""
    assert wyoming_flux.__version__ == VERSION
