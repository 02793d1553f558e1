"""Mirrors under bad luck: killed servers, silent remotes, failing checkouts. Real git."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import GitError, GitUnavailableError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import NewLoop
from loopat_jupyter.repos import mirrors
from loopat_jupyter.repos.git import Access, Git, git_environment, ssh_command
from loopat_jupyter.repos.mirrors import Mirrors, mirror_name
from loopat_jupyter.workspace.config import Config
from tests.git_remotes import git

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from loopat_jupyter.models import Progress
    from loopat_jupyter.workspace.paths import Workspace
    from tests.git_remotes import Remote


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """The address of a remote that accepts and never says a word."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}/x.git"
    server.close()


@pytest.mark.parametrize("scheme", ["http", "git", "ssh"])
async def test_a_silent_remote_gives_a_usable_loop(
    plain: LoopManager, silent: str, monkeypatch: pytest.MonkeyPatch, scheme: str
):
    monkeypatch.setattr(mirrors, "FIRST_CONTACT_TIMEOUT_S", 0.5)
    record = await plain.make(NewLoop(title="a", repo=f"{scheme}://{silent}"))
    [warning] = record.warnings
    assert "within 0.5 s" in warning
    assert list(plain.workspace.workdir(record.id).iterdir()) == []


async def test_nor_does_one_hold_up_who_attaches_it(plain: LoopManager, silent: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mirrors, "FIRST_CONTACT_TIMEOUT_S", 0.5)
    with pytest.raises(GitError, match="within 0.5 s"):
        await plain.cargo.contexts.attach("notes", f"git://{silent}")
    assert all(known.remote is None for known in plain.cargo.contexts.remotes())


def test_silence_ends_a_transfer_too():
    made = git_environment({}, None)
    count = int(made["GIT_CONFIG_COUNT"])
    settings = {made[f"GIT_CONFIG_KEY_{number}"]: made[f"GIT_CONFIG_VALUE_{number}"] for number in range(count)}
    assert (settings["http.lowSpeedLimit"], settings["http.lowSpeedTime"]) == ("1", "60")
    assert {"ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=4"} < set(ssh_command(Access()))


_CLONE = """
import asyncio, os, pathlib, sys
from loopat_jupyter.repos.git import Access, Git
from loopat_jupyter.repos.mirrors import Mirrors
from loopat_jupyter.workspace.config import Config
from loopat_jupyter.workspace.paths import Workspace
workspace = Workspace(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
asyncio.run(Mirrors(workspace, Config(), Git(os.environ)).refresh(sys.argv[3], Access(), print))
"""


def git_that(folder: Path, script: str) -> str:
    """A folder with a git that does something of its own when it is to clone."""
    folder.mkdir()
    (folder / "git").write_text(f'#!/bin/sh\n{script}\nexec {shutil.which("git")} "$@"\n')
    (folder / "git").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


async def kill_a_server_that_clones(workspace: Workspace, remote: Remote, path: str, begun: Path) -> int:
    """Kill it when its git has told its process id; a descriptor of that git."""
    server = subprocess.Popen(
        [sys.executable, "-c", _CLONE, str(workspace.home), str(workspace.runtime_root), remote.url],
        env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL,
    )
    cloning = os.pidfd_open(int(await asyncio.to_thread(begun.read_bytes)))
    server.send_signal(signal.SIGKILL)
    server.wait()
    return cloning


_CLONES = '[ "$1 $2" = "clone --bare" ]'


async def test_git_ends_with_a_server_that_is_killed_during_a_first_clone(
    workspace: Workspace, remote: Remote, tmp_path: Path
):
    begun, never = tmp_path / "begun", tmp_path / "never"
    os.mkfifo(begun)
    os.mkfifo(never)
    waiting = git_that(tmp_path / "first", f"{_CLONES} && echo $$ >{begun} && exec cat {never}")
    cloning = await kill_a_server_that_clones(workspace, remote, waiting, begun)
    try:
        assert select.select([cloning], [], [], 30)[0]
    finally:
        os.close(cloning)
        # Whoever waits for the FIFO is let go.
        os.close(os.open(never, os.O_RDWR))


async def test_a_server_that_is_killed_during_a_first_clone_is_in_nobodys_way(
    workspace: Workspace, plain: LoopManager, remote: Remote, tmp_path: Path
):
    begun, go, done = (tmp_path / name for name in ("begun", "go", "done"))
    for fifo in (begun, go, done):
        os.mkfifo(fifo)
    real = f'{shutil.which("git")} "$@" 2>{os.devnull}'
    deaf = f"{_CLONES} && trap '' TERM && echo $$ >{begun} && {{ cat {go}; {real}; echo >{done}; }}"
    os.close(await kill_a_server_that_clones(workspace, remote, git_that(tmp_path / "first", deaf), begun))
    # The git that outlived its server clones on while the next one has begun.
    overtaken = git_that(tmp_path / "second", f"{_CLONES} && echo >{go} && cat {done} >{os.devnull}")
    later = LoopManager(workspace, plain.config, plain.engine, member="ada", git=Git({**os.environ, "PATH": overtaken}))
    record = await later.make(NewLoop(title="a", repo=remote.url))
    assert record.warnings == ()
    [mirror] = [path.name for path in workspace.mirrors.iterdir() if not path.name.startswith(".")]
    assert mirror == record.mirror == mirror_name(remote.url)
    git(workspace.mirrors / mirror, "fsck")


async def test_locks_that_a_killed_git_left_are_in_nobodys_way(plain: LoopManager, remote: Remote):
    git(remote.path, "branch", "short-lived")
    record = await plain.make(NewLoop(title="a", repo=remote.url))
    mirror = plain.workspace.mirrors / str(record.mirror)
    # Git itself waits a second for each.
    git(mirror, "config", "core.packedRefsTimeout", "1")
    locks = [mirror / name for name in ("packed-refs.lock", "HEAD.lock", "refs/heads/trunk.lock")]
    for lock in locks:
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    git(remote.path, "branch", "-D", "short-lived")
    commit = remote.commit("b.txt", "new\n")
    at_work = await plain.make(NewLoop(title="b", repo=remote.url))
    assert "File exists" in at_work.warnings[0], "another git may be at work"
    for lock in locks:
        os.utime(lock, (0, 0))
    later = await plain.make(NewLoop(title="c", repo=remote.url))
    assert (later.warnings, later.commit) == ((), commit)


async def test_a_remote_that_wants_a_password_opens_no_window(tmp_path: Path):
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.0 401 No\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n')
        writer.close()
        await writer.wait_closed()

    asked, window = tmp_path / "asked", tmp_path / "window"
    window.write_text(f"#!/bin/sh\ntouch {asked}\necho x\n")
    window.chmod(0o755)
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x.git"
        environ = {**os.environ, "SSH_ASKPASS": str(window), "GIT_ASKPASS": str(window), "DISPLAY": ":0"}
        with pytest.raises(GitError):
            await Git(environ).run("ls-remote", address)
    assert not asked.exists()


async def test_a_stand_in_replaces_nothing(workspace: Workspace, remote: Remote, plain: LoopManager):
    record = await plain.make(NewLoop(title="a", repo=remote.url))
    await asyncio.gather(*(plain.cargo.checkout.mirrors.stand_in(str(record.mirror)) for _ in range(3)))
    assert plain.cargo.checkout.mirrors.default_branch(str(record.mirror)) == "trunk"
    ours = Mirrors(workspace, Config(), Git(os.environ))
    await asyncio.gather(*(ours.stand_in("x-1.git") for _ in range(3)))
    assert sorted(path.name for path in workspace.mirrors.iterdir()) == sorted((str(record.mirror), "x-1.git"))


async def test_a_failed_checkout_leaves_nothing(plain: LoopManager, remote: Remote):
    """Half a checkout would look like a repo of which all files were deleted."""
    name = "x" * 200
    tree = "/".join([name] * 30)
    blob = git(remote.elsewhere, "rev-parse", "HEAD:a.txt")
    git(remote.elsewhere, "update-index", "--add", "--cacheinfo", f"100644,{blob},{tree}")
    git(remote.elsewhere, "commit", "--quiet", "--message=Deep")
    git(remote.elsewhere, "push", "--quiet", "origin", "HEAD")
    record = await plain.make(NewLoop(title="a", repo=remote.url))
    assert record.warnings[0].startswith("The loop has no files of")
    assert list(plain.workspace.workdir(record.id).iterdir()) == []
    seen: list[Progress] = []
    await plain.make(NewLoop(title="b", repo=remote.url, ref="v1"), seen.append)
    assert seen


async def test_branches_may_be_called_anything_that_git_takes(plain: LoopManager, remote: Remote):
    for name in ("x\u2028y", "x\x85y", b"\xff", "-x", "HEAD", "a'b\"c$(d)", "refs/heads/x", "ﬀ", "TRUNK"):
        ref = b"refs/heads/" + (name if isinstance(name, bytes) else name.encode())
        subprocess.run(["git", "update-ref", ref, "trunk"], cwd=remote.path, check=True)
        subprocess.run(["git", "symbolic-ref", "HEAD", ref], cwd=remote.path, check=True)
        record = await plain.make(NewLoop(title="a", repo=remote.url))
        assert record.warnings == ()
        assert (plain.workspace.workdir(record.id) / "a.txt").read_text() == "two\n"
        again = await plain.cargo.checkout.mirrors.refresh(remote.url, Access(), lambda _: None)
        assert (again.commit, again.problem) == (record.commit, "")
        plain.cargo.checkout.repos()
        shutil.rmtree(plain.workspace.mirrors)


async def test_a_folder_that_is_gone_is_told_from_a_git_that_is_missing(tmp_path: Path):
    with pytest.raises(GitError, match="was removed meanwhile"):
        await Git(os.environ).run("status", folder=tmp_path / "gone")
    with pytest.raises(GitUnavailableError, match="apt install git"):
        await Git({**os.environ, "PATH": str(tmp_path)}).run("status", folder=tmp_path)


async def test_what_a_remote_says_without_an_end_is_cut(tmp_path: Path):
    ending = git_that(tmp_path / "git", "head --bytes=5000000 /dev/zero | tr '\\0' x >&2; exit 1")
    with pytest.raises(GitError, match="Git failed to status: xxx") as caught:
        await Git({**os.environ, "PATH": ending}).run("status", folder=tmp_path)
    assert len(caught.value.stderr) < 10_000


async def test_git_takes_no_more_memory_than_it_may(tmp_path: Path):
    (tmp_path / "large").write_text((1000 * "x" + "\n") * 30_000)
    runner, arguments = Git(os.environ), ("merge-file", "-p", "large", "large", "large")
    assert (await runner.run(*arguments, folder=tmp_path, cut_bytes=1000)).cut
    with pytest.raises(GitError):
        await runner.run(*arguments, folder=tmp_path, cut_bytes=1000, memory_bytes=16 * 1024**2)
