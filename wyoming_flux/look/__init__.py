"""A record as a page: what was said, what was decided and when, in words and pictures."""

from .page import Entry, index_page, record_page
from .turn import Turn, look_at

__all__ = ["Entry", "Turn", "index_page", "look_at", "record_page"]
