"""What a person can do about a fault of the endpoint: one sentence for each cause."""

from typing import Final

from wyoming_flux.errors import LoginNeeded, WyomingFluxError

from .endpoint import Endpoint

_ADVICE: Final = {
    "auth": "Put the right token into the file that --token-file names.",
    "quota": "Wait until 00:00 UTC, or use a plan with a larger allowance.",
    "payment": "Open the billing page of the account at Cloudflare or Deepgram.",
    "endpoint-not-found": "Compare --worker-url, letter by letter, with the address that"
    " `wyoming-flux deploy` or wrangler printed.",
    "not-flux": "Check --worker-url, and --route if a proxy stands in between.",
    "refused": "Try again without key terms and thresholds to see which parameter it is.",
    "unreachable": "Check the name, the network and the firewall; then try again in a minute.",
    "timeout": "Try again; if it stays so, look at the status page of Cloudflare or Deepgram.",
    "connection-lost": "Try again; if it stays so, look at the log of the Worker"
    " (npx wrangler tail).",
    "invalid-setting": "Change this setting.",
}


_NONE_GIVEN: Final = "No token was given: put it into a file, and name that with --token-file."
_LOGIN: Final = (
    "Put the two headers of a service token of Cloudflare Access into a file, and name that with"
    " --header-file."
)


def what_to_do(error: WyomingFluxError, endpoint: Endpoint) -> str | None:
    """Return a sentence; None where there is nothing to do."""
    if isinstance(error, LoginNeeded):
        return _LOGIN
    if error.code == "auth" and endpoint.token is None:
        return _NONE_GIVEN
    return _ADVICE.get(error.code)
