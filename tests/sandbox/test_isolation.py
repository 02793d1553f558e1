from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import LoopConfig, NewLoop
from loopat_jupyter.sandbox.isolation import Nesting, fence, isolation_warnings
from loopat_jupyter.sandbox.plan import seccomp_folder
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.sandbox.seccomp import SeccompProfile
from loopat_jupyter.values import Resources
from loopat_jupyter.workspace.config import Config, ImageConfig, MountConfig, TrustConfig
from loopat_jupyter.workspace.paths import Workspace, default_runtime_root
from tests.conftest import remove_from_podman
from tests.kernels.conftest import in_thread
from tests.sandbox.isolation_rows import LEVELS, PODMAN, REFUSED, TABLES, markdown
from tests.sandbox.saying import said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.models import LoopRecord
    from tests.git_remotes import Remote

pytestmark = pytest.mark.lonely

WHOLE = Nesting(SeccompProfile("seccomp-1.json", b"{}"), tun=True)
FOLDER = Path("/srv/ws/cache/seccomp")
ROWS = [row for rows in TABLES.values() for row in rows]
MARK = "loopat-isolation-mark"
OTHER = f"""
import os, signal, socket
kept = []
for family, address in (
    (socket.AF_INET, ("0.0.0.0", 8123)),
    (socket.AF_INET, ("127.0.0.1", 8124)),
    (socket.AF_UNIX, "/loopat/run/{MARK}.sock"),
    (socket.AF_UNIX, "\\0loopat-isolation"),
):
    kept.append(socket.socket(family))
    kept[-1].bind(address)
    kept[-1].listen()
open("secret", "w").write("secret")
open("ready", "w").write(str(os.getpid()))
signal.pause()
"""


def test_what_the_host_lacks_is_left_out_and_told():
    assert fence("nested", Nesting(), FOLDER) == ("--security-opt=unmask=/proc/*",)
    assert fence("nested", WHOLE._replace(profile=None), FOLDER)[0] == "--device=/dev/net/tun"
    without_tun, without_profile = isolation_warnings("nested", Nesting(), Resources())
    assert "modprobe tun" in without_tun
    assert "--uts=host" in without_profile
    for level in ("strict", "privileged"):
        assert fence(level, Nesting(), FOLDER) == fence(level, WHOLE, FOLDER)
        assert isolation_warnings(level, Nesting(), Resources()) == isolation_warnings(level, WHOLE, Resources())


def test_each_level_says_what_a_person_should_know():
    devices = Resources(devices=("nvidia.com/gpu=all",))
    assert isolation_warnings("nested", WHOLE, devices) == ()
    assert isolation_warnings("strict", WHOLE, Resources()) == ()
    assert "nvidia.com/gpu=all is left out" in isolation_warnings("strict", WHOLE, devices)[0]
    (warning,) = isolation_warnings("privileged", WHOLE, Resources())
    assert "Run only what you trust" in warning


def test_the_documentation_says_what_is_tested_here():
    documented = (Path(__file__).parents[2] / "docs" / "isolation.md").read_text(encoding="utf-8")
    assert markdown() in documented


class Attempt(NamedTuple):
    """What came of a row: its exit code, and all that it wrote."""

    code: int
    text: str


class Places(NamedTuple):
    """A loop of each level, and what came of all rows in it."""

    manager: LoopManager
    records: dict[str, LoopRecord]
    attempts: dict[str, list[Attempt]]


@pytest.fixture(scope="module")
def places(sandbox_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """A loop of each level, with another one beside them; every row is tried once in each."""
    workspace = Workspace(tmp_path_factory.mktemp("isolation") / "workspace", default_runtime_root(os.getuid()))
    config = Config(image=ImageConfig(use=sandbox_image))
    manager = LoopManager(workspace, config, Podman("podman", os.environ), member="ada")
    records = {level: manager.create(title=level, config=LoopConfig(isolation=level)) for level in LEVELS}
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            attempts = in_thread(try_all(manager, records, listener.getsockname()[1]))
        yield Places(manager, records, attempts)
    finally:
        remove_from_podman(workspace)
        shutil.rmtree(workspace.runtime, ignore_errors=True)


async def try_all(manager: LoopManager, records: dict[str, LoopRecord], port: int) -> dict[str, list[Attempt]]:
    other = manager.create(title="other")
    running = await manager.start(other)
    workdir = manager.workspace.workdir(other.id)
    (workdir / f"{MARK}.py").write_text(OTHER)
    server = asyncio.create_task(manager.inside(other, running)(["python3", f"{MARK}.py"], timeout_s=600))
    while not (workdir / "ready").exists() or not (workdir / "ready").read_text():
        assert not server.done(), server.result()
        await asyncio.sleep(0.02)
    world = {
        "OTHER_ID": other.id,
        "OTHER_NAME": running.name,
        "OTHER_PID": str(running.init_pid),
        "OTHER_FILE": str(workdir / "secret"),
        "OTHER_SOCKET": str(manager.workspace.run(other.id) / f"{MARK}.sock"),
        "OTHER_MARK": f"{MARK}.py",
        "HOST_PORT": str(port),
    }
    found = await asyncio.gather(*(try_rows(manager, record, world) for record in records.values()))
    server.cancel()
    await asyncio.gather(server, return_exceptions=True)
    return dict(zip(records, found, strict=True))


async def try_rows(manager: LoopManager, record: LoopRecord, world: dict[str, str]) -> list[Attempt]:
    running = await manager.start(record)
    lines = [
        f"timeout 60 bash -c {shlex.quote(row.command)} </dev/null >~/{number}.log 2>&1; echo $? >~/{number}.code"
        for number, row in enumerate(ROWS)
    ]
    env = {**world, "OWN_ID": record.id}
    answer = await manager.inside(record, running)(["bash", "-c", "\n".join(lines)], env=env, timeout_s=280)
    assert answer.exit_code == 0, answer
    home = manager.workspace.loop_home(record.id)
    return [
        Attempt(int((home / f"{number}.code").read_text()), (home / f"{number}.log").read_text(errors="replace"))
        for number in range(len(ROWS))
    ]


@pytest.mark.abuse("A11")
@pytest.mark.podman
@pytest.mark.parametrize("number", range(len(ROWS)), ids=[row.words for row in ROWS])
def test_what_works_and_what_is_refused(places: Places, number: int):
    row, attempts = ROWS[number], {level: places.attempts[level][number] for level in LEVELS}
    assert {level: attempt.code == 0 for level, attempt in attempts.items()} == {
        level: row.mark(level) == "yes" for level in LEVELS
    }, attempts
    for level, attempt in attempts.items():
        assert attempt.code == 0 or REFUSED.search(attempt.text), (level, attempt.text)
        assert "command not found" not in attempt.text, level


@pytest.mark.podman
def test_what_is_written_inside_is_the_persons_own_outside(places: Places):
    for record in places.records.values():
        assert (places.manager.workspace.workdir(record.id) / "made").stat().st_uid == os.getuid()


@pytest.mark.podman
async def test_a_privileged_loop_says_that_it_is_dangerous(places: Places):
    warned = {
        level: "This loop is privileged" in str((await places.manager.get(record.id)).warnings)
        for level, record in places.records.items()
    }
    assert warned == {"nested": False, "strict": False, "privileged": True}


@pytest.fixture
def workspace(workspace_of_module: Workspace) -> Workspace:
    """What does not look at the loops above shares a workspace, and has no network."""
    return workspace_of_module


@pytest.mark.abuse("A3")
@pytest.mark.podman
async def test_a_privileged_loop_changes_nothing_that_others_are_given(
    workspace: Workspace, sandbox_image: str, tmp_path: Path, remote: Remote
):
    (given := tmp_path / "given").mkdir()
    (single := tmp_path / "single").mkdir()
    for file in (given / "file", single / "file", single / "bundle"):
        file.write_text("as it was")
    config = Config(
        image=ImageConfig(use=sandbox_image),
        network="none",
        trust=TrustConfig(ca_bundle=str(single / "bundle")),
        mounts=tuple(
            MountConfig(source=str(source), target=f"/{target}", mode="ro")
            for source, target in ((given, "given"), (single / "file", "single"))
        ),
    )
    manager = LoopManager(workspace, config, Podman("podman", os.environ), member="ada")
    record = await manager.make(NewLoop(title="a", repo=remote.url, config=LoopConfig(isolation="privileged")))
    mirror = manager.workspace.mirrors / record.mirror
    shared = (manager.workspace.helpers, mirror, given, single)

    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for folder in shared for path in folder.rglob("*") if path.is_file()}

    running = await manager.start(record)
    before = contents()
    script = """
        for place in /loopat/lib /loopat/context/repos/* /given /single /etc/ssl/certs/ca-certificates.crt; do
          mount -o remount,rw,bind $place || true
          find $place -type f | while read file; do chmod u+w "$file"; echo changed >"$file"; done
          test -f $place || touch $place/new
        done
        cat /given/file /single /etc/ssl/certs/ca-certificates.crt
    """
    # Not through the launcher, which this breaks, though for this loop alone.
    answer = await manager.engine.run("exec", "--user=0", running.name, "bash", "-c", script, ok=range(256))
    assert answer.stdout == b"changed\n" * 3, answer
    assert contents() == before
    other = await manager.make(NewLoop(title="b", repo=remote.url))
    everything = ("cat", "/given/file", "/single", "/etc/ssl/certs/ca-certificates.crt")
    assert await said(manager, other, *everything) == "as it was" * 3
    # It can mend itself, too.
    await manager.start(record, fresh=True)
    assert await said(manager, record, *everything) == "as it was" * 3
    (single / "file").write_text("anew")
    await manager.stop(record)
    assert await said(manager, record, "sh", "-c", "git status --porcelain >/dev/null && cat /single") == "anew"


@pytest.mark.podman
async def test_another_level_keeps_the_files_and_images_made_inside_outlive_a_stop_and_go_with_their_loop(
    manager: LoopManager,
):
    record = manager.create(title="Changed", config=LoopConfig(isolation="strict"))
    assert "no new privileges" in await said(manager, record, "bash", "-c", "echo kept >kept; sudo -n true")
    changed = await manager.update(record.id, {"config": LoopConfig()})
    assert (await manager.start(changed)).replaced
    imported = await said(manager, changed, "bash", "-c", f"sudo -n cat kept; {PODMAN[0].command}; echo $?")
    assert imported.startswith("kept\n")
    assert "\n0\n" in imported
    await manager.stop(changed)
    # Podman read the profile when it made the container, and needs it no more.
    shutil.rmtree(seccomp_folder(manager.workspace))
    run = "podman run --rm --network=none --entrypoint=/bin/cat localhost/tiny /Containerfile"
    assert await said(manager, changed, *run.split()) == "FROM localhost/tiny\nRUN hostname >/made\n"
    await manager.delete(changed.id)
    assert not manager.workspace.loop(changed.id).exists()
