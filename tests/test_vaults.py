"""Credentials on their way from the vault to a process, and where else they must never be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import keyring
import keyring.backends.fail
import msgspec
import pytest

from loopat_jupyter.errors import BadInputError, ConflictError, LockedVaultError, LoopatError, NotFoundError
from loopat_jupyter.kernels.launch import Place, SandboxKernel
from loopat_jupyter.kernelspecs import Registry
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import ExecSpec, NewLoop
from loopat_jupyter.sandbox.execution import Exit, Output
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sandbox.process import is_init
from loopat_jupyter.vaults import Vault
from loopat_jupyter.workspace.config import Config, ContextConfig, VaultConfig
from tests.fakes import FakeEngine
from tests.small_kernels import add_small_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.models import LoopEvent, LoopRecord
    from loopat_jupyter.workspace.paths import Workspace

pytestmark = pytest.mark.lonely


CANARY = "Kanarienvogel4711"
SOUGHT = "Kanarienvogel471[1]"
"""A pattern that finds the canary, and not the command that looks for it."""


@pytest.fixture
def quiet(workspace: Workspace, tmp_path: Path) -> LoopManager:
    """A manager over a podman that has nothing."""
    engine = FakeEngine(lambda arguments: Completed(int(arguments[:2] == ("container", "exists")), b"[]", ""))
    config = Config(vault=VaultConfig(identity=str(tmp_path / "identity.txt")), context=ContextConfig(use=False))
    return LoopManager(workspace, config, engine, member="ada")


def test_a_list_has_names_and_no_value(quiet: LoopManager):
    assert quiet.vaults.listed() == ()
    quiet.vaults.create("work")
    quiet.vaults.set("work", "TOKEN", CANARY.encode())
    (quiet.vaults.folder("work") / "mounts" / "home" / ".ssh").mkdir()
    quiet.vaults.set("default", "OTHER", b"x")
    assert quiet.vaults.listed() == (
        Vault(name="default", variables=("OTHER",), home=(), encrypted=False, locked=False, warnings=()),
        Vault(name="work", variables=("TOKEN",), home=(".ssh",), encrypted=False, locked=False, warnings=()),
    )
    quiet.vaults.unset("work", "TOKEN")
    assert quiet.vaults.show("work").variables == ()


def test_a_damaged_vault_is_listed_with_what_is_wrong(quiet: LoopManager):
    quiet.vaults.create("work")
    (quiet.vaults.folder("work") / "vault.json").write_text("{")
    (vault,) = quiet.vaults.listed()
    assert "is damaged" in vault.warnings[0]


async def test_a_new_loop_has_the_vault_that_was_asked_for(quiet: LoopManager):
    quiet.vaults.create("work")
    assert (await quiet.make(NewLoop(title="a"))).vault == "default"
    record = await quiet.make(NewLoop(title="b", vault="work"))
    assert quiet.store.read(record.id).vault == "work"
    for name in ("none", "../work", "Work", "-v", "a\0", "x" * 300):
        with pytest.raises(BadInputError, match=r"^vault: "):
            await quiet.make(NewLoop(title="c", vault=name))
        with pytest.raises(BadInputError, match=r"^vault: "):
            await quiet.update(record.id, {"vault": name})
    assert len(list(quiet.workspace.loops.iterdir())) == 2
    assert (await quiet.update(record.id, {"vault": "default"})).vault == "default"


async def test_a_vault_in_use_is_kept_unless_forced(quiet: LoopManager):
    quiet.vaults.create("work")
    record = await quiet.make(NewLoop(title="Sales", vault="work"))
    with pytest.raises(ConflictError, match="used by 'Sales'"):
        await quiet.vaults.remove("work")
    await quiet.vaults.remove("work", force=True)
    assert quiet.vaults.listed() == ()
    assert quiet.vaults.variables(record) == {}
    shown = await quiet.get(record.id)
    assert shown.vault_missing
    assert "no vault 'work'" in shown.warnings[0]
    with pytest.raises(NotFoundError):
        await quiet.vaults.remove("work")
    with pytest.raises(BadInputError, match=r"^name: "):
        await quiet.vaults.remove("../loops")


async def test_no_copy_of_a_key_stays_when_its_vault_goes(quiet: LoopManager, workspace: Workspace):
    quiet.vaults.create("work")
    folder = quiet.vaults.folder("work") / "mounts" / "home" / ".ssh"
    folder.mkdir()
    (folder / "id_ed25519").write_bytes(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    record = await quiet.make(NewLoop(title="a", vault="work"))
    assert quiet.cargo.access(record).identity_files
    await quiet.vaults.remove("work", force=True)
    assert list((workspace.runtime / "keys").iterdir()) == []


def test_the_variables_are_those_of_who_made_the_loop(quiet: LoopManager, workspace: Workspace):
    quiet.vaults.set("default", "TOKEN", b"of ada")
    other = LoopManager(workspace, quiet.config, quiet.engine, member="bob")
    other.vaults.set("default", "TOKEN", b"of bob")
    record = quiet.create(title="a")
    for manager in (quiet, other):
        assert manager.vaults.variables(record) == {"TOKEN": "of ada"}


async def test_what_was_asked_for_wins(quiet: LoopManager):
    quiet.vaults.set("default", "A", b"vault")
    quiet.vaults.set("default", "B", b"vault")
    spec = ExecSpec(argv=("true",), env={"B": "asked", "C": "asked"})
    equipped = await quiet.vaults.equipped(quiet.create(title="a"), spec)
    assert equipped.env == {"A": "vault", "B": "asked", "C": "asked"}
    assert spec.env == {"B": "asked", "C": "asked"}


async def test_a_locked_vault_gives_nothing_and_says_so_once(
    quiet: LoopManager, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    quiet.vaults.set("default", "TOKEN", CANARY.encode())
    assert quiet.vaults.encrypt("default", "file") == Vault(
        name="default", variables=("TOKEN",), home=(), encrypted=True, locked=False, warnings=()
    )
    record = quiet.create(title="a")
    assert quiet.vaults.variables(record) == {"TOKEN": CANARY}
    assert (await quiet.get(record.id)).warnings == ()
    (tmp_path / "identity.txt").rename(tmp_path / "elsewhere.txt")
    assert quiet.vaults.show("default").locked
    for _ in range(3):
        assert quiet.vaults.variables(record) == {}
    assert [entry.levelno for entry in caplog.records] == [logging.WARNING]
    (warning,) = (await quiet.get(record.id)).warnings
    assert warning == caplog.records[0].message
    assert "'default' is locked" in warning
    # Whoever has the public half can add one all the same.
    quiet.vaults.set("default", "LATER", b"x")
    (tmp_path / "elsewhere.txt").rename(tmp_path / "identity.txt")
    assert quiet.vaults.variables(record) == {"LATER": "x", "TOKEN": CANARY}
    assert (await quiet.get(record.id)).warnings == ()
    assert not quiet.vaults.decrypt("default").encrypted


async def test_a_passphrase_opens_for_one_process_or_for_the_login(
    quiet: LoopManager, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, light_passphrases: None
):
    monkeypatch.setattr(keyring, "get_keyring", keyring.backends.fail.Keyring)
    quiet.vaults.set("default", "TOKEN", CANARY.encode())
    with pytest.raises(BadInputError, match=r"^passphrase: "):
        quiet.vaults.encrypt("default", "passphrase")
    quiet.vaults.encrypt("default", "passphrase", "open sesame")
    record = quiet.create(title="a")
    assert quiet.vaults.asks_passphrase("default")
    with pytest.raises(LockedVaultError):
        quiet.vaults.open("default", "wrong")
    # Without a keyring nothing is unlocked for others, and the message says what else there is.
    with pytest.raises(NotFoundError, match="--key file"):
        quiet.vaults.unlock("default", "open sesame")
    fresh = LoopManager(workspace, quiet.config, quiet.engine, member="ada")
    assert fresh.vaults.variables(record) == {}
    fresh.vaults.open("default", "open sesame")
    assert (await fresh.vaults.equipped(record, ExecSpec(argv=("x",)))).env == {"TOKEN": CANARY}
    assert not fresh.vaults.asks_passphrase("default")
    everything = [path for path in workspace.home.rglob("*") if path.is_file()]
    assert not [path for path in everything if CANARY.encode() in path.read_bytes()]
    assert not [path for path in everything if b"AGE-SECRET-KEY" in path.read_bytes()]


def test_only_a_passphrase_can_be_locked_again(quiet: LoopManager):
    quiet.vaults.create("work")
    with pytest.raises(ConflictError, match="not locked"):
        quiet.vaults.lock("work")


async def ran(manager: LoopManager, record: LoopRecord, *argv: str, env: dict[str, str] | None = None) -> bytes:
    """What a command prints in a loop."""
    events = [event async for event in manager.exec(record, ExecSpec(argv=argv, env=env or {}))]
    assert isinstance(events[-1], Exit)
    return b"".join(event.data for event in events if isinstance(event, Output))


def podman(*arguments: str) -> str:
    ran = subprocess.run(["podman", *arguments], capture_output=True, timeout=120, check=False)
    return (ran.stdout + ran.stderr).decode("utf-8", "replace")


def command_lines() -> str:
    """The arguments of every process of this machine."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                found.append((folder / "cmdline").read_bytes().decode("utf-8", "replace"))
    return "\n".join(found)


@pytest.mark.podman
class TestReal:
    async def test_any_value_reaches_a_command_and_neither_a_change_nor_a_lock_needs_a_new_container(
        self, manager: LoopManager, tmp_path: Path
    ):
        config = msgspec.structs.replace(manager.config, vault=VaultConfig(identity=str(tmp_path / "identity.txt")))
        manager = LoopManager(manager.workspace, config, manager.engine, member="ada")
        record = manager.create(title="A loop")
        values = {
            "LINES": b"a\nb\n\nc",
            "RAW": bytes(range(1, 256)).rstrip(b"\n"),
            "EMPTY": b"",
            "QUOTE": b"'\"$(x) `y` \\",
        }
        for name, value in values.items():
            manager.vaults.set("default", name, value)
        script = "import os,sys; sys.stdout.buffer.write(b'\\0'.join(os.environb[n.encode()] for n in sys.argv[1:]))"
        arrived = (await ran(manager, record, "python3", "-c", script, *values)).split(b"\0")
        assert dict(zip(values, arrived, strict=True)) == values
        container = manager.sandboxes.state_files(record.id).running().pid
        manager.vaults.set("default", "QUOTE", b"new")
        assert await ran(manager, record, "printenv", "QUOTE") == b"new\n"
        assert await ran(manager, record, "printenv", "QUOTE", env={"QUOTE": "asked"}) == b"asked\n"
        manager.vaults.unset("default", "QUOTE")
        assert await ran(manager, record, "printenv", "QUOTE") == b""
        assert is_init(container)
        assert not (await manager.get(record.id)).restart_needed
        # A locked loop is used without secrets.
        manager.vaults.encrypt("default", "file")
        assert await ran(manager, record, "printenv", "LINES") == values["LINES"] + b"\n"
        (tmp_path / "identity.txt").unlink()
        assert await ran(manager, record, "printenv", "LINES") == b""
        assert "is locked" in (await manager.get(record.id)).warnings[0]
        assert is_init(container)

    @pytest.mark.abuse("A11")
    async def test_no_loop_sees_what_another_has(self, manager: LoopManager, sandbox_image: str):
        config = msgspec.structs.replace(manager.config, context=ContextConfig(use=False))
        manager = LoopManager(manager.workspace, config, manager.engine, member="ada")
        for name in ("a", "b"):
            manager.vaults.create(name)
            manager.vaults.set(name, "TOKEN", f"{CANARY}-{name}".encode())
            home = manager.vaults.folder(name) / "mounts" / "home" / ".ssh"
            home.mkdir()
            (home / "id").write_text(f"{CANARY}-{name}")
        one = await manager.make(NewLoop(title="one", vault="a"))
        other = await manager.make(NewLoop(title="other", vault="b"))
        await manager.start(other)
        running = manager.exec(other, ExecSpec(argv=("bash", "-c", "echo up > ~/private; echo up; sleep 300")))
        await anext(running)
        foreign = [
            manager.vaults.folder("b"),
            manager.workspace.workdir(other.id),
            manager.workspace.loop_home(other.id) / "private",
            manager.workspace.run(other.id),
        ]
        look = (
            "for path in {0}; do sudo ls -d $path; done; sudo grep -rsl {1} {2} | sort -u; grep -sl {1} /proc/*/environ"
        )
        script = look.format(" ".join(map(str, foreign)), f"{SOUGHT}-b", "/loopat /home /root /tmp /run /srv /mnt")
        # Naive: the whole workspace and its sockets mounted where it is.
        workspace = manager.workspace.home
        naive = (
            "run",
            "--rm",
            "--network=none",
            "--user=0",
            f"--volume={workspace}:{workspace}",
            f"--volume={manager.workspace.runtime}:{manager.workspace.runtime}",
            "--entrypoint=bash",
            sandbox_image,
        )
        paths = list(map(str, foreign))
        found = podman(*naive, "-c", f"ls -d {' '.join(paths)}; cat {manager.vaults.folder('b')}/envs/TOKEN")
        assert found.split() == [*sorted(paths), f"{CANARY}-b"]
        # Ours, even as root inside.
        seen = (await ran(manager, one, "bash", "-c", script)).decode()
        refused = [line for line in seen.splitlines() if "No such file" in line]
        assert len(refused) == len(foreign)
        assert [line for line in seen.splitlines() if line not in refused] == []
        # The same search finds what is the loop's own.
        own = (await ran(manager, one, "bash", "-c", script.replace(f"{SOUGHT}-b", f"{SOUGHT}-a"))).decode()
        assert "/loopat/home/loopat/.ssh/id" in own
        assert "/environ" in own
        await running.aclose()

    @pytest.mark.abuse("A12")
    async def test_a_secret_is_nowhere_but_in_its_process(
        self, manager: LoopManager, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ):
        caplog.set_level(logging.DEBUG)
        events: list[LoopEvent] = []
        manager = LoopManager(
            manager.workspace,
            manager.config,
            manager.engine,
            member="ada",
            on_event=events.append,
            registry=Registry.of_user(),
        )
        manager.vaults.set("default", "TOKEN", CANARY.encode())
        record = manager.create(title="A loop")
        add_small_kernel(manager.workspace.loop_home(record.id))
        began_s = int(time.time())
        running = await manager.start(record)
        # Naive: podman's own options put it on a command line and into the container, for all to see.
        naive = f"loopat-naive-{os.getpid()}"
        image = podman("inspect", "--format={{.Image}}", running.name).strip()
        options = (f"--name={naive}", "--network=none", f"--env=TOKEN={CANARY}", "--entrypoint=sleep")
        with contextlib.suppress(LoopatError):
            podman("run", "--detach", "--init", *options, image, "infinity")
        client = subprocess.Popen(["podman", "exec", f"--env=TOKEN={CANARY}", naive, "sleep", "300"])
        try:
            while CANARY not in command_lines():
                await asyncio.sleep(0.01)
            assert CANARY in podman("inspect", naive)
        finally:
            podman("rm", "--force", "--time=0", naive)
            client.wait()
        # Ours: a kernel, an attached command and a failing one, all alive or just ended.
        kernel = SandboxKernel(manager, Place(record.id, "python3", Path()))
        ready = await kernel.prepare()
        async with kernel.sockets.claim(ready.running) as ends:
            await kernel.launch(ready, {**ends.inside, "key": "k", "transport": "ipc"}, {})
        command = manager.exec(record, ExecSpec(argv=("bash", "-c", "echo $TOKEN; sleep 300")))
        assert await anext(command) == Output("stdout", f"{CANARY}\n".encode())
        assert kernel.process is not None
        pid = kernel.process.pid
        assert f"TOKEN={CANARY}" in Path(f"/proc/{pid}/environ").read_bytes().decode()
        errors = []
        for failing in (ExecSpec(argv=("no-such-command",)), ExecSpec(argv=("true",), cwd="/no/such")):
            try:
                errors += [event async for event in manager.exec(record, failing)]
            except LoopatError as error:
                errors.append(repr((error.message, vars(error))))
        searched = {
            "containers": podman("inspect", running.name),
            "exec sessions": podman("ps", "--all", "--external", "--format=json"),
            "image history": podman("history", "--no-trunc", image),
            "image": podman("inspect", image),
            "events of podman": podman("events", "--stream=false", f"--since={began_s}"),
            "command lines": command_lines(),
            "log": caplog.text,
            "errors": repr(errors),
            "events": repr(events),
            "record": manager.workspace.record(record.id).read_text(),
            "what is shown": repr(await manager.get(record.id)),
            "what the kernel is known by": json.dumps(kernel.info()),
        }
        folders = (
            manager.workspace.loops,
            manager.workspace.cache,
            manager.workspace.runtime,
            tmp_path / "jupyter-data",
        )
        for folder in folders:
            for path in folder.rglob("*"):
                if path.is_file():
                    searched[str(path)] = path.read_bytes().decode("utf-8", "replace")
        await command.aclose()
        await kernel.process.signal_tree(9)
        kernel.close()
        kernel.remove_files()
        assert any(Path(name).match("jupyter-data/kernels/*/kernel.json") for name in searched)
        assert {name for name, text in searched.items() if re.search(CANARY, text)} == set()


@pytest.fixture(autouse=True)
def _no_files_stay(tmp_path: Path) -> Iterator[None]:
    """No variables file of any process stays behind."""
    yield
    assert not list(tmp_path.rglob("*.env"))
