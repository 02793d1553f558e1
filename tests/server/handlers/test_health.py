from __future__ import annotations

from typing import Any

import pytest
import yaml

from loopat_jupyter.server.handlers.health import OPENAPI_FILE


@pytest.mark.podman
@pytest.mark.lonely
async def test_health_lists_all_checks(api: Any, jp_serverapp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    health = await api("GET", "health", request_timeout=100)
    assert health.status == 200
    assert health.body["ok"] is True
    assert "podman" in [check["name"] for check in health.body["checks"]]
    assert all(set(check) == {"name", "ok", "detail", "fix", "required"} for check in health.body["checks"])
    # What podman said of itself is not asked for again: for that it calls programs for half a second.
    engine = jp_serverapp.web_app.settings["loopat_service"].manager.engine
    asked, run = [], engine.run

    async def watched(*arguments: str, **options: Any) -> Any:
        asked.append(arguments[0])
        return await run(*arguments, **options)

    monkeypatch.setattr(engine, "run", watched)
    assert (await api("GET", "health")).body["ok"] is True
    assert asked == ["version"]


async def test_the_description_is_served_as_it_is(api: Any) -> None:
    served = await api("GET", "openapi.yaml")
    assert (served.status, served.headers["Content-Type"]) == (200, "application/yaml")
    assert served.body == OPENAPI_FILE.read_bytes()
    assert yaml.safe_load(served.body)["openapi"] == "3.1.0"
