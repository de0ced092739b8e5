"""What a person can do about a fault of the endpoint: one sentence for each cause."""

from typing import Final

from wyoming_flux.errors import WyomingFluxError

from .endpoint import Endpoint

_ADVICE: Final = {
    "auth": "Make a new token, put it into a file, and name that with --token-file;"
    " for Cloudflare Access put the two headers of a service token into --header-file.",
    "quota": "Wait until 00:00 UTC, or use a plan with a larger allowance.",
    "payment": "Open the billing page of the account at Cloudflare or Deepgram.",
    "endpoint-not-found": "Compare --worker-url with the address that `npx wrangler deploy`"
    " printed, letter by letter.",
    "not-flux": "Check --worker-url, and --route if a proxy stands in between.",
    "refused": "Try again without key terms and thresholds to see which parameter it is.",
    "unreachable": "Check the name, the network and the firewall; then try again in a minute.",
    "timeout": "Try again; if it stays so, look at the status page of Cloudflare or Deepgram.",
    "connection-lost": "Try again; if it stays so, look at the log of the Worker"
    " (npx wrangler tail).",
    "invalid-setting": "Change this setting.",
}


def what_to_do(error: WyomingFluxError, endpoint: Endpoint) -> str | None:
    """Return a sentence or two; None where there is nothing to do."""
    advice = _ADVICE.get(error.code)
    if error.code == "auth" and endpoint.token is None and advice is not None:
        return f"No token was given. {advice}"
    return advice
