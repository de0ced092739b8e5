"""One run against an endpoint that records what the client decides on (``check --probe``)."""

from .findings import Findings, find
from .plan import MOST_SECONDS, Step, cost, make_plan
from .run import probe
from .summary import profile_of, summary_of

__all__ = [
    "MOST_SECONDS",
    "Findings",
    "Step",
    "cost",
    "find",
    "make_plan",
    "probe",
    "profile_of",
    "summary_of",
]
