"""What the documents say of an utterance is so."""

import doctest
import importlib
import re
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


def test_the_annotated_utterance_runs() -> None:
    """The utterance in ``docs/development.md`` decides as it is written there."""
    result = doctest.testfile(str(DOCS / "development.md"), module_relative=False)
    assert result.attempted > 20
    assert result.failed == 0


def test_the_table_names_what_there_is() -> None:
    """Each situation in ``docs/turns.md`` leads to a function of a class in a file of its name."""
    table = (DOCS / "turns.md").read_text("utf-8").split("| Situation |")[1].split("\n\n")[0]
    rows = [line.rsplit("|", 2)[1] for line in table.splitlines()[2:]]
    assert len(rows) > 15
    for name in re.findall(r"`([^`]+)`", " ".join(rows)):
        if name.endswith(".py"):
            assert (DOCS.parent / "wyoming_flux" / name).exists(), name
        else:
            owner, _, method = name.rpartition(".")
            owner = owner or "Machine"
            module = importlib.import_module(f"wyoming_flux.utterance.{owner.lower()}")
            assert hasattr(getattr(module, owner), method), name
