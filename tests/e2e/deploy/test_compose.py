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
    """Read-only, no capabilities, not root, started again; nothing of the host is mounted."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["user"] == "${SERVER_USER:-1000:1000}"
    assert not {"privileged", "cap_add", "devices", "network_mode", "pid"} & set(service)
    assert all(one.partition(":")[0] in COMPOSE["volumes"] for one in service.get("volumes", ()))


def test_the_token_is_a_file() -> None:
    """No variable holds it, which `docker inspect` would show to others."""
    service = SERVICES["wyoming-flux"]
    assert service["secrets"] == ["token"]
    assert service["environment"]["WYOMING_FLUX_TOKEN_FILE"] == "/run/secrets/token"
    assert "WYOMING_FLUX_TOKEN" not in service["environment"]
    assert COMPOSE["secrets"] == {"token": {"file": "./token"}}


def test_the_trial_is_not_started_by_itself() -> None:
    """`docker compose up` starts the server alone; the demo has a simulator and needs no token."""
    assert "profiles" not in SERVICES["wyoming-flux"]
    assert SERVICES["demo"]["profiles"] == SERVICES["simulator"]["profiles"] == ["demo"]
    assert SERVICES["demo"]["depends_on"] == ["simulator"]
    assert "secrets" not in SERVICES["demo"]


def test_no_port_is_open_twice() -> None:
    """Server and demo can run side by side, and nobody reaches the simulator from outside."""
    ports = [
        one.partition(":")[0] for service in SERVICES.values() for one in service.get("ports", ())
    ]
    assert sorted(ports) == ["10300", "10301"]
    assert "ports" not in SERVICES["simulator"]
