from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import ExecSpec, LoopRecord, Mount, NewLoop, Status
from loopat_jupyter.sandbox.execution import Exit
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.workspace.config import Config, ContextConfig
from loopat_jupyter.workspace.plugins import pinned_list
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

pytestmark = pytest.mark.lonely


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The person's home, without plugins of agents."""
    made = tmp_path / "person"
    made.mkdir()
    monkeypatch.setenv("HOME", str(made))
    return made


@pytest.fixture
def profiles(workspace: Workspace, home: Path) -> Path:
    """A workspace with a profile called data."""
    folder = workspace.profiles / "data"
    (folder / "skills" / "pdf").mkdir(parents=True)
    (folder / "skills" / "pdf" / "SKILL.md").write_text("a skill")
    (folder / "settings.json").write_text('{"model": "small"}')
    (folder / "CLAUDE.md").write_text("Be brief.")
    (folder / "mise.toml").write_text('[tools]\njq = "1.7"\n')
    return folder


def quiet(workspace: Workspace) -> LoopManager:
    engine = FakeEngine(lambda _: Completed(0, b"[]", ""))
    return LoopManager(workspace, Config(context=ContextConfig(use=False)), engine, member="ada")


async def test_a_loop_gets_what_its_tiers_compose_to_and_keeps_it(workspace: Workspace, profiles: Path):
    manager = quiet(workspace)
    record = await manager.make(NewLoop(title="First", profiles=("data",)))
    assert (record.profiles, record.warnings, record.plugins) == (("data",), (), False)
    assert manager.store.read(record.id) == record
    (profiles / "settings.json").write_text('{"model": "large"}')
    config = workspace.agent_config(record.id)
    assert json.loads((config / "settings.json").read_text()) == {"model": "small"}
    assert (config / "CLAUDE.md").read_text() == "# Profile data\n\nBe brief.\n"
    assert (config / "skills" / "pdf" / "SKILL.md").read_text() == "a skill"
    assert tomllib.loads(workspace.toolchain(record.id).read_text()) == {"tools": {"jq": "1.7"}}
    assert not any(path.is_symlink() for path in workspace.loop(record.id).rglob("*"))
    assert manager.describe(record, Status(state="absent")).profiles == ("data",)


async def test_an_unknown_profile_leaves_nothing(workspace: Workspace, profiles: Path):
    with pytest.raises(BadInputError, match="^profiles: ") as caught:
        await quiet(workspace).make(NewLoop(title="First", profiles=("data", "../data")))
    assert caught.value.status == 400
    assert list(workspace.loops.iterdir()) == []


async def test_a_broken_file_is_a_warning_of_a_usable_loop(workspace: Workspace, profiles: Path):
    (profiles / "mise.toml").write_text("[tools")
    record = await quiet(workspace).make(NewLoop(title="First", profiles=("data",)))
    assert len(record.warnings) == 1
    assert record.warnings[0].startswith("Profile data: mise.toml is broken")
    assert not workspace.toolchain(record.id).exists()
    assert (workspace.agent_config(record.id) / "settings.json").exists()


def give_plugins(home: Path) -> Path:
    folder = home / ".claude" / "plugins"
    (folder / "cache").mkdir(parents=True)
    (folder / "cache" / "plugin").write_text("a plugin")
    (folder / "installed_plugins.json").write_text(json.dumps({"plugin": f"{folder}/cache/plugin"}))
    return folder


async def test_the_persons_plugins_are_mounted_with_the_loops_own_list(workspace: Workspace, home: Path):
    folder = give_plugins(home)
    manager = quiet(workspace)
    record = await manager.make(NewLoop(title="First"))
    assert record.plugins
    mounts = [mount for mount in manager.sandboxes.plan(record).mounts if "plugins" in mount.target]
    pinned = str(pinned_list(workspace, record.id))
    assert mounts == [
        Mount(source=str(folder), target="/loopat/home/loopat/.claude/plugins", mode="ro"),
        Mount(source=pinned, target="/loopat/home/loopat/.claude/plugins/installed_plugins.json", mode="ro", file=True),
        Mount(source=str(folder), target=f"/loopat/loop/{record.id}/.claude/plugins", mode="ro"),
        Mount(
            source=pinned,
            target=f"/loopat/loop/{record.id}/.claude/plugins/installed_plugins.json",
            mode="ro",
            file=True,
        ),
    ]
    before = msgspec.structs.replace(record, plugins=False)
    assert not any("plugins" in mount.target for mount in manager.sandboxes.plan(before).mounts)


@pytest.mark.parametrize("thing", ["link", "dangling", "file"])
async def test_a_skeleton_that_leads_out_of_the_loop_is_not_followed(
    workspace: Workspace, home: Path, tmp_path: Path, thing: str
):
    give_plugins(home)
    outside = tmp_path / "outside"
    if thing == "link":
        outside.mkdir()
    workspace.skeleton.mkdir()
    for name in (".claude", ".config"):
        entry = workspace.skeleton / name
        entry.touch() if thing == "file" else entry.symlink_to(outside)
    record = await quiet(workspace).make(NewLoop(title="First"))
    assert not outside.exists() or list(outside.iterdir()) == []
    assert not record.plugins
    [warning] = record.warnings
    assert warning.startswith("The loop has no plugins of agents.")


async def test_a_tier_full_of_trouble_leaves_a_loop_that_can_be_read(workspace: Workspace, profiles: Path):
    for number in range(1500):
        (profiles / "skills" / f"{number}-{'x' * 200}").symlink_to("/")
    (profiles / "skills" / "loopat").touch()
    manager = quiet(workspace)
    record = await manager.make(NewLoop(title="First", profiles=("data",)))
    assert manager.store.read(record.id) == record
    assert record.warnings[-1].startswith("1481 more files of the tiers were left out")


@pytest.mark.podman
async def test_an_agent_inside_finds_its_plugins_and_what_to_know_of_loops_and_cannot_change_them(
    manager: LoopManager, home: Path
):
    give_plugins(home)
    # The person's home is looked at when a manager is made.
    config = msgspec.structs.replace(manager.config, context=ContextConfig(use=False))
    loops = LoopManager(manager.workspace, config, manager.engine, member="ada")
    record = await loops.make(NewLoop(title="Plugins"))
    command = (
        'for folder in ~/.claude "../.claude"; do cd ~- 2>/dev/null; cd "$1"; '
        'path=$(jq -r .plugin "$folder/plugins/installed_plugins.json") && cat "$path" && '
        '! touch "$folder/plugins/new" 2>/dev/null && ! cp /dev/null "$folder/plugins/installed_plugins.json"; '
        "done"
    )
    (code, out) = await run(loops, record, "bash", "-c", command, "bash", f"/loopat/loop/{record.id}/workdir")
    assert (code, out.count("a plugin")) == (0, 2)
    skill = f"/loopat/loop/{record.id}/.claude/skills/loopat/SKILL.md"
    command = 'head -2 "$1"; touch "$1" "${1%/*}/new" 2>/dev/null || echo refused; : >"${1%/*/*}/own" && echo own'
    assert await run(loops, record, "bash", "-c", command, "bash", skill) == (0, "---\nname: loopat\nrefused\nown\n")
    await loops.delete(record.id)
    assert (home / ".claude" / "plugins" / "cache" / "plugin").read_text() == "a plugin"
    assert not loops.workspace.loop(record.id).exists()


async def run(loops: LoopManager, record: LoopRecord, *argv: str) -> tuple[int, str]:
    """A command inside: its exit code, and what it wrote."""
    out = b""
    async for event in loops.exec(record, ExecSpec(argv=argv)):
        if isinstance(event, Exit):
            return event.exit_code, out.decode()
        out += event.data
    raise AssertionError
