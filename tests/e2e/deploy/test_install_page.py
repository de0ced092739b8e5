"""docs/install.md counts its steps; README.md says the same numbers."""

import re
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
