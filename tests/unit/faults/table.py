"""Writes the fault matrix into ``docs/fault-matrix.md``: ``python -m tests.unit.faults.table``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.unit.faults.matrix import CELLS, TROUBLES, Cell, Client, Kind, Moment, expected

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "fault-matrix.md"
BEGIN: Final = "<!-- matrix: made by `python -m tests.unit.faults.table`, held by the tests -->"
END: Final = "<!-- end of the matrix -->"

_TITLES: Final = {
    Client.STREAMS_ON: "The client streams on (assistants: Home Assistant, satellites)",
    Client.LATE: "The same, and our process stands still for 3.2 s (swapped out, paused, blocked)",
    Client.STOPS_FIRST: "The client stops first (push to talk, or its own end of speech)",
    Client.WHOLE_FILE: "The client sends a whole file of two turns at once",
    Client.DISCONNECTS: "The client disconnects just after the fault",
}


def render() -> str:
    """Return the matrix as Markdown: one table per client."""
    return "\n".join(_lines())


def current(document: str) -> str:
    """Return a document with its matrix replaced by today's."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{render()}\n{END}{after}"


def _lines() -> Iterator[str]:
    cells = {(cell.trouble, cell.moment, cell.client): cell for cell in CELLS}
    sides = f"{len(TROUBLES)} faults, {len(Moment)} moments, {len(Client)} clients"
    yield f"{len(CELLS)} cells: {sides}."
    for client in Client:
        yield f"\n### {_TITLES[client]}\n"
        yield f"| Fault | {' | '.join(Moment)} |"
        yield "|---" * (len(Moment) + 1) + "|"
        for trouble in TROUBLES:
            row = (_shown(cells[trouble, moment, client]) for moment in Moment)
            yield f"| {trouble.name} | {' | '.join(row)} |"
    yield ""


def _shown(cell: Cell) -> str:
    outcome = expected(cell)
    what = f"`{outcome.code}`" if outcome.kind is Kind.ERROR else str(outcome.kind)
    return f"{what} ≤ {outcome.within:.1f} s"


if __name__ == "__main__":
    DOCUMENT.write_text(current(DOCUMENT.read_text("utf-8")), "utf-8")
