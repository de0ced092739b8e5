"""docs/install.md counts its steps, README.md too; docs/publishing.md gives another name."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/install.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"(?ms)^## (.+?)$(.+?)(?=^## |\Z)", PAGE))


def counts(text: str) -> list[str]:
    """Return the first number of the last column of the table of ways."""
    table = text.partition("Steps to the first transcript |")[2].partition("\n\n")[0]
    return [re.findall(r"\d+", row.split("|")[-2])[0] for row in table.splitlines()[2:]]


def numbered(section: str) -> int:
    """Return how many steps a list has, and that none is left out."""
    steps = [int(one) for one in re.findall(r"(?m)^(\d+)\. ", SECTIONS[section])]
    assert steps == list(range(1, len(steps) + 1))
    return len(steps)


def lines(section: str) -> int:
    """Return how many commands the first block of a section has."""
    return len(SECTIONS[section].split("```")[1].strip().splitlines())


ADD_CHOOSE_SPEAK = 3
A_COPY = 1


@pytest.mark.parametrize(
    ("way", "steps"),
    enumerate(
        [
            numbered("The integration, before it is published"),
            numbered("The Home Assistant app"),
            A_COPY + lines("A service on Raspberry Pi or any Linux") + ADD_CHOOSE_SPEAK,
            A_COPY + lines("Docker") + ADD_CHOOSE_SPEAK,
            A_COPY + lines("The command line alone"),
        ]
    ),
)
def test_the_steps_are_counted(way: int, steps: int) -> None:
    """What the tables promise is what the section asks for."""
    assert counts(PAGE)[way] == str(steps)
    assert counts((ROOT / "README.md").read_text("utf-8"))[way] == str(steps)


def test_another_name_is_one_command(tmp_path: Path) -> None:
    """The command of the page leaves nothing of the old name; images stay in small letters."""
    page = (ROOT / "docs/publishing.md").read_text("utf-8")
    (command,) = re.findall(r"`(git grep .+)`", page)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, clone], check=True)
    command = command.replace("OWNER", "Some-One").replace("NAME", "else")
    subprocess.run(["bash", "-euc", command], cwd=clone, check=True)
    old = "wyoming-flux/wyoming-flux|owner=wyoming-flux|@wyoming-flux"
    find = ["git", "grep", "-IE", old, ":!tests"]
    left = subprocess.run(find, cwd=clone, check=False, capture_output=True)
    assert left.stdout == b""
    assert "owner=Some-One&repository=else&" in (clone / "README.md").read_text("utf-8")
    assert "image: ghcr.io/some-one/else:" in (clone / "compose.yaml").read_text("utf-8")
    app = (clone / "deploy/app/config.yaml").read_text("utf-8")
    assert "image: ghcr.io/some-one/else-app\n" in app
    assert "url: https://github.com/Some-One/else\n" in app
