"""Puts the Worker into a Cloudflare account: what to ask and what the answers mean, without I/O.

:func:`deploy` is a script of steps. Whoever runs it sends its requests with whatever HTTP client
there is, and hands the answers back::

    script = deploy(plan, source)
    came = None
    try:
        while True:
            match script.send(came):
                case Request() as request: came = ...  # a Reply; status 0 for no answer
                case Pause(seconds): came = None  # after so many seconds
                case KeepToken(token): came = None  # once it is where it is not lost
                case DropToken(): came = None  # it was not uploaded after all
    except StopIteration as end:
        deployed = end.value

What a person has to decide first (which account, a name for its workers.dev addresses) is raised as
:class:`InvalidSetting` before anything is changed: ask, and begin again with a fuller plan.

The requests are those of wrangler 4.153 (tests/e2e/worker/test_wrangler.py runs it and compares);
an update is one upload as well, where wrangler makes a version and deploys it. The API token never
comes here: whoever sends the requests adds it with :meth:`Request.headers`.
"""

import json
import re
import secrets
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from wyoming_flux import __version__
from wyoming_flux.errors import InvalidSetting, Unreachable, WyomingFluxError, one_line

from .api import (
    API,
    DropToken,
    KeepToken,
    Pause,
    Reply,
    Request,
    Step,
    if_there,
    read_json,
    records,
    result,
    send,
)

NAME: Final = "flux"
"""What the Worker is called unless somebody says otherwise."""

# As in worker/wrangler.jsonc; a test holds them equal.
COMPATIBILITY_DATE: Final = "2026-10-20"
LIMITER: Final = {
    "name": "LIMITER",
    "type": "ratelimit",
    "namespace_id": "35835877",
    "simple": {"limit": 60, "period": 60},
}
OBSERVABILITY: Final = {"enabled": True, "redact_query_string": True}
SECRET: Final = "FLUX_TOKEN"  # noqa: S105 - the name of the secret, not its value
# What an update leaves as it is: secrets, and variables such as AI_GATEWAY_ID.
_KEPT: Final = ("plain_text", "json", "secret_text", "secret_key")

_MODULE: Final = "index.js"
# The header that only our Worker sends is in its source, also after bundling.
_OURS: Final = b"x-wyoming-flux-worker"

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ACCOUNT: Final = re.compile(r"[0-9a-f]{32}")

_TRIES: Final = 20
_TRIES_NEW_NAME: Final = 40
"""How often a Worker is asked whether it is there; a new subdomain takes minutes to be known."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account that the API token reaches."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted. Raises :class:`InvalidSetting` for what Cloudflare could not take."""

    name: str = NAME
    """The Worker's name, and the first part of its address."""
    account_id: str = ""
    """32 hexadecimal digits; empty: the only account that the API token reaches."""
    subdomain: str = ""
    """The name to register for the account's workers.dev addresses if it has none yet."""
    new_token: bool = False
    """Whether a Worker that has a token gets a new one; clients with the old one stop."""

    def __post_init__(self) -> None:
        """Check the fields."""
        if not _LABEL.fullmatch(self.name):
            raise InvalidSetting("name", f"a Worker's name has {_LETTERS}")
        if self.subdomain and not _LABEL.fullmatch(self.subdomain):
            raise InvalidSetting("subdomain", f"the name for workers.dev has {_LETTERS}")
        if self.account_id and not _ACCOUNT.fullmatch(self.account_id):
            raise InvalidSetting("account_id", "an account id has 32 hexadecimal digits")


_LETTERS: Final = "at most 63 small letters, digits and hyphens, and no hyphen at either end"


@dataclass(frozen=True, slots=True)
class Deployed:
    """How it ended: the Worker is in the account."""

    url: str
    account_id: str
    created: bool
    """Whether there was none of this name before."""
    token: str | None = field(repr=False)
    """The new token; None where the Worker kept its own."""
    answers: bool
    """Whether it was seen to answer, with its new version, within the time."""
    said: str
    """What its address said last, for a person, where it did not."""


class AccountNeeded(InvalidSetting):
    """The account is not clear; ``accounts`` are those to choose from, if Cloudflare named any."""

    def __init__(self, accounts: tuple[Account, ...]) -> None:
        """Say what to give."""
        if accounts:
            listed = ", ".join(f"{account.id} ({account.name})" for account in accounts)
            message = f"this API token reaches several accounts, choose one: {listed}"
        else:
            message = (
                "Cloudflare does not say which account this API token is for: give the account id,"
                " the 32 digits in the address of the dashboard behind dash.cloudflare.com/"
            )
        super().__init__("account_id", message)
        self.accounts = accounts


Script = Generator[Step, Reply | None, Deployed]


def token_page(name: str = "wyoming-flux") -> str:
    """Return the address of Cloudflare's page for a new API token, filled in with what we need.

    Form and keys: developers.cloudflare.com/fundamentals/api/how-to/account-owned-token-template.
    Uploading with a Workers AI binding needs no further permission than that for scripts (API
    reference of the upload, "accepted permissions").
    """
    permissions = [
        {"key": "workers_scripts", "type": "edit"},
        {"key": "account_settings", "type": "read"},
    ]
    query = {
        "permissionGroupKeys": json.dumps(permissions, separators=(",", ":")),
        "accountId": "*",
        "zoneId": "all",
        "name": name,
    }
    return f"https://dash.cloudflare.com/profile/api-tokens?{urlencode(query, quote_via=quote)}"


def worker_source() -> bytes:
    """Read the Worker's module from the wheel, or from a checkout. Blocks: it reads a file."""
    here = Path(__file__).parents[1]
    packaged = here / "worker.js"
    return (packaged if packaged.exists() else here.parent / "worker/src/index.js").read_bytes()


def deploy(
    plan: Plan, source: bytes, token_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> Script:
    """Upload ``source`` as the Worker of ``plan``, and wait until it answers.

    Raises :class:`WyomingFluxError` for what Cloudflare refuses, among them
    :class:`InvalidSetting` with the field of :class:`Plan` that has to be given or changed. A
    Worker of this name that is not ours is left alone.
    """
    account = plan.account_id or (yield from _find_account())
    workers = f"{API}/accounts/{account}/workers"
    script = f"{workers}/scripts/{plan.name}"
    there = yield from _look_at(script, plan.name)
    subdomain, registered = yield from _subdomain(workers, plan.subdomain)
    token = None
    if plan.new_token or there is None or not _lets_in(there):
        token = token_bytes(32).hex()
        yield KeepToken(token)
    body, content_type = multipart(source, token, token_bytes(16).hex())
    # What is inherited has to be there: without `strict`, what is missing is dropped silently.
    query = urlencode({"excludeScript": "true", "bindings_inherit": "strict"})
    upload = Request(
        "uploading the Worker", "PUT", f"{script}?{query}", body, content_type, timeout=60.0
    )
    try:
        yield from send(upload)
    except WyomingFluxError as error:
        # Where the connection broke nobody knows whether the Worker has it.
        if token is not None and not isinstance(error, Unreachable):
            yield DropToken()
        raise
    address = json.dumps({"enabled": True, "previews_enabled": False}).encode()
    yield from send(
        Request("turning its workers.dev address on", "POST", f"{script}/subdomain", address)
    )
    url = f"https://{plan.name}.{subdomain}.workers.dev"
    said = yield from _wait(url, registered)
    return Deployed(url, account, there is None, token, not said, said)


def metadata(token: str | None) -> dict[str, Any]:
    """Return what is uploaded beside the module; without ``token`` the Worker keeps its own."""
    bindings: list[Mapping[str, Any]] = [LIMITER, {"name": "AI", "type": "ai"}]
    if token is not None:
        bindings.insert(0, {"name": SECRET, "type": "secret_text", "text": token})
    return {
        "main_module": _MODULE,
        "bindings": bindings,
        "compatibility_date": COMPATIBILITY_DATE,
        "compatibility_flags": [],
        "keep_bindings": list(_KEPT),
        "observability": OBSERVABILITY,
    }


def multipart(source: bytes, token: str | None, boundary: str) -> tuple[bytes, str]:
    """Return the body of an upload, and its content type."""
    described = json.dumps(metadata(token)).encode()
    parts = (
        (b'name="metadata"', described),
        (
            f'name="{_MODULE}"; filename="{_MODULE}"\r\n'
            "Content-Type: application/javascript+module".encode(),
            source,
        ),
    )
    start = f"--{boundary}".encode()
    body = b"".join(
        start + b"\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + part + b"\r\n"
        for head, part in parts
    )
    return body + start + b"--\r\n", f"multipart/form-data; boundary={boundary}"


def _find_account() -> Generator[Step, Reply | None, str]:
    answer = yield from send(
        Request("looking for the account", "GET", f"{API}/accounts?per_page=50")
    )
    accounts = tuple(
        Account(str(one["id"]), one_line(str(one.get("name", ""))))
        for one in records(result(answer))
        if _ACCOUNT.fullmatch(str(one.get("id", "")))
    )
    if len(accounts) != 1:
        raise AccountNeeded(accounts)
    return accounts[0].id


def _look_at(script: str, name: str) -> Generator[Step, Reply | None, list[Any] | None]:
    """Return the bindings of the Worker that is there, None if there is none."""
    purpose = f"looking whether there is a Worker {name}"
    answer = yield from if_there(Request(purpose, "GET", f"{script}/settings"))
    if answer is None:
        return None
    # Its own code tells best: bindings can be alike, and its address may be off.
    content = yield from send(Request(purpose, "GET", f"{script}/content/v2"))
    if _OURS not in content.body:
        raise InvalidSetting(
            "name",
            f"the account has a Worker {name} that is not ours, and it is left alone:"
            " choose another name, or delete that Worker first",
        )
    settings = result(answer)
    found = settings.get("bindings") if isinstance(settings, dict) else None
    return records(found)


def _lets_in(bindings: list[Any]) -> bool:
    """Whether a Worker lets anybody in: with its token, or without one because it was told to."""
    return any(
        one.get("name") == SECRET
        or (one.get("name"), one.get("text")) == ("ALLOW_ANONYMOUS", "true")
        for one in bindings
    )


def _subdomain(workers: str, wanted: str) -> Generator[Step, Reply | None, tuple[str, bool]]:
    """Return the account's name at workers.dev, and whether it was registered just now."""
    url = f"{workers}/subdomain"
    purpose = "looking for the account's workers.dev addresses"
    answer = yield from if_there(Request(purpose, "GET", url))
    found = result(answer) if answer is not None else None
    there = found.get("subdomain") if isinstance(found, dict) else None
    if isinstance(there, str) and _LABEL.fullmatch(there):
        if wanted and wanted != there:
            message = f"the account has {there}.workers.dev already; leave this empty"
            raise InvalidSetting("subdomain", message)
        return there, False
    if not wanted:
        raise InvalidSetting(
            "subdomain",
            "the account has no workers.dev addresses yet: choose a name for them, which nobody"
            " else has (the Worker is then at https://WORKER.NAME.workers.dev)",
        )
    body = json.dumps({"subdomain": wanted}).encode()
    yield from send(Request(f"registering {wanted}.workers.dev", "PUT", url, body))
    return wanted, True


def _wait(url: str, new_name: bool) -> Generator[Step, Reply | None, str]:
    """Ask the Worker until its new version answers; return what was said last if it does not."""
    said = ""
    purpose = "waiting until it answers"
    if new_name:
        purpose += ", which takes some minutes where the name is new"
    for attempt in range(_TRIES_NEW_NAME if new_name else _TRIES):
        if attempt:
            yield Pause(min(float(attempt), 5.0))
        answer = yield Request(purpose, "GET", f"{url}/health", api=False, timeout=5.0)
        assert answer is not None  # noqa: S101 - what the script is sent for a request
        health = read_json(answer.body)
        version = health.get("version") if isinstance(health, dict) else None
        if answer.status == 200 and version == __version__:
            return ""
        if answer.status == 200 and version:
            said = f"it still answers as version {one_line(str(version))}"
        else:
            label = f"HTTP {answer.status}" if answer.status else "no answer"
            said = f"{label}: {one_line(answer.body.decode('utf-8', 'replace'))[:120]}"
    return said
