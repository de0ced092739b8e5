"""The matrix in the documentation is the one that the tests hold."""

from tests.unit.faults.table import BEGIN, DOCUMENT, END, current


def test_document_is_current() -> None:
    """``docs/fault-matrix.md`` has today's matrix; the command in it makes it anew."""
    document = DOCUMENT.read_text("utf-8")
    assert document.count(BEGIN) == document.count(END) == 1
    assert document == current(document), "run .venv/bin/python -m tests.unit.faults.table"
