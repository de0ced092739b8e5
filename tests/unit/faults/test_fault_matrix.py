"""Every fault at every moment with every client, in virtual time: one right outcome, in time."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.unit.faults.matrix import AFTER, BEFORE, CELLS, Cell, Kind, expected, is_so_far
from tests.unit.faults.stage import Result, play

Virtual = Callable[[Callable[[], Awaitable[Any]]], Any]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_cell(run_virtual: Virtual, memory_connector: Any, cell: Cell) -> None:
    """The outcome is the table's, within its time; turns before and after have their own text."""
    connector = memory_connector(recognizer="coded")
    result: Result = run_virtual(lambda: play(cell, connector))
    wanted = expected(cell)
    assert result.before == BEFORE
    assert result.after == AFTER
    assert result.extra == []
    match wanted.kind:
        case Kind.TEXT:
            assert (result.text, result.code) == (cell.text, None)
        case Kind.SO_FAR:
            assert result.code is None
            assert result.text is not None
            assert is_so_far(cell, result.text), result.text
        case Kind.ERROR:
            assert (result.text, result.code) == (None, wanted.code)
        case Kind.NOTHING:
            assert (result.text, result.code) == (None, None)
    assert result.seconds <= wanted.within
    assert not [m for c in connector.service.connections for m in c.mistakes]
