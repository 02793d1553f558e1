from __future__ import annotations

from typing import Any

import pytest
import yaml

from loopat_jupyter.server.handlers.health import OPENAPI_FILE


@pytest.mark.podman
async def test_health_lists_all_checks(api: Any) -> None:
    health = await api("GET", "health", request_timeout=100)
    assert health.status == 200
    assert health.body["ok"] is True
    assert "podman" in [check["name"] for check in health.body["checks"]]
    assert all(set(check) == {"name", "ok", "detail", "fix", "required"} for check in health.body["checks"])


async def test_the_description_is_served_as_it_is(api: Any) -> None:
    served = await api("GET", "openapi.yaml")
    assert (served.status, served.headers["Content-Type"]) == (200, "application/yaml")
    assert served.body == OPENAPI_FILE.read_bytes()
    assert yaml.safe_load(served.body)["openapi"] == "3.1.0"
