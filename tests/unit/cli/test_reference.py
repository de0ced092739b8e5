"""The reference page says what the settings say."""

from pathlib import Path

from wyoming_flux.cli import reference

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_made_from_the_settings() -> None:
    """Whoever changes a setting makes the page anew: python -m wyoming_flux.cli.reference."""
    assert PAGE.read_text("utf-8") == reference.page()
