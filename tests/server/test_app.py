"""The extension in a server: how it is configured, and that nothing of ours keeps a server from working."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from loopat_jupyter.errors import EngineError
from loopat_jupyter.sandbox import facts
from loopat_jupyter.server.routes import ROUTES
from loopat_jupyter.upkeep import Upkeep
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.unmade import forget_unmade
from tests.jupyter_process import FACES, LEAN, settings_of_server

if TYPE_CHECKING:
    from collections.abc import Callable

SHIPPED = Path(__file__).parents[2] / "jupyter-config" / "jupyter_loopat_config.json"
OUR_SESSIONS = "loopat_jupyter.kernels.sessions.LoopSessionManager"
LOOP = "8c5a9ba2-6f3e-4c6f-9d5a-0d4f5b6c7d8e"


class TestConfiguration:
    """A process of its own, because settings of a server are global to one."""

    @pytest.fixture
    def configured(self, tmp_path: Path, workspace: Workspace) -> Any:
        folder = tmp_path / "config"
        folder.mkdir()

        def run(*arguments: str, **files: dict[str, Any]) -> dict[str, str]:
            shipped = tmp_path / "shipped"
            (shipped / "jupyter_server_config.d").mkdir(parents=True)
            (shipped / "jupyter_loopat_config.json").write_text(SHIPPED.read_text(encoding="utf-8"))
            # The faces take their time, and have no part in this.
            extensions = {"loopat_jupyter": True, "jupyter_server_terminals": True, **dict.fromkeys(FACES, False)}
            enabled = {"ServerApp": {"jpserver_extensions": extensions}}
            (shipped / "jupyter_server_config.d" / "all.json").write_text(json.dumps(enabled))
            for name, content in files.items():
                (folder / f"jupyter_{name}_config.json").write_text(json.dumps(content))
            environ = {
                **os.environ,
                "LOOPAT_HOME": str(workspace.home),
                "JUPYTER_CONFIG_DIR": str(folder),
                "JUPYTER_CONFIG_PATH": str(shipped),
                "JUPYTER_RUNTIME_DIR": str(tmp_path),
                "JUPYTER_DATA_DIR": str(tmp_path),
                "PYTHONPATH": str(LEAN),
            }
            options = ("--port=0", "--no-browser", f"--ServerApp.root_dir={tmp_path}", *arguments)
            return settings_of_server(options, environ, tmp_path)

        return run

    def test_ours_arrives(self, configured: Any) -> None:
        assert configured() == {
            "terminals": "loopat_jupyter.terminals.manager.LoopTerminalManager",
            "sessions": OUR_SESSIONS,
            "provisioner": "loopat-provisioner",
            "member": "",
        }

    def test_the_user_s_own_wins_on_the_command_line(self, configured: Any) -> None:
        assert configured(
            "--TerminalsExtensionApp.terminal_manager_class=jupyter_server_terminals.terminalmanager.TerminalManager",
            "--KernelProvisionerFactory.default_provisioner_name=local-provisioner",
            "--LoopatApp.member=ada",
        ) == {
            "terminals": "jupyter_server_terminals.terminalmanager.TerminalManager",
            "sessions": OUR_SESSIONS,
            "provisioner": "local-provisioner",
            "member": "ada",
        }

    def test_the_user_s_own_wins_in_files(self, configured: Any) -> None:
        stock = "jupyter_server_terminals.terminalmanager.TerminalManager"
        assert configured(
            server={"KernelProvisionerFactory": {"default_provisioner_name": "local-provisioner"}},
            jupyter_server_terminals={"TerminalsExtensionApp": {"terminal_manager_class": stock}},
            loopat={"LoopatApp": {"member": "ada"}},
        ) == {
            "terminals": "jupyter_server_terminals.terminalmanager.TerminalManager",
            "sessions": OUR_SESSIONS,
            "provisioner": "local-provisioner",
            "member": "ada",
        }

    def test_beside_a_gateway_the_server_s_own_for_that_arrives(self, configured: Any) -> None:
        told = configured("--gateway-url=http://127.0.0.1:1")
        assert told["sessions"] == "jupyter_server.gateway.managers.GatewaySessionManager"

    def test_or_the_user_s_own(self, configured: Any) -> None:
        stock = "jupyter_server.services.sessions.sessionmanager.SessionManager"
        told = configured("--gateway-url=http://127.0.0.1:1", server={"ServerApp": {"session_manager_class": stock}})
        assert told["sessions"] == stock


async def ask_everything(api: Any) -> dict[str, Any]:
    """The answer of every route that needs the manager."""
    answers = {}
    for route in ROUTES:
        if route.path == "/openapi.yaml":
            continue
        for verb in {"get", "post", "patch", "delete"} & set(vars(route.handler)):
            own = {"exec": {"argv": ["true"]}, "terminals": {}, "merge": {"commit": "0" * 40}}
            send = own.get(route.path.rpartition("/")[2], {"title": "a"})
            path = route.path.strip("/").replace("{loop_id}", LOOP).split("/")
            answers[f"{verb} {route.path}"] = await api(verb.upper(), *path, send=send if verb != "get" else None)
    return answers


class TestBrokenConfiguration:
    @pytest.fixture
    def jp_environ(self, jp_environ: None, workspace: Workspace) -> None:
        workspace.config_file.write_text('idle_timeout_s = "soon"\n')

    async def test_every_route_says_what_to_mend_and_jupyter_works_on(
        self, server_log: Any, started: Any, api: Any, jp_fetch: Any, workspace: Workspace
    ) -> None:
        for name, answer in (await ask_everything(api)).items():
            assert (name, answer.status, answer.body["reason"]) == (name, 503, "bad_configuration")
            assert "idle_timeout_s" in answer.body["message"]
            assert str(workspace.config_file) in answer.body["message"]
        assert (await jp_fetch("api", "contents")).code == 200
        told = [record for record in server_log.records if record.levelno >= logging.WARNING]
        assert sum("idle_timeout_s" in record.getMessage() for record in told) == 1

    async def test_mending_the_file_is_enough(self, started: Any, api: Any, workspace: Workspace) -> None:
        assert (await api("POST", "loops", send={"title": "a"})).status == 503
        workspace.config_file.write_text("idle_timeout_s = 60\n")
        assert (await api("POST", "loops", send={"title": "a"})).status == 201


class TestUnreadableConfiguration:
    @pytest.fixture
    def jp_environ(self, jp_environ: None, workspace: Workspace) -> None:
        workspace.config_file.unlink()
        workspace.config_file.mkdir()

    async def test_it_is_told(self, started: Any, api: Any) -> None:
        answer = await api("GET", "loops")
        assert (answer.status, answer.body["reason"]) == (503, "bad_configuration")


class TestUnreadableRecords:
    @pytest.fixture
    def jp_environ(self, jp_environ: None, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(_: Workspace) -> list[str]:
            raise PermissionError("not yours")

        monkeypatch.setattr(Workspace, "started_loops", fail)

    async def test_what_outlived_the_last_server_is_not_found_and_loops_work(self, api: Any) -> None:
        assert (await api("GET", "loops")).status == 200


@pytest.mark.fault("F7")
class TestNoPodman:
    @pytest.fixture
    def jp_environ(self, jp_environ: None, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOOPAT_PODMAN_BIN", "no-such-podman")
        monkeypatch.setenv("LOOPAT_SANDBOX_IMAGE", "localhost/image:latest")

    async def test_the_check_says_what_mends_it_and_nothing_is_changed(self, api: Any, workspace: Workspace) -> None:
        loop = (await api("POST", "loops", send={"title": "a"})).body["id"]
        # Podman has nothing of one that was never started.
        assert (await api("PATCH", "loops", loop, send={"title": "c"})).status == 200
        forget_unmade(workspace, loop)
        record = workspace.record(loop).read_bytes()
        health = await api("GET", "health")
        assert (health.status, health.body["ok"]) == (200, False)
        assert all(check["fix"] for check in health.body["checks"] if not check["ok"])
        for verb, send in (("PATCH", {"title": "b"}), ("DELETE", None)):
            assert (await api(verb, "loops", loop, send=send)).status == 503
        assert workspace.record(loop).read_bytes() == record
        unused = (await api("POST", "loops", send={"title": "b"})).body["id"]
        assert (await api("DELETE", "loops", unused)).status == 204

    async def test_the_log_warns_of_what_fails_here_and_not_of_what_clients_do_wrong(
        self, server_log: Any, api: Any
    ) -> None:
        loop = (await api("POST", "loops", send={"title": "a"})).body["id"]
        await api("POST", "loops", loop, "start")
        await api("POST", "loops", send={"title": ""})
        levels = {
            record.levelno: record.getMessage()
            for record in server_log.records
            if record.getMessage().startswith("POST ")
        }
        assert f"/loops/{loop}/start: " in levels[logging.WARNING]
        assert "/loops: title: " in levels[logging.INFO]

    async def test_the_log_says_what_mends_it(self, server_log: Any, started: Any) -> None:
        async with asyncio.timeout(30):
            while "apt install podman" not in server_log.text:
                await asyncio.sleep(0.05)


class TestAnotherName:
    @pytest.fixture
    def jp_environ(self, jp_environ: None, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JUPYTERHUB_USER", "ada@example.org")
        workspace.member_file.write_text("ada\n")

    async def test_the_hubs_counts_and_the_log_says_once_that_the_workspace_has_another(
        self, server_log: Any, api: Any
    ) -> None:
        made = [(await api("POST", "loops", send={"title": title})).body["created_by"] for title in "ab"]
        assert made == ["ada@example.org"] * 2
        assert server_log.text.count("calls who works here 'ada@example.org', and ") == 1


@pytest.mark.fault("F8")
class TestHangingPodman:
    @pytest.fixture
    def jp_environ(
        self, jp_environ: None, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        podman = tmp_path / "podman"
        podman.write_text("#!/bin/sh\nexec sleep 1000\n")
        podman.chmod(0o755)
        monkeypatch.setenv("LOOPAT_PODMAN_BIN", str(podman))
        monkeypatch.setenv("LOOPAT_SANDBOX_IMAGE", "localhost/image:latest")
        monkeypatch.setattr(facts, "INSPECT_TIMEOUT_S", 1.0)

    async def test_504_at_the_deadline_while_everything_else_answers(
        self, jp_serverapp: Any, api: Any, jp_fetch: Any, workspace: Workspace
    ) -> None:
        loop = (await api("POST", "loops", send={"title": "a"})).body["id"]
        forget_unmade(workspace, loop)
        hanging = asyncio.ensure_future(api("GET", "loops", loop))
        answered = 0
        while not hanging.done():
            assert (await jp_fetch("api", "contents")).code == 200
            answered += 1
            await asyncio.wait([hanging], timeout=0.02)
        answer = hanging.result()
        assert (answer.status, answer.body["reason"]) == (504, "engine_timeout")
        assert "end it" in answer.body["message"]
        assert answered > 5


class TestShutdown:
    @pytest.fixture
    def stopped(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        calls: list[str] = []

        async def stop_all(upkeep: Upkeep, *, sparing: Callable[[], bool]) -> None:
            assert not sparing()
            calls.append(upkeep._household.workspace.name)

        monkeypatch.setattr(Upkeep, "stop_all", stop_all)
        return calls

    async def test_sandboxes_are_kept_by_default(self, started: Any, api: Any, stopped: list[str]) -> None:
        await api("POST", "loops", send={"title": "a"})
        await started.extension_manager.stop_all_extensions()
        assert stopped == []

    async def test_or_stopped_on_demand(self, workspace: Workspace, started: Any, api: Any, stopped: list[str]) -> None:
        workspace.config_file.write_text('on_shutdown = "stop"\n')
        service = started.web_app.settings["loopat_service"]
        service._made = None
        await api("POST", "loops", send={"title": "a"})
        await started.extension_manager.stop_all_extensions()
        assert stopped == [workspace.name]

    async def test_kernels_end_while_podman_can_still_be_asked_and_what_fails_there_leaves_nothing_running(
        self, started: Any, api: Any
    ) -> None:
        await api("POST", "loops", send={"title": "a"})
        service, asked = started.web_app.settings["loopat_service"], []
        engine = service.manager.engine

        async def shutdown_all() -> None:
            asked.append(engine._closed.is_set())
            raise EngineError("no")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(started.kernel_manager, "shutdown_all", shutdown_all)
            with pytest.raises(EngineError):
                await started.extension_manager.stop_all_extensions()
        assert (asked, engine._closed.is_set(), service._tasks) == ([False], True, set())

    async def test_nothing_runs_on_afterwards(self, started: Any) -> None:
        before = asyncio.all_tasks()
        await started.extension_manager.stop_all_extensions()
        service = started.web_app.settings["loopat_service"]
        assert not service._tasks
        assert len(asyncio.all_tasks()) < len(before)
