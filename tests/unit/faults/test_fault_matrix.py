"""Every fault at every moment with every client, in virtual time: one right outcome, in time."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.unit.faults.matrix import CELLS, TROUBLES, Cell, Client, Moment, selection
from tests.unit.faults.stage import MemoryStage, judge, play
from wyoming_flux.settings import UtteranceSettings
from wyoming_flux.simulator.faults import KINDS, Quirk

Virtual = Callable[[Callable[[], Awaitable[Any]]], Any]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_cell(
    run_virtual: Virtual, memory_connector: Any, caplog: pytest.LogCaptureFixture, cell: Cell
) -> None:
    """The outcome is the table's, within its time; turns before and after have their own text."""
    connector = memory_connector(recognizer="coded")

    async def main() -> Any:
        return await play(cell, MemoryStage(connector, UtteranceSettings(max_turn=cell.max_turn)))

    judge(cell, run_virtual(main))
    assert not [mistake for c in connector.service.connections for mistake in c.mistakes]
    assert not [record for record in caplog.records if record.exc_info], "a traceback was logged"


def test_every_fault_of_the_simulator_is_there() -> None:
    """A fault that the simulator learns must get its row; a quirk has no moment."""
    faults = {kind for kind in KINDS.values() if not issubclass(kind, Quirk)}
    assert {type(fault) for trouble in TROUBLES for fault in trouble.faults} == faults


def test_selection_meets_all_there_is() -> None:
    """What is played over sockets has each fault, and each moment with each client."""
    cells = list(selection())
    assert {cell.trouble for cell in cells} == set(TROUBLES)
    assert len({(cell.moment, cell.client) for cell in cells}) == len(Moment) * len(Client)
    assert len(set(cells)) == len(cells)
