"""compose.yaml: its services may serve and nothing else. script/docker runs it under Docker."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str) -> None:
    """Read-only, no capabilities, not root, started again; nothing of the host is mounted.

    What deploys runs once, and writes the token beside compose.yaml.
    """
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("no" if name == "deploy" else "unless-stopped")
    assert service["user"] == "${SERVER_USER:-1000:1000}"
    assert not {"privileged", "cap_add", "devices", "network_mode", "pid"} & set(service)
    mounted = {one.partition(":")[0] for one in service.get("volumes", ())}
    assert mounted <= ({"."} if name == "deploy" else set(COMPOSE["volumes"]))


def test_the_token_is_a_file() -> None:
    """No variable holds it, which `docker inspect` would show to others."""
    service = SERVICES["wyoming-flux"]
    assert service["secrets"] == ["token"]
    assert service["environment"]["WYOMING_FLUX_TOKEN_FILE"] == "/run/secrets/token"
    assert "WYOMING_FLUX_TOKEN" not in service["environment"]
    assert COMPOSE["secrets"] == {"token": {"file": "./flux-token.txt"}}


def test_the_trial_is_not_started_by_itself() -> None:
    """`docker compose up` starts the server alone; what else there is needs no token."""
    assert "profiles" not in SERVICES["wyoming-flux"]
    assert SERVICES["demo"]["profiles"] == SERVICES["simulator"]["profiles"] == ["demo"]
    assert SERVICES["demo"]["depends_on"] == ["simulator"]
    assert SERVICES["deploy"]["profiles"] == ["deploy"]
    assert [name for name, service in SERVICES.items() if "secrets" in service] == ["wyoming-flux"]


def test_no_port_is_open_twice() -> None:
    """Server and demo can run side by side, and nobody reaches the simulator from outside."""
    ports = [
        one.partition(":")[0] for service in SERVICES.values() for one in service.get("ports", ())
    ]
    assert sorted(ports) == ["10300", "10301"]
    assert "ports" not in SERVICES["simulator"]
