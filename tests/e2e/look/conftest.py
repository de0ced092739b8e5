"""What the tests of a page's script need of others."""

import pytest

from tests.support.parts import provide


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install Node and a document without a browser if a test of this folder was selected."""
    provide("worker", session, where="/e2e/look/")
