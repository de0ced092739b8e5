"""Prints what a Home Assistant would install by itself at its first start, one requirement a line.

Runs in the environment of the Home Assistant that is asked, whichever version it is.
"""

import json
from pathlib import Path

from homeassistant import bootstrap, components
from homeassistant.auth.mfa_modules import notify, totp
from homeassistant.requirements import DISCOVERY_INTEGRATIONS

# What the configuration of tests/e2e/hass names, and what is added there; the rest is always there.
NAMED = "api config conversation assist_pipeline diagnostics repairs template wyoming"
EARLY = "isal network system_log"


def main() -> None:
    """Follow the integrations to all that they depend on."""
    folder = Path(components.__path__[0])
    waiting = {*NAMED.split(), *EARLY.split()}
    waiting |= bootstrap.CORE_INTEGRATIONS | bootstrap.DEFAULT_INTEGRATIONS
    seen: set[str] = set()
    needs = {*notify.REQUIREMENTS, *totp.REQUIREMENTS}
    while waiting:
        seen.add(domain := waiting.pop())
        manifest = json.loads((folder / domain / "manifest.json").read_text("utf-8"))
        needs.update(manifest.get("requirements", []))
        waiting |= {*manifest.get("dependencies", []), *manifest.get("after_dependencies", [])}
        waiting |= {one for one, by in DISCOVERY_INTEGRATIONS.items() if {*by} & {*manifest}}
        waiting -= seen
    print("\n".join(sorted(needs)))


if __name__ == "__main__":
    main()
