"""profiles, project, agent: on a fake podman, and for real."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.cli.projects import with_variables
from loopat_jupyter.cli.session import Session
from loopat_jupyter.models import LoopConfig
from tests.cli.test_shell import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace
    from tests.cli.conftest import FakeCommandLine, RealCommandLine

pytestmark = pytest.mark.lonely


DEVCONTAINER = {
    "image": "example.org/dev:1",
    "containerEnv": {"GREETING": "hello"},
    "postCreateCommand": "touch made",
    "features": {},
}


def project(workspace: Workspace, loop_id: str, **values: object) -> Path:
    """A project with a devcontainer in a loop; its workdir."""
    workdir = workspace.workdir(loop_id)
    (workdir / ".devcontainer").mkdir()
    (workdir / ".devcontainer" / "devcontainer.json").write_text(json.dumps(values or DEVCONTAINER))
    return workdir


def test_profiles_are_listed(fake: FakeCommandLine) -> None:
    assert "No profiles yet" in fake("profiles").out
    folder = fake.manager.workspace.profiles / "data"
    folder.mkdir(parents=True)
    (folder / "profile.toml").write_text('description = "Data \\u001b work"')
    assert fake("profiles").out.splitlines()[1].split("  ")[0] == "data"
    assert "\x1b" not in fake("profiles").out
    assert json.loads(fake("profiles", "--json").out)["profiles"][0]["name"] == "data"


def test_a_loop_is_made_with_profiles_in_their_order(fake: FakeCommandLine) -> None:
    for name in ("a", "b"):
        (fake.manager.workspace.profiles / name).mkdir(parents=True)
    made = json.loads(fake("create", "New", "--profile", "b", "--profile", "a", "--json").out)
    assert made["profiles"] == ["b", "a"]
    refused = fake("create", "New", "--profile", "../a")
    assert (refused.code, refused.err.startswith("profiles: there is no profile '../a'")) == (2, True)


def test_a_project_is_shown_with_what_is_not_honoured(fake: FakeCommandLine) -> None:
    record = fake.manager.create(title="New")
    assert "says nothing" in fake("project", record.id).out
    assert fake("project", record.id, "--install").code == 2
    project(fake.manager.workspace, record.id)
    shown = fake("project", record.id).out
    assert "image: example.org/dev:1" in shown
    assert "$ touch made" in shown
    assert "Not honoured: features." in shown
    assert len(json.loads(fake("project", record.id, "--json").out)["files"]) == 4
    assert fake.engine.calls == []


def test_image_and_variables_are_taken_over_when_asked_for(fake: FakeCommandLine) -> None:
    record = fake.manager.create(title="New", config=LoopConfig(network="none", env={"KEPT": "1"}))
    project(fake.manager.workspace, record.id)
    assert fake("project", record.id, "--use").out.startswith("Took over its variables and image")
    changed = fake.manager.store.read(record.id)
    assert changed.image == "example.org/dev:1"
    assert changed.config == LoopConfig(network="none", env={"KEPT": "1", "GREETING": "hello"})
    assert fake("project", record.id, "--build", "--yes").code == 2


def test_a_script_is_told_the_loop_that_took_over(fake: FakeCommandLine) -> None:
    record = fake.manager.create(title="New")
    project(fake.manager.workspace, record.id)
    told = json.loads(fake("project", record.id, "--use", "--json").out)
    assert (told["id"], told["image"]) == (record.id, "example.org/dev:1")
    assert fake("project", record.id, "--install", "--json").code == 2


def test_more_variables_win() -> None:
    assert with_variables(LoopConfig(env={"a": "1", "b": "1"}), {"b": "2"}) == LoopConfig(env={"a": "1", "b": "2"})


def test_a_build_needs_a_persons_word(fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    record = fake.manager.create(title="New")
    project(fake.manager.workspace, record.id, build={"dockerfile": "Dockerfile"})
    refused = fake("project", record.id, "--build")
    assert (refused.code, "Add --yes" in refused.err) == (2, True)
    asked: list[str] = []
    monkeypatch.setattr(Session, "confirm", lambda _, question, **__: asked.append(question))
    fake("project", record.id, "--build")
    (question,) = asked
    assert question.startswith("Podman runs the instructions of .devcontainer/Dockerfile on this machine, outside the")
    monkeypatch.undo()
    assert fake("project", record.id, "--build", "--yes").err.startswith("build: there is no plain file")
    assert fake.engine.calls == []


def test_a_fixed_image_is_told_before_anything_is_asked_or_built(
    fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.manager.config = msgspec.structs.replace(fake.manager.config, fixed=("image.use",))
    record = fake.manager.create(title="New")
    workdir = project(fake.manager.workspace, record.id, build={"dockerfile": "Dockerfile"}, image="example.org/dev:1")
    (workdir / ".devcontainer" / "Dockerfile").write_text("FROM scratch")
    told = "the image is fixed by the site, for all loops. Ask who set 'image.use'"
    assert fake("project", record.id).out.count(f"Not honoured: {told}.") == 2
    assert [entry["honoured"] for entry in json.loads(fake("project", record.id, "--json").out)["files"]] == [False] * 2
    monkeypatch.setattr(Session, "confirm", lambda *_, **__: pytest.fail("asked"))
    for option in ("--build", "--use"):
        refused = fake("project", record.id, option, "--yes")
        assert (refused.code, refused.err) == (2, f"project: {told}\n")
    assert fake.engine.calls == []
    assert fake.manager.store.read(record.id).image is None


def test_variables_are_taken_over_where_the_image_is_fixed(fake: FakeCommandLine) -> None:
    fake.manager.config = msgspec.structs.replace(fake.manager.config, fixed=("image",))
    record = fake.manager.create(title="New")
    project(fake.manager.workspace, record.id)
    taken = fake("project", record.id, "--use")
    assert taken.out.startswith("Took over its variables:")
    assert taken.err == "! Not honoured: the image is fixed by the site, for all loops. Ask who set 'image.use'.\n"
    changed = fake.manager.store.read(record.id)
    assert (changed.image, changed.config.env) == (None, {"GREETING": "hello"})


@pytest.mark.podman
def test_offered_commands_run_inside(shared: RealCommandLine, workspace_of_module: Workspace, loop_id: str) -> None:
    workdir = project(
        workspace_of_module, loop_id, containerEnv={"A": "1"}, postCreateCommand="pwd && touch made && echo done"
    )
    (workdir / "pyproject.toml").write_text("[tool.nothing]")
    ran = shared("project", loop_id, "--install")
    assert ran.stdout.decode() == f"/loopat/loop/{loop_id}/workdir\ndone\n"
    assert "step 1 of 1 · pwd && touch made && echo done" in ran.stderr.decode()
    assert (workdir / "made").exists()
    (workdir / "requirements.txt").write_text("-e ./no-such-folder")
    failed = shared("project", loop_id, "--install", code=1)
    assert "exit code 1; what comes after it was not run" in failed.stderr.decode()


@pytest.mark.podman
def test_an_agent_runs_on_a_persons_terminal(
    shared: RealCommandLine, workspace_of_module: Workspace, loop_id: str
) -> None:
    workspace_of_module.config_file.write_text(
        '[[agents]]\nname = "tester"\ncommand = ["bash", "-c", "echo $LOOPAT_AGENT; exit 7"]'
    )
    terminal = Terminal(shared, "agent", loop_id, "tester")
    terminal.until("tester")
    assert terminal.end() == 7
    assert "There are: tester" in shared.here("agent", loop_id, "nobody", code=1).err
    assert "needs a terminal" in shared.here("agent", loop_id, "tester", code=2).err


@pytest.mark.podman
def test_a_toolchain_that_is_missing_is_told_on_each_terminal(real: RealCommandLine, workspace: Workspace) -> None:
    workspace.tier.mkdir()
    (workspace.tier / "mise.toml").write_text("[tools\n")
    broken = real.look("create", "Broken tier")
    assert "mise.toml is broken" in broken["warnings"][0]
    # A toolchain that no build can make: this one is no TOML either, and costs no time.
    (workspace.loop(str(broken["id"])) / "mise.toml").write_text("[tools\n")
    for _ in range(2):
        terminal = Terminal(real, "shell", str(broken["id"]))
        terminal.until(r"\x1b\[33mThe toolchain could not be built")
        terminal.until(r"\$ ")
        terminal.type("exit 3")
        assert terminal.end() == 3
    shown = real.look("show", str(broken["id"]))
    assert any("toolchain" in warning for warning in shown["warnings"])
