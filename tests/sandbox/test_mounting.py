"""What is mounted beside a loop's own folders; attacks are shown to succeed on a naive arrangement first."""

from __future__ import annotations

import datetime
import os
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopat_jupyter.errors import ConflictError, UnsafePathError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import LoopConfig, LoopRecord, Mount
from loopat_jupyter.sandbox.mounting import (
    Extra,
    Extras,
    bad_source,
    bad_target,
    check_source,
    expand,
    make_targets,
    operator_mounts,
    shared_folders,
    writable_above,
)
from loopat_jupyter.sandbox.plan import config_hash
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.workspace.config import Config, ImageConfig, MountConfig
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.vault_edits import VaultEdits
from loopat_jupyter.workspace.vaults import vaults_folder
from tests.sandbox.saying import occupy, said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.workspace.vault_keys import Seal

pytestmark = pytest.mark.lonely


HOME = "/loopat/home/loopat"
WORKSPACE = Workspace(Path("/srv/ws"), Path("/run/user/1000/loopat"))
LOOP = "0a1b2c3d-1111-2222-3333-444455556666"


@pytest.fixture
def record(workspace: Workspace) -> LoopRecord:
    made = LoopRecord(
        id=LOOP, title="T", slug="t", created_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), created_by="ada"
    )
    for folder in (workspace.workdir(LOOP), workspace.loop_home(LOOP), workspace.agent_config(LOOP)):
        folder.mkdir(parents=True)
    return made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    (made / "data").mkdir(parents=True)
    (made / "file").touch()
    return made


def mounted(workspace: Workspace, home: Path, *mounts: tuple[str, str, str], **config: object) -> Extra:
    settings = tuple(MountConfig(source=source, target=target, mode=mode) for source, target, mode in mounts)
    return operator_mounts(Config(mounts=settings, **config), home, workspace)


class TestOperator:
    def test_homes_are_those_of_either_side(self, workspace: Workspace, home: Path):
        assert mounted(
            workspace,
            home,
            ("~/data", "~/data", "ro"),
            ("$HOME/file", "${HOME}/.file", "rw"),
            (f"{home}/data", "/data", "ro"),
        ) == Extra(
            (
                Mount(source=f"{home}/data", target=f"{HOME}/data", mode="ro"),
                Mount(source=f"{home}/file", target=f"{HOME}/.file", mode="rw", file=True),
                Mount(source=f"{home}/data", target="/data", mode="ro"),
            )
        )

    def test_a_missing_source_is_skipped(self, workspace: Workspace, home: Path):
        assert mounted(workspace, home, ("~/none", "/data", "ro"), ("~/none/deeper", "/data", "ro")) == Extra()

    @pytest.mark.abuse("A2")
    @pytest.mark.parametrize(
        "source",
        [
            "data",
            "",
            "./data",
            "~other/data",
            "~/../data",
            "/srv/..",
            "~/data:/etc",
            "~/data:rw",
            "~/da\nta",
            "~/da\0ta",
            "/",
            "/proc",
            "/proc/self",
            "/sys",
            "/dev/null",
            "/run",
            "/run/podman/podman.sock",
            "/run/user",
            "/var/run/docker.sock",
            "~/podman.sock",
        ],
    )
    def test_what_would_lead_out_is_left_out_and_told(self, workspace: Workspace, home: Path, source: str):
        found = mounted(workspace, home, (source, "/data", "ro"))
        assert found.mounts == ()
        assert len(found.warnings) == 1
        assert found.warnings[0].startswith("A mount of config.toml is left out: the source ")

    @pytest.mark.parametrize("target", ["data", "", "/", "/proc/x", "/dev", "/a/../b", "/a:ro", "/loopat", HOME, "~"])
    def test_nothing_covers_the_sandbox_itself(self, workspace: Workspace, home: Path, target: str):
        found = mounted(workspace, home, ("~/data", target, "ro"))
        assert found.mounts == ()
        assert "the target" in found.warnings[0]

    def test_the_workspace_and_what_holds_it_are_nobodys(self, workspace: Workspace, home: Path):
        for path in (workspace.home, workspace.home / "members", workspace.home.parent, workspace.runtime_root):
            found = mounted(workspace, home, (str(path), "/data", "ro"))
            assert (found.mounts, len(found.warnings)) == ((), 1)

    def test_links_sockets_and_fifos_are_left_out(self, workspace: Workspace, home: Path):
        (home / "link").symlink_to("data")
        os.mkfifo(home / "fifo")
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(home / "s"))
        (home / "data" / "inner").mkdir()
        for name in ("link", "link/inner", "fifo", "s"):
            found = mounted(workspace, home, (f"~/{name}", "/data", "ro"))
            assert (found.mounts, len(found.warnings)) == ((), 1), name
        assert f"{home}/data" in mounted(workspace, home, ("~/link", "/data", "ro")).warnings[0]

    def test_one_target_has_one_source(self, workspace: Workspace, home: Path):
        found = mounted(workspace, home, ("~/data", "/data", "ro"), ("~/file", "/data", "ro"))
        assert [mount.source for mount in found.mounts] == [f"{home}/data"]
        assert "mounted twice" in found.warnings[0]

    def test_nothing_below_what_sandboxes_write(self, workspace: Workspace, home: Path):
        (home / "data" / "inner").mkdir()
        found = mounted(workspace, home, ("~/data", "/rw", "rw"), ("~/data/inner", "/inner", "ro"))
        assert [mount.target for mount in found.mounts] == ["/rw"]
        assert "which sandboxes can write" in found.warnings[0]
        # Read only, nobody could swap it.
        assert mounted(workspace, home, ("~/data", "/a", "ro"), ("~/data/inner", "/b", "ro")).warnings == ()

    @pytest.mark.abuse("A2")
    @given(st.text(max_size=30), st.text(max_size=30))
    def test_no_text_gets_around_the_rules(self, source: str, target: str):
        source, target = expand(source, "/home/ada"), expand(target, HOME)
        if bad_source(source, WORKSPACE) is None:
            assert source.startswith("/")
            assert not {"..", ":"} & {*source.split("/"), *source}
            assert not Path(source).is_relative_to("/proc")
        if bad_target(target) is None:
            assert target.startswith("/")
            assert ":" not in target


class TestVault:
    def test_entries_are_seen_in_the_home(self, workspace: Workspace, record: LoopRecord):
        extras = Extras(workspace, Config())
        VaultEdits(extras.vaults).create("ada", "default")
        folder = vaults_folder(workspace, "ada") / "default" / "mounts" / "home"
        (folder / ".ssh").mkdir()
        (folder / ".netrc").touch()
        assert extras.find(record) == Extra(
            (
                Mount(source=f"{folder}/.netrc", target=f"{HOME}/.netrc"),
                Mount(source=f"{folder}/.ssh", target=f"{HOME}/.ssh"),
            )
        )

    def test_only_those_of_the_chosen_vault_of_who_made_the_loop(self, workspace: Workspace, record: LoopRecord):
        extras = Extras(workspace, Config())
        for member, vault in (("ada", "work"), ("bob", "default")):
            VaultEdits(extras.vaults).create(member, vault)
            (vaults_folder(workspace, member) / vault / "mounts" / "home" / ".ssh").mkdir()
        assert extras.find(record) == Extra()
        chosen = msgspec.structs.replace(record, vault="work")
        assert [mount.source for mount in extras.find(chosen).mounts] == [
            str(vaults_folder(workspace, "ada") / "work" / "mounts" / "home" / ".ssh")
        ]

    def test_a_vault_that_is_gone_is_told(self, workspace: Workspace, record: LoopRecord):
        gone = msgspec.structs.replace(record, vault="gone")
        assert "vault create gone" in Extras(workspace, Config()).find(gone).warnings[0]

    def test_a_keyring_is_asked_for_the_warnings_alone(
        self, workspace: Workspace, record: LoopRecord, monkeypatch: pytest.MonkeyPatch
    ):
        """Plans are made on the event loop, where nobody must wait for a keyring."""
        extras = Extras(workspace, Config())
        edits = VaultEdits(extras.vaults)
        edits.set("ada", "default", "TOKEN", b"x")
        edits.encrypt("ada", "default", pyrage.x25519.Identity.generate(), "keyring", "")
        asked: list[Seal] = []
        monkeypatch.setattr(extras.vaults.keys, "at_hand", lambda seal: bool(asked.append(seal)))
        assert (extras.find(record), asked) == (Extra(), [])
        [warning] = extras.warnings(record)
        assert warning.startswith("Vault 'default' is locked")
        assert len(asked) == 1

    def test_the_operator_comes_first(self, workspace: Workspace, record: LoopRecord, tmp_path: Path):
        (tmp_path / "ssh").mkdir()
        config = Config(mounts=(MountConfig(source=str(tmp_path / "ssh"), target="~/.ssh"),))
        extras = Extras(workspace, config)
        VaultEdits(extras.vaults).create("ada", "default")
        (vaults_folder(workspace, "ada") / "default" / "mounts" / "home" / ".ssh").mkdir()
        found = extras.find(record)
        assert [mount.source for mount in found.mounts] == [str(tmp_path / "ssh")]
        assert "is not taken from vault 'default'" in found.warnings[0]


@pytest.mark.parametrize(
    ("source", "above"),
    [
        (f"/srv/ws/loops/{LOOP}/workdir", None),
        (f"/srv/ws/loops/{LOOP}/workdir/a", f"/srv/ws/loops/{LOOP}/workdir"),
        (f"/srv/ws/loops/{LOOP}/workdir/a/b", f"/srv/ws/loops/{LOOP}/workdir"),
        (f"/srv/ws/loops/{LOOP}/home/.ssh", f"/srv/ws/loops/{LOOP}/home"),
        (f"/srv/ws/loops/{LOOP}/.claude/x", f"/srv/ws/loops/{LOOP}/.claude"),
        (f"/srv/ws/loops/{LOOP}/context/notes", None),
        (f"/srv/ws/loops/{LOOP}/context/notes/x", f"/srv/ws/loops/{LOOP}/context/notes"),
        ("/srv/ws/members/ada/personal", None),
        ("/srv/ws/members/ada/personal/vaults/x", "/srv/ws/members/ada/personal"),
        ("/srv/ws/members/ada/vaults/work/mounts/home/.ssh", None),
        ("/srv/ws/members/ada/vaults/work/mounts/home/.ssh/x", "/srv/ws/members/ada/vaults/work/mounts/home/.ssh"),
        (f"{WORKSPACE.runtime}/0a1b2c3d1111/run", None),
        (f"{WORKSPACE.runtime}/0a1b2c3d1111/run/x", f"{WORKSPACE.runtime}/0a1b2c3d1111/run"),
        ("/mnt/shared", None),
        ("/mnt/shared/x", "/mnt/shared"),
        ("/mnt/read/x", None),
        ("/tmp/x", "/tmp"),
        ("/tmp", None),
    ],
)
def test_what_sandboxes_can_write(source: str, above: str | None):
    config = Config(
        shared_tmp=True,
        mounts=(
            MountConfig(source="/mnt/shared", target="/a", mode="rw"),
            MountConfig(source="/mnt/read", target="/b"),
        ),
    )
    shared = shared_folders(config, Path("/home/ada"))
    assert writable_above(Path(source), WORKSPACE, shared) == (Path(above) if above else None)


class TestBeforeEachStart:
    def test_what_is_as_planned_is_fine(self, workspace: Workspace, record: LoopRecord, home: Path):
        for source in (workspace.workdir(LOOP), home / "data", home / "file"):
            check_source(source, workspace, ())

    @pytest.mark.parametrize("kind", ["link", "fifo", "gone"])
    @pytest.mark.parametrize("where", ["vault", "loop", "operator"])
    def test_what_was_swapped_is_refused(
        self, workspace: Workspace, record: LoopRecord, home: Path, where: str, kind: str
    ):
        entry = vaults_folder(workspace, "ada") / "default" / "mounts" / "home" / ".ssh"
        entry.mkdir(parents=True)
        source = {"vault": entry, "loop": workspace.workdir(LOOP), "operator": home / "data"}[where]
        check_source(source, workspace, ())
        source.rmdir()
        if kind == "link":
            source.symlink_to("/etc")
        elif kind == "fifo":
            os.mkfifo(source)
        with pytest.raises(ConflictError if kind == "gone" else UnsafePathError, match=str(source)):
            check_source(source, workspace, ())

    @pytest.mark.abuse("A4")
    def test_a_hard_link_in_a_vault_is_refused(self, workspace: Workspace, home: Path):
        entry = vaults_folder(workspace, "ada") / "default" / "mounts" / "home" / ".netrc"
        entry.parent.mkdir(parents=True)
        os.link(home / "file", entry)
        # Who writes the entry, as a sandbox may, writes the file that it is a second name of.
        entry.write_text("changed")
        assert (home / "file").read_text() == "changed"
        with pytest.raises(UnsafePathError, match="is a hard link"):
            check_source(entry, workspace, ())
        # Of the operator's own files each may have as many names as they like.
        check_source(home / "file", workspace, ())

    def test_what_mounts_lie_over_is_made_for_the_user(self, workspace: Workspace, record: LoopRecord, home: Path):
        loop_home = workspace.loop_home(LOOP)
        (loop_home / "there").mkdir()
        mounts = (
            Mount(source=str(loop_home), target=HOME),
            Mount(source=str(home / "data"), target=f"{HOME}/a/b"),
            Mount(source=str(home / "file"), target=f"{HOME}/a/c"),
            Mount(source=str(home / "data"), target=f"{HOME}/there"),
            Mount(source=str(home / "data"), target=f"{HOME}/a/b/deeper"),
            Mount(source=str(home / "data"), target="/elsewhere/x"),
        )
        for _ in range(2):
            make_targets(mounts, workspace.loop(LOOP))
        assert sorted(str(path.relative_to(loop_home)) for path in loop_home.rglob("*")) == [
            "a", "a/b", "a/c", "there",
        ]  # fmt: skip
        assert (loop_home / "a" / "c").is_file()
        assert list((home / "data").iterdir()) == []

    @pytest.mark.parametrize("plant", ["link", "file", "parent"])
    def test_what_a_sandbox_planted_in_its_home_is_not_followed(
        self, workspace: Workspace, record: LoopRecord, home: Path, tmp_path: Path, plant: str
    ):
        loop_home, outside = workspace.loop_home(LOOP), tmp_path / "outside"
        outside.mkdir()
        {
            "link": lambda: (loop_home / "a").symlink_to(outside),
            "file": (loop_home / "a").touch,
            "parent": lambda: (loop_home / "a").symlink_to(outside),
        }[plant]()
        target = f"{HOME}/a/b" if plant == "parent" else f"{HOME}/a"
        mounts = (Mount(source=str(loop_home), target=HOME), Mount(source=str(home / "data"), target=target))
        with pytest.raises(ConflictError, match="Move it away"):
            make_targets(mounts, workspace.loop(LOOP))
        assert list(outside.iterdir()) == []


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder that is not below /tmp, as an operator would name one."""
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
        yield Path(folder).resolve()


def raw_podman(*arguments: str) -> str:
    ran = subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=120, check=False)
    return ran.stdout + ran.stderr


@pytest.mark.podman
class TestReal:
    @pytest.fixture
    def workspace(self, workspace_of_module: Workspace) -> Workspace:
        """These tests share a workspace, and so its network."""
        return workspace_of_module

    @pytest.fixture
    def secret(self, scratch: Path) -> Path:
        folder = scratch / "secret"
        folder.mkdir()
        (folder / "key").write_text("canary")
        return folder

    @pytest.mark.abuse("A3")
    async def test_a_sandbox_that_swaps_a_source_gets_nothing_more(
        self, workspace: Workspace, sandbox_image: str, scratch: Path, secret: Path
    ):
        shared = scratch / "shared"
        (shared / "inner").mkdir(parents=True)
        swap = f"rm -r /shared/inner; ln -s {secret} /shared/inner"
        # Naive: both are mounted as named; the sandbox swaps one inside the other, and is started again.
        name = f"loopat-naive-{os.getpid()}"
        mounts = (f"--volume={shared}:/shared", f"--volume={shared}/inner:/inner:ro")
        user = ("--userns=keep-id:uid=2000,gid=2000", "--user=2000:2000", "--init", "--network=none")
        command = ("--entrypoint=sh", sandbox_image, "-c", f"cat /inner/key 2>/dev/null || {{ {swap}; }}")
        try:
            assert raw_podman("run", f"--name={name}", *user, *mounts, *command) == ""
            assert raw_podman("start", "--attach", name) == "canary"
        finally:
            raw_podman("rm", "--force", "--time=0", name)
        # Ours, with the very same wish: the inner one is left out before and after.
        (shared / "inner").unlink()
        (shared / "inner").mkdir()
        config = Config(
            image=ImageConfig(use=sandbox_image),
            network="none",
            mounts=(
                MountConfig(source=str(shared), target="/shared", mode="rw"),
                MountConfig(source=f"{shared}/inner", target="/inner"),
            ),
        )
        manager = LoopManager(workspace, config, Podman("podman", os.environ), member="ada")
        record = manager.create(title="A loop")
        for _ in range(2):
            await manager.stop(record)
            look = f"{swap}; cat /inner/key; cat /shared/inner/key; echo looked"
            assert "looked\n" in (text := await said(manager, record, "sh", "-c", look))
            assert "canary" not in text
            warnings = (await manager.get(record.id)).warnings
            assert len(warnings) == 1
            assert "which sandboxes can write" in warnings[0]

    @pytest.mark.abuse("A3")
    async def test_a_source_swapped_after_the_plan_stops_the_start(
        self, manager: LoopManager, secret: Path, monkeypatch: pytest.MonkeyPatch
    ):
        manager.vaults.create("swapped")
        entry = manager.vaults.folder("swapped") / "mounts" / "home" / ".ssh"
        entry.mkdir()
        record = msgspec.structs.replace(manager.create(title="A loop"), vault="swapped")
        manager.store.write(record)
        assert await said(manager, record, "ls", "-A", f"{HOME}/.ssh") == ""
        await manager.stop(record)
        planned = manager.sandboxes.plan(record)
        entry.rmdir()
        entry.symlink_to(secret)
        # Whoever was planning just before.
        with monkeypatch.context() as patch:
            patch.setattr(manager.sandboxes, "plan", lambda _: planned)
            with pytest.raises(UnsafePathError, match="is a symbolic link"):
                await manager.start(record)
        # Podman alone would have started it, with the secret inside.
        raw_podman("start", planned.name)
        init = manager.sandboxes.state_files(record.id).read_pidfile()
        assert Path(f"/proc/{init}/root{HOME}/.ssh/key").read_text() == "canary"
        # From now on the link is known, and left out.
        assert (await manager.start(record)).replaced
        assert "No such file" in await said(manager, record, "cat", f"{HOME}/.ssh/key")
        (warning,) = (await manager.get(record.id)).warnings
        assert "'mounts/home/.ssh' of vault 'swapped' is a symbolic link" in warning

    async def test_who_may_see_all_loops_reads_them_and_changes_nothing(self, workspace: Workspace, sandbox_image: str):
        config = Config(image=ImageConfig(use=sandbox_image), all_loops=True, network="none")
        manager = LoopManager(workspace, config, Podman("podman", os.environ), member="ada")
        other = manager.create(title="Other")
        (workspace.workdir(other.id) / "found").write_text("out\n")
        seeing = manager.create(title="Seeing", config=LoopConfig(all_loops=True))
        command = f"cd /loopat/loops/{other.id}/workdir && ! touch found 2>/dev/null && ! sudo touch new 2>/dev/null"
        assert await said(manager, seeing, "sh", "-c", f"{command} && cat found") == "out\n"
        assert "/loopat/loops" not in {mount.target for mount in manager.sandboxes.plan(other).mounts}

    async def test_files_of_the_vault_are_seen_and_written_inside(self, manager: LoopManager):
        manager.vaults.create("work")
        manager.vaults.create("other")
        home = manager.vaults.folder("work") / "mounts" / "home"
        (home / ".ssh").mkdir()
        (home / ".ssh" / "id").write_text("key\n")
        (home / ".netrc").write_text("machine a\n")
        (manager.vaults.folder("other") / "mounts" / "home" / ".other").mkdir()
        record = manager.create(title="A loop")
        chat = manager.workspace.context(record.id, "chat")
        chat.mkdir(parents=True)
        assert await said(manager, record, "sh", "-c", "ls -A ~; ls -d /loopat/context/chat 2>/dev/null") == ""
        (chat / "monday.md").write_text("said\n")
        await manager.update(record.id, {"vault": "work"})
        record = manager.store.read(record.id)
        look = "cat ~/.ssh/id ~/.netrc; ls -A ~; cd /loopat/context/chat; ! touch x 2>/dev/null && cat monday.md"
        change = "echo new > ~/.ssh/known_hosts; echo b > ~/.netrc; sudo touch ~/.ssh/of-root"
        assert (await said(manager, record, "sh", "-c", f"{look}; {change}")).split() == [
            "key", "machine", "a", ".netrc", ".ssh", "said",
        ]  # fmt: skip
        assert (home / ".ssh" / "known_hosts").read_text() == "new\n"
        assert (home / ".netrc").read_text() == "b\n"
        # What the mounts lie over belongs to the user, who can delete the loop.
        for path in manager.workspace.loop_home(record.id).iterdir():
            assert path.stat().st_uid == os.getuid()
        await manager.delete(record.id)
        assert not manager.workspace.loop(record.id).exists()
        assert (home / ".ssh" / "known_hosts").exists()
        await manager.vaults.remove("work")
        assert {"work", "other"} & {*manager.vaults.store.names("ada")} == {"other"}

    async def test_another_vault_waits_for_a_restart_while_something_runs(self, manager: LoopManager):
        for name in ("one", "two"):
            manager.vaults.create(name)
            (manager.vaults.folder(name) / "mounts" / "home" / f".{name}").mkdir()
        record = msgspec.structs.replace(manager.create(title="A loop"), vault="one")
        manager.store.write(record)
        before = config_hash(manager.sandboxes.plan(record))
        await occupy(manager, record)
        await manager.update(record.id, {"vault": "two"})
        record = manager.store.read(record.id)
        assert config_hash(manager.sandboxes.plan(record)) != before
        assert (await manager.get(record.id)).restart_needed
        assert await said(manager, record, "ls", "-A", HOME) == ".one\n"
        await manager.start(record, fresh=True)
        assert not (await manager.get(record.id)).restart_needed
        assert ".two" in (await said(manager, record, "ls", "-A", HOME)).split()
