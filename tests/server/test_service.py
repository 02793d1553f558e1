"""What runs beside the requests, with a manager that fails in every way it can."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from loopat_jupyter.errors import BadInputError, ConfigurationError, EngineError, EngineUnavailableError
from loopat_jupyter.models import Check, Health
from loopat_jupyter.server.follower import Follower
from loopat_jupyter.server.service import LoopService
from loopat_jupyter.workspace.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class FakeManager:
    """Counts what is asked of it, and fails as told."""

    def __init__(self, failure: Exception | None = None, *, on_shutdown: str = "keep") -> None:
        self.config = Config(on_shutdown=on_shutdown)  # type: ignore[arg-type]
        self.calls: list[str] = []
        self.workspace: Any = self
        self.spared: bool | None = None
        self._failure = failure

    async def _do(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(0)
        if self._failure is not None:
            raise self._failure

    @property
    def engine(self) -> FakeManager:
        return self

    async def close(self) -> None:
        self.calls.append("close")

    @property
    def upkeep(self) -> FakeManager:
        return self

    def started_loops(self) -> list[str]:
        return []

    async def health(self, *, noted: bool) -> Health:
        await self._do("health")
        checks = (
            Check(name="podman", ok=True, detail="4.3"),
            Check(name="ids", ok=False, detail="there are none", fix="run usermod"),
        )
        return Health(ok=False, checks=checks)

    async def adopt(self) -> None:
        await self._do("adopt")

    async def keep_shared(self) -> None:
        await self._do("keep_shared")

    @property
    def edge(self) -> FakeManager:
        return self

    async def end_orphans(self) -> None:
        await self._do("end_orphans")

    async def stop_all(self, *, sparing: Callable[[], bool]) -> None:
        self.spared = sparing()
        await self._do("stop_all")

    def refresh(self) -> None:
        return

    async def watch_idle(self) -> None:
        await self._do("watch")
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def _locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where servers of the fake's workspace find each other."""
    monkeypatch.setattr(FakeManager, "locks", tmp_path / "runtime" / "locks", raising=False)
    monkeypatch.setattr(FakeManager, "runtime_root", tmp_path / "runtime", raising=False)


class FakeFollower(Follower):
    def __init__(self) -> None:
        super().__init__(lambda _: None)

    async def look(self, workspace: Any) -> None:
        return


def service(manager: FakeManager) -> LoopService:
    return LoopService(lambda: manager, FakeFollower())  # type: ignore[arg-type,return-value]


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_start_returns_at_once_and_does_everything_beside(caplog: pytest.LogCaptureFixture) -> None:
    manager = FakeManager()
    running = service(manager)
    running.start()
    assert manager.calls == []
    await turns()
    assert manager.calls == ["health", "adopt", "watch", "end_orphans", "keep_shared"]
    assert [record.getMessage() for record in caplog.records] == ["ids: there are none. To fix it: run usermod"]
    await running.stop()
    assert "stop_all" not in manager.calls


@pytest.mark.parametrize("failure", [EngineUnavailableError("no podman"), EngineError("no"), OSError("disk")])
async def test_failures_are_told_once_and_end_nothing(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    manager = FakeManager(failure)
    running = service(manager)
    running.start()
    await turns()
    await running.stop()
    assert {"health", "adopt", "watch", "end_orphans"} <= set(manager.calls)
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len([record for record in told if record.getMessage() == str(failure)]) == 1


async def test_what_nobody_foresaw_is_told_with_its_trace_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopat_jupyter.server.service.ORPHANS_S", 0)
    manager = FakeManager(RecursionError("too deep"))
    running = service(manager)
    running.start()
    await turns(100)
    assert manager.calls.count("end_orphans") > 3
    (told,) = [record for record in caplog.records if record.getMessage().startswith("Background work failed")]
    assert told.exc_info is not None
    await running.stop()


@pytest.mark.parametrize("failure", [EngineError("no"), OSError("disk")])
async def test_stopping_sandboxes_may_fail_without_keeping_the_server(failure: Exception) -> None:
    manager = FakeManager(failure, on_shutdown="stop")
    running = service(manager)
    assert running.manager is manager  # type: ignore[comparison-overlap]
    await running.stop()
    assert manager.calls == ["stop_all", "close"]


async def test_sandboxes_in_use_are_spared_while_another_server_of_the_workspace_runs() -> None:
    managers = FakeManager(on_shutdown="stop"), FakeManager(on_shutdown="stop")
    servers = [service(manager) for manager in managers]
    for server in servers:
        server.start()
    await turns()
    for manager, server in zip(managers, servers, strict=True):
        manager.calls.clear()
        await server.stop()
    assert [manager.spared for manager in managers] == [True, False]
    # What is shared is shown on, too.
    assert [manager.calls for manager in managers] == [["stop_all", "close"], ["stop_all", "close", "close"]]


@pytest.mark.parametrize("failure", [BadInputError("idle_timeout_s", "is wrong"), PermissionError("config.toml")])
async def test_a_broken_configuration_is_tried_again_and_told_once(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    mended: list[FakeManager] = []

    def make() -> Any:
        if mended:
            return mended[0]
        raise failure

    running = LoopService(make, FakeFollower())
    for _ in range(3):
        with pytest.raises(ConfigurationError, match=str(failure)):
            _ = running.manager
    running.start()
    await turns()
    assert len(caplog.records) == 1
    mended.append(FakeManager())
    assert running.manager is mended[0]  # type: ignore[comparison-overlap]
    await running.stop()


async def test_what_ends_already_is_not_cut_short() -> None:
    running = service(FakeManager())
    cleaned, begun, go_on = [], asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await go_on.wait()
            cleaned.append(True)

    task = running.spawn(work())
    await begun.wait()
    task.cancel()
    await turns()
    stopping = asyncio.ensure_future(running.stop())
    await turns()
    go_on.set()
    await stopping
    assert cleaned == [True]


@pytest.mark.parametrize(
    ("failure", "level"), [(EngineError("foreseen"), logging.INFO), (ValueError("bug"), logging.ERROR)]
)
async def test_what_fails_unseen_is_logged(failure: Exception, level: int, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise failure

    with caplog.at_level(logging.INFO):
        task = service(FakeManager()).spawn(work())
        await asyncio.wait((task,))
        await turns()
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (level, f"Background work ended: {failure}")
    ]
