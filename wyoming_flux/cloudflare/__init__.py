"""Putting the Worker into a Cloudflare account, for the command line and the config flow."""

from .api import MAX_ANSWER, DropToken, KeepToken, Pause, Reply, Request, Step
from .script import (
    NAME,
    Account,
    AccountNeeded,
    Deployed,
    Plan,
    Script,
    deploy,
    token_page,
    worker_source,
)

__all__ = [
    "MAX_ANSWER",
    "NAME",
    "Account",
    "AccountNeeded",
    "Deployed",
    "DropToken",
    "KeepToken",
    "Pause",
    "Plan",
    "Reply",
    "Request",
    "Script",
    "Step",
    "deploy",
    "token_page",
    "worker_source",
]
