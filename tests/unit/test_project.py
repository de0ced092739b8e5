"""The project's files agree with each other, and none of them knows the machine it was made on."""

import configparser
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wyoming_flux

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
COMMANDS = [
    *("setup", "install-python", "test", "lint", "format", "lock"),
    *("image", "release", "service", "lint-workflows"),
]


def text_of(path: str) -> str:
    """Read a file of the project."""
    return (ROOT / path).read_text("utf-8")


def tracked(*patterns: str) -> list[str]:
    """List the files that git knows, as paths from the root."""
    command = ["git", "ls-files", "--", *patterns]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()


def one(pattern: str, text: str) -> str:
    """Return what all finds of a pattern have in common."""
    (found,) = set(re.findall(pattern, text))
    return str(found)


# Every place that states the version, with how to read it there. A place that is gone fails.
VERSIONS: dict[str, Callable[[], str]] = {
    "wyoming_flux/__init__.py": lambda: wyoming_flux.__version__,
    "manifest.json, version": lambda: str(
        json.loads(text_of("custom_components/wyoming_flux/manifest.json"))["version"]
    ),
    "manifest.json, requirement": lambda: next(
        requirement.removeprefix("wyoming-flux==")
        for requirement in json.loads(text_of("custom_components/wyoming_flux/manifest.json"))[
            "requirements"
        ]
        if requirement.startswith("wyoming-flux")
    ),
    "Dockerfile": lambda: one(r"(?m)^ARG BUILD_VERSION=(.+)$", text_of("Dockerfile")),
    "compose.yaml": lambda: one(r"(?m)image: ghcr\.io/.+:(.+)$", text_of("compose.yaml")),
    "worker/package.json": lambda: str(json.loads(text_of("worker/package.json"))["version"]),
    "worker/package-lock.json": lambda: str(
        json.loads(text_of("worker/package-lock.json"))["version"]
    ),
    "worker/src/index.js": lambda: re.findall(
        r"^const VERSION = \"(.+)\";$", text_of("worker/src/index.js"), re.MULTILINE
    )[0],
    "worker/package-lock.json, the package": lambda: str(
        json.loads(text_of("worker/package-lock.json"))["packages"][""]["version"]
    ),
}


@pytest.mark.parametrize("place", VERSIONS)
def test_version_is_the_same_everywhere(place: str) -> None:
    """One tag publishes the library, the integration that requires it, and the Worker."""
    assert VERSIONS[place]() == PROJECT["version"]


def test_environments_have_what_the_project_requires() -> None:
    """requirements/library.in asks for what pyproject.toml asks for, extras included."""
    extras = PROJECT["optional-dependencies"]
    declared = {*PROJECT["dependencies"], *extras["zeroconf"], *extras["completion"]}
    listed = {line for line in text_of("requirements/library.in").splitlines() if line}
    assert declared <= listed
    assert set(extras["local"]) <= set(text_of("requirements/dev.in").splitlines())
    image = {line for line in text_of("requirements/image.in").splitlines() if line}
    assert {*PROJECT["dependencies"], *extras["zeroconf"]} <= image
    assert set(extras["local"]) <= set(text_of("requirements/image-ear.in").splitlines())


@pytest.mark.parametrize("folder", ["tests/hass", "tests/e2e/hass"])
def test_folders_of_home_assistant_have_the_same_options(folder: str) -> None:
    """Their pytest.ini differs from pyproject.toml in the plugins and in markers alone."""
    given = configparser.ConfigParser()
    given.read_string(text_of(f"{folder}/pytest.ini"))
    there = dict(given["pytest"])
    here = PYPROJECT["tool"]["pytest"]["ini_options"]
    assert there["filterwarnings"].split("\n")[1:] == here["filterwarnings"]
    assert set(there["markers"].split("\n")[1:]) <= set(here["markers"])
    plugins = here["addopts"].index("-p")
    assert there["addopts"].split() == [*here["addopts"][:plugins], "-p", "tests.conftest"]
    for name in ("minversion", "timeout", "asyncio_mode", "asyncio_default_fixture_loop_scope"):
        assert there[name] == str(here[name])


def test_coverage_has_a_floor(tmp_path: Path) -> None:
    """Of both packages nothing is left out, and a run that covers less than the floor fails."""
    given = PYPROJECT["tool"]["coverage"]
    assert given["run"]["source"] == ["wyoming_flux", "custom_components"]
    assert given["run"]["branch"]
    assert not {"omit", "include"} & {*given["run"], *given["report"]}
    # A run that covers next to nothing, apart from the one that may be measured now.
    own = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    own["COVERAGE_FILE"] = str(tmp_path / "data")
    codes = []
    for command in (["run", "-m", "wyoming_flux", "--version"], ["combine", "-q"], ["report"]):
        whole = [sys.executable, "-m", "coverage", *command]
        ran = subprocess.run(whole, check=False, cwd=ROOT, env=own, capture_output=True)
        codes.append(ran.returncode)
    assert codes == [0, 0, 2]
    assert b"is less than fail-under" in ran.stdout


def test_readme_is_shown_on_pypi() -> None:
    """The project's page on PyPI is the README."""
    assert PROJECT["readme"] == "README.md"
    assert (ROOT / "README.md").is_file()


@pytest.mark.parametrize("path", tracked("requirements/*.txt"))
def test_requirements_are_pinned_hashed_and_name_no_host(path: str) -> None:
    """A lock file says what is installed, never where it came from."""
    content = text_of(path)
    assert not re.search(r"://|^\s*(--index|--extra|--find|-i |-f )", content, re.MULTILINE)
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^\s*#.*\n", "", content, flags=re.MULTILINE))
    assert entries
    for entry in entries:
        assert "==" in entry, entry
        assert "--hash=sha256:" in entry, entry


def test_npm_lock_files_name_no_host() -> None:
    """`resolved` would hold the address of whoever made the lock file."""
    paths = tracked("*package-lock.json")
    assert paths
    for path in paths:
        assert '"resolved"' not in text_of(path), path


def test_no_python_lock_file_of_another_kind() -> None:
    """uv.lock and its like record the index they were made with."""
    assert not tracked("*uv.lock", "*poetry.lock", "*pylock*.toml", "*Pipfile.lock")


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_can_be_typed_from_anywhere(command: str, tmp_path: Path) -> None:
    """Each command is executable and explains itself without doing anything."""
    script = ROOT / "script" / command
    assert os.access(script, os.X_OK)
    shown = subprocess.run(
        [script, "--help"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert shown.stdout.startswith(f"Usage: script/{command}")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """Build both distributions; the files in the wheel and in the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel_files = wheel.namelist()
    with tarfile.open(next(folder.glob("*.tar.gz"))) as sdist:
        sdist_files = [name.partition("/")[2] for name in sdist.getnames()]
    return wheel_files, sdist_files


def test_wheel_is_the_library_alone(distributions: tuple[list[str], list[str]]) -> None:
    """The wheel has all modules and py.typed, the Worker, its licence, and nothing of the rest."""
    name = f"wyoming_flux-{PROJECT['version']}.dist-info"
    files, _ = distributions
    assert {path.partition("/")[0] for path in files} == {"wyoming_flux", name}
    assert {"wyoming_flux/py.typed", "wyoming_flux/worker.js"} <= set(files)
    assert f"{name}/licenses/LICENSE" in files
    assert set(tracked("wyoming_flux/*.py")) <= set(files)


def test_source_archive_is_small(distributions: tuple[list[str], list[str]]) -> None:
    """The source archive builds the wheel: of the Worker it holds the one file that is uploaded."""
    _, files = distributions
    tops = {path.partition("/")[0] for path in files}
    assert {"wyoming_flux", "pyproject.toml", "LICENSE", "PKG-INFO"} <= tops
    assert not tops & {"custom_components", "tests", "script", "requirements", "samples"}
    assert [path for path in files if path.startswith("worker")] == ["worker/src/index.js"]
