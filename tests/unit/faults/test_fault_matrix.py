"""Every fault at every moment with every client, in virtual time: one right outcome, in time."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.unit.faults.matrix import (
    AFTER,
    BEFORE,
    CELLS,
    INGEST,
    QUIRKS,
    STANDS_STILL,
    TROUBLES,
    Cell,
    Client,
    Moment,
    Trouble,
    selection,
)
from tests.unit.faults.stage import MemoryStage, Result, judge, play
from wyoming_flux.settings import UtteranceSettings
from wyoming_flux.simulator.faults import KINDS

WITH_A_FALLBACK = 3.0
"""Seconds that a fault may add there, besides the audio that is heard anew."""
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


@pytest.mark.slow
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_with_a_fallback_there_is_the_text(
    run_virtual: Virtual,
    memory_connector: Any,
    caplog: pytest.LogCaptureFixture,
    trouble: Trouble,
) -> None:
    """No fault of the first endpoint, at no moment, ends without the text where there is another.

    The next is asked within 1.5 s (a stall shows after half a second more), and hears all anew.
    """
    for cell in (one for one in CELLS if one.trouble == trouble):
        if cell.client is Client.DISCONNECTS:
            continue
        # Each cell has its own: what one has learnt is not known to the next.
        first, other = (memory_connector(recognizer="coded") for _ in range(2))
        turn = UtteranceSettings(max_turn=cell.max_turn)

        async def main(
            cell: Cell = cell, first: Any = first, other: Any = other, turn: Any = turn
        ) -> Result:
            return await play(cell, MemoryStage(first, turn, other))

        result = run_virtual(main)
        assert (result.text, result.code) == (cell.text, None), cell
        assert (result.before, result.after, result.extra) == (BEFORE, AFTER, []), cell
        late = STANDS_STILL * (1 + 1 / INGEST) if cell.client is Client.LATE else 0.0
        assert result.seconds <= cell.answer_at * (1 + 1 / INGEST) + late + WITH_A_FALLBACK, cell
    assert not [record for record in caplog.records if record.exc_info], "a traceback was logged"


@pytest.mark.parametrize("client", Client, ids=str)
@pytest.mark.parametrize("always", [True, False], ids=["always", "suddenly"])
@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.name)
def test_quirk(
    run_virtual: Virtual, memory_connector: Any, quirk: Trouble, always: bool, client: Client
) -> None:
    """No belief costs a sentence: an endpoint that is otherwise, always or suddenly, is heard."""
    cell = Cell(quirk, Moment.CONNECTING, client)
    connector = memory_connector(recognizer="coded", faults=quirk.faults if always else ())

    async def main() -> Any:
        return await play(cell, MemoryStage(connector, UtteranceSettings(max_turn=cell.max_turn)))

    judge(cell, run_virtual(main))


def test_every_fault_of_the_simulator_is_there() -> None:
    """A fault, or a quirk, that the simulator learns must get its row."""
    known = {type(fault) for one in (*TROUBLES, *QUIRKS) for fault in one.faults}
    assert known == set(KINDS.values())


def test_selection_meets_all_there_is() -> None:
    """What is played over sockets has each fault, and each moment with each client."""
    cells = list(selection())
    assert {cell.trouble for cell in cells} == set(TROUBLES)
    assert len({(cell.moment, cell.client) for cell in cells}) == len(Moment) * (len(Client) - 1)
    assert len(set(cells)) == len(cells)
