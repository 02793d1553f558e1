"""Submodules: the host goes where it went for the repo itself, with what the loop has. Real git, a real ssh server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.models import NewLoop
from loopat_jupyter.repos.checkout import Checkout
from loopat_jupyter.repos.git import Access, Git
from loopat_jupyter.repos.submodules import Submodules, may_fetch
from loopat_jupyter.workspace.config import Config
from tests.git_remotes import git

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.workspace.paths import Workspace
    from tests.git_remotes import Remote, SshServer

HTTPS, SSH = "https://example.org/a.git", "git@example.org:a.git"


@pytest.mark.parametrize(
    ("url", "address", "with_keys", "fetched"),
    [
        ("https://example.org/b.git", HTTPS, False, True),
        ("https://example.org/b.git", SSH, False, True),
        ("git@example.org:b.git", HTTPS, True, True),
        ("git@example.org:b.git", HTTPS, False, False),
        ("ssh://git@example.org/b.git", SSH, True, True),
        ("https://example.org:8443/b.git", HTTPS, True, False),
        ("https://example.org.evil.net/b.git", HTTPS, True, False),
        ("https://example.org@evil.net/b.git", HTTPS, True, False),
        ("http://example.org/b.git", HTTPS, True, False),
        ("git://example.org/b.git", HTTPS, True, False),
        ("/srv/b.git", HTTPS, True, False),
        ("file:///srv/b.git", "/srv/a.git", True, False),
        ("ext::sh -c touch% /tmp/x", "/srv/a.git", True, False),
    ],
)
def test_where_the_host_goes(url: str, address: str, *, with_keys: bool, fetched: bool):
    assert may_fetch(url, address, with_keys=with_keys) == fetched


def add_submodule(repo: Remote, url: str, path: str, server: SshServer) -> None:
    """Somebody puts a submodule into a repo."""
    ssh = f"ssh -i {server.key} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    git(repo.elsewhere, "-c", f"core.sshCommand={ssh}", "submodule", "--quiet", "add", url, path)
    repo.commit("with.txt", "with\n")


async def check_out(workspace: Workspace, plain: LoopManager, url: str, access: Access) -> tuple[Path, tuple[str, ...]]:
    """A new loop's workdir, and its warnings."""
    checkout = Checkout(workspace, Config(), Git(os.environ), lambda _: access)
    record = plain.create(title="a")
    made = await checkout.apply(NewLoop(title="a", repo=url), record, lambda _: None)
    return workspace.workdir(record.id), made.warnings


async def test_they_come_along_from_the_same_host(
    workspace: Workspace, plain: LoopManager, remote: Remote, empty: Remote, ssh_server: SshServer
):
    empty.commit("inner.txt", "inner\n")
    add_submodule(remote, ssh_server.url(empty.path), "parts/inner", ssh_server)
    workdir, warnings = await check_out(workspace, plain, ssh_server.url(remote.path), ssh_server.access)
    assert warnings == ()
    assert (workdir / "parts/inner/inner.txt").read_text() == "inner\n"


async def test_the_keys_of_the_person_are_not_used_for_them(
    plain: LoopManager, remote: Remote, empty: Remote, ssh_server: SshServer, tmp_path: Path
):
    """Whoever writes to the repo would have the host fetch what only the person may read."""
    empty.commit("private.txt", "private\n")
    add_submodule(remote, ssh_server.url(empty.path), "stolen", ssh_server)
    workdir = tmp_path / "workdir"
    git(tmp_path, "clone", "--quiet", remote.url, str(workdir))
    submodules = Submodules(Git(os.environ), ssh_server.url(remote.path), Access())
    [warning] = await submodules.fetch(workdir, lambda _: None)
    assert "Submodules are missing: ssh://127.0.0.1" in warning
    assert "`git submodule update --init --recursive`" in warning
    assert list((workdir / "stolen").iterdir()) == []
    assert git(workdir, "config", "--local", "--list").count("submodule.") == 0


async def test_one_on_this_machine_is_not_followed(plain: LoopManager, remote: Remote, empty: Remote):
    """A hostile repo would read other repos of the host so."""
    empty.commit("secret.txt", "secret\n")
    git(remote.elsewhere, "submodule", "--quiet", "add", empty.url, "stolen")
    remote.commit("b.txt", "b\n")
    record = await plain.make(NewLoop(title="a", repo=remote.url))
    [warning] = record.warnings
    assert "git submodule update --init --recursive" in warning
    assert not (plain.workspace.workdir(record.id) / "stolen" / "secret.txt").exists()
    assert (plain.workspace.workdir(record.id) / "a.txt").exists()


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://[bad/x", "https://[bad/x"),
        ("ssh://me@[bad/x", "[bad/x"),
        ("https://h\x1b[2J/a\nb", "https://h�[2J/a�b"),
        ("a\x1b[2J:b\nc", "a�[2J:b�c"),
    ],
)
async def test_an_address_that_is_none_is_left_out_and_told(plain: LoopManager, remote: Remote, url: str, named: str):
    commit = git(remote.elsewhere, "rev-parse", "HEAD")
    git(remote.elsewhere, "config", "--file=.gitmodules", "submodule.part.url", url)
    git(remote.elsewhere, "config", "--file=.gitmodules", "submodule.part.path", "part")
    git(remote.elsewhere, "update-index", "--add", "--cacheinfo", f"160000,{commit},part")
    git(remote.elsewhere, "add", ".gitmodules")
    git(remote.elsewhere, "commit", "--quiet", "--message=Odd")
    git(remote.elsewhere, "push", "--quiet", "origin", "HEAD")
    record = await plain.make(NewLoop(title="a", repo=remote.url))
    [warning] = record.warnings
    assert warning.startswith(f"Submodules are missing: {named}. ")
    assert (plain.workspace.workdir(record.id) / "a.txt").exists()


async def test_nor_is_one_of_a_submodule(
    workspace: Workspace, plain: LoopManager, remote: Remote, empty: Remote, ssh_server: SshServer
):
    empty.commit("inner.txt", "inner\n")
    secret = empty.path.with_name("secret")
    git(secret.parent, "init", "--quiet", "--bare", str(secret))
    git(remote.elsewhere, "push", "--quiet", str(secret), "HEAD:refs/heads/main")
    git(empty.elsewhere, "submodule", "--quiet", "add", "-b", "main", f"file://{secret}", "deeper")
    empty.commit("more.txt", "more\n")
    add_submodule(remote, ssh_server.url(empty.path), "inner", ssh_server)
    workdir, [warning] = await check_out(workspace, plain, ssh_server.url(remote.path), ssh_server.access)
    assert f"Submodules are missing: file://{secret}." in warning
    assert (workdir / "inner/more.txt").exists()
    assert list((workdir / "inner/deeper").iterdir()) == []


async def test_submodules_without_end_are_cut(
    workspace: Workspace,
    plain: LoopManager,
    remote: Remote,
    ssh_server: SshServer,
    monkeypatch: pytest.MonkeyPatch,
):
    """Whoever names ten, each of which names ten, has the host fetch without end."""
    monkeypatch.setattr("loopat_jupyter.repos.submodules.MOST_SUBMODULES", 1)
    for path in ("one", "two"):
        add_submodule(remote, ssh_server.url(remote.path), path, ssh_server)
    workdir, [warning] = await check_out(workspace, plain, ssh_server.url(remote.path), ssh_server.access)
    assert "Submodules are missing" in warning
    assert len(list(workdir.rglob("a.txt"))) == 1 + 1
