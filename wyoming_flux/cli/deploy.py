"""``wyoming-flux deploy``: the Worker into a Cloudflare account, without Node or a clone."""

import argparse
import getpass
import http.client
import os
import shutil
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Final

from wyoming_flux.cloudflare import (
    MAX_ANSWER,
    NAME,
    Deployed,
    DropToken,
    KeepToken,
    Pause,
    Plan,
    Reply,
    Request,
    deploy,
    token_page,
    worker_source,
)
from wyoming_flux.errors import AuthFailed, InvalidSetting, WyomingFluxError, os_reason

from . import options
from .environment import Given

_API_TOKEN: Final = "CLOUDFLARE_API_TOKEN"  # noqa: S105 - the variable's name; wrangler's, too
_ACCOUNT: Final = "CLOUDFLARE_ACCOUNT_ID"
# Which flag gives a field of the plan.
_FLAGS: Final = {"name": "--name", "account_id": "--account", "subdomain": "--subdomain"}
_MAX_FILE: Final = 64 * 1024


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what this command does, and what it takes."""
    parser.description = (
        "Puts the Worker into your Cloudflare account, with a token that only you have, or brings"
        " the one that is there up to this version. Needs an API token of Cloudflare with the"
        " permissions Workers Scripts: Edit and Account Settings: Read; without one it says where"
        " to make it."
    )
    parser.epilog = (
        f"The API token can also be given as {_API_TOKEN}, the account as {_ACCOUNT}."
        " Exit codes: 0 the Worker answers, 1 it does not, 2 wrong or missing option"
    )
    group = parser.add_argument_group("what to deploy")
    group.add_argument(
        "--api-token-file", metavar="PATH", help="file with the API token of Cloudflare"
    )
    group.add_argument(
        "--account", metavar="ID", help="the account, where the API token reaches several"
    )
    group.add_argument("--name", default=NAME, help=f"the Worker's name (default {NAME})")
    group.add_argument(
        "--subdomain",
        metavar="NAME",
        default="",
        help="the name at workers.dev of a new account (default: asked for on a terminal)",
    )
    group.add_argument(
        "--token-file",
        metavar="PATH",
        help="where to write the Worker's token (default: NAME-token.txt, so flux-token.txt)",
    )
    group.add_argument(
        "--new-token",
        action="store_true",
        help="give a Worker that has a token a new one; clients with the old one stop",
    )


def run(given: argparse.Namespace, _: Given) -> int:
    """Deploy; return the exit code. Raises :class:`~wyoming_flux.errors.InvalidSetting`."""
    token_file = Path(given.token_file or f"{given.name}-token.txt")
    try:
        plan = Plan(
            name=given.name,
            account_id=(given.account or os.environ.get(_ACCOUNT, "")).strip().lower(),
            subdomain=given.subdomain.strip().lower(),
            new_token=given.new_token,
        )
        api_token = _api_token(given)
    except InvalidSetting as error:
        raise _explained(error) from None
    deployer = _Deployer(api_token, token_file)
    while True:
        try:
            return _report(deployer.run(plan), token_file)
        except InvalidSetting as error:
            asked = _ask(error)
            if not asked:
                raise _explained(error) from None
            plan = replace(plan, subdomain=asked)
        except WyomingFluxError as error:
            if deployer.wrote:
                print(f"The token in {token_file} may already be that of the Worker: keep it.")
            if isinstance(error, AuthFailed):
                print(f"This page makes an API token that may do that:\n  {token_page()}")
            return options.failed(str(error))


def _api_token(given: argparse.Namespace) -> str:
    """Return the API token from its file, the variable or the terminal."""
    if given.api_token_file is not None:
        try:
            with Path(given.api_token_file).open(encoding="utf-8") as file:
                token = file.read(_MAX_FILE).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSetting(
                "", f"--api-token-file: {given.api_token_file} cannot be read: {os_reason(error)}"
            ) from None
    elif os.environ.get(_API_TOKEN, "").strip():
        token = os.environ[_API_TOKEN].strip()
    elif sys.stdin.isatty():
        print(f"Make an API token on this page and paste it here:\n  {token_page()}")
        token = getpass.getpass("API token: ").strip()
    else:
        raise InvalidSetting(
            "",
            f"the API token is missing: make one at {token_page()} and give --api-token-file PATH,"
            f" or set {_API_TOKEN}",
        )
    # It goes into a header: nothing but what stands on Cloudflare's page.
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise InvalidSetting("", "this is no API token: it is one word of letters and digits")
    return token


def _ask(error: InvalidSetting) -> str:
    """Ask for the account's name at workers.dev if that is missing and somebody is there."""
    if error.name != "subdomain" or not sys.stdin.isatty():
        return ""
    print(f"{error}.")
    while name := input("Name at workers.dev (empty: stop): ").strip().lower():
        try:
            Plan(subdomain=name)
        except InvalidSetting as wrong:
            print(f"{wrong}.")
        else:
            return name
    return ""


def _explained(error: InvalidSetting) -> InvalidSetting:
    flag = _FLAGS.get(error.name)
    return InvalidSetting("", f"{flag}: {error}" if flag else str(error))


class _Deployer:
    """Sends what the script asks for, and keeps the Worker's token in its file."""

    def __init__(self, api_token: str, token_file: Path) -> None:
        self._api_token = api_token
        self._token_file = token_file
        self.wrote = False
        """Whether the file holds a token of this run."""

    def run(self, plan: Plan) -> Deployed:
        """Run the script to its end. Raises :class:`WyomingFluxError`."""
        script = deploy(plan, worker_source())
        answer: Reply | None = None
        purpose = ""
        try:
            while True:
                match script.send(answer):
                    case Request() as request:
                        if request.purpose != purpose:
                            purpose = request.purpose
                            print(f"{purpose[0].upper()}{purpose[1:]} …", flush=True)
                        answer = _send(request, self._api_token)
                    case Pause(seconds):
                        time.sleep(seconds)
                        answer = None
                    case KeepToken(token):
                        self._keep(token)
                        answer = None
                    case DropToken():
                        self._token_file.unlink(missing_ok=True)
                        self.wrote = False
                        answer = None
        except StopIteration as end:
            deployed: Deployed = end.value
            return deployed

    def _keep(self, token: str) -> None:
        try:
            number = os.open(self._token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise InvalidSetting(
                "",
                f"--token-file: the Worker gets a new token, and {self._token_file} is there"
                " already: move it away, or name another file",
            ) from None
        except OSError as error:
            raise InvalidSetting(
                "", f"--token-file: {self._token_file} cannot be written: {os_reason(error)}"
            ) from None
        with os.fdopen(number, "w", encoding="ascii") as file:
            file.write(f"{token}\n")
        self.wrote = True


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for the answer: what we send holds tokens."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


def _send(request: Request, api_token: str) -> Reply:
    """Send a request and return what came, within its time.

    In a thread that is given up then: neither the look-up of a name nor an answer that trickles can
    be bounded from outside.
    """
    came: list[Reply] = []
    thread = threading.Thread(
        target=lambda: came.append(_exchange(request, api_token)), daemon=True
    )
    thread.start()
    thread.join(request.timeout)
    return came[0] if came else Reply(0, f"no answer within {request.timeout:g} s".encode())


def _exchange(request: Request, api_token: str) -> Reply:
    wire = urllib.request.Request(  # noqa: S310 - the addresses are Cloudflare's, all https
        request.url, request.body, request.headers(api_token), method=request.method
    )
    try:
        with urllib.request.build_opener(_NoRedirects).open(
            wire, timeout=request.timeout
        ) as response:
            return Reply(response.status, response.read(MAX_ANSWER))
    except urllib.error.HTTPError as response:
        with response:
            return Reply(response.code, response.read(MAX_ANSWER))
    except urllib.error.URLError as error:
        reason = error.reason
        text = os_reason(reason) if isinstance(reason, OSError) else str(reason)
        return Reply(0, text.encode())
    except (OSError, http.client.HTTPException) as error:
        return Reply(0, os_reason(error).encode())


def _command_of(program: str) -> str | None:
    """Return how a person types a program's name here, None if it is not installed."""
    if shutil.which(program):
        return program
    return sys.argv[0] if Path(sys.argv[0]).name == program else None


def _report(deployed: Deployed, token_file: Path) -> int:
    print(f"{'Made' if deployed.created else 'Updated'}: {deployed.url}")
    if deployed.token is not None:
        print(f"Its token is in {token_file}, which only you can read.")
    else:
        print("Its token stays, and cannot be read there; --new-token makes another.")
    print("The API token is not needed any more: it can be deleted on Cloudflare's page.")
    if check := _command_of(options.PROGRAM):
        print("Next, to see that it hears:")
        path = token_file if token_file.exists() else "PATH"
        print(f"  {check} check --worker-url {deployed.url} --token-file {path}")
    if deployed.answers:
        return 0
    return options.failed(
        f"the Worker is uploaded, but does not answer yet ({deployed.said}); a new address can"
        " take some minutes: try the check above then"
    )
