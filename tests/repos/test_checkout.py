"""Checkouts of real repos, over file:// and ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.errors import BadInputError, ConflictError, GitError, StorageRefusedError
from loopat_jupyter.fetching import fetch_repo
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import ExecSpec, LoopEvent, NewLoop, Repo
from loopat_jupyter.repos.checkout import Checkout, branch_name
from loopat_jupyter.repos.git import Git
from loopat_jupyter.sandbox.execution import Exit, Output
from loopat_jupyter.workspace.config import Config
from loopat_jupyter.workspace.paths import Workspace, sandbox_mirror
from loopat_jupyter.workspace.records import new_record
from tests.conftest import LONELY, remove_from_podman
from tests.git_remotes import git, make_key

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord, Progress
    from tests.git_remotes import Remote, SshServer

pytestmark = pytest.mark.lonely


def ask(manager: LoopManager, record: LoopRecord, *arguments: str) -> str:
    """Git in a loop's workdir, which sees the mirror where the sandbox would."""
    workdir = manager.workspace.workdir(record.id)
    objects = manager.workspace.mirrors / str(record.mirror) / "objects"
    (workdir / ".git/objects/info/alternates").write_text(f"{objects}\n")
    return git(workdir, *arguments)


async def test_a_loop_gets_a_branch_of_its_own_from_the_default_branch(plain: LoopManager, remote: Remote):
    seen: list[Progress] = []
    record = await plain.make(NewLoop(title="Fix it", repo=remote.url), seen.append)
    workdir = plain.workspace.workdir(record.id)
    assert (workdir / "a.txt").read_text() == "two\n"
    assert record.warnings == ()
    assert record.branch == f"loop/fix-it-{record.id[:6]}"
    assert record.commit == git(remote.path, "rev-parse", "trunk")
    assert (workdir / ".git/objects/info/alternates").read_text() == f"{sandbox_mirror(record.mirror)}/objects\n"
    assert ask(plain, record, "branch", "--show-current") == record.branch
    assert ask(plain, record, "status", "--porcelain") == ""
    assert ask(plain, record, "rev-parse", "origin/trunk") == record.commit
    assert {progress.label for progress in seen} > {f"reaching {remote.url}", "checking out"}
    assert plain.store.read(record.id) == record


async def test_a_push_to_a_repo_of_this_machine_says_how_it_is_done(plain: LoopManager, remote: Remote):
    record = await plain.make(NewLoop(title="a", repo=str(remote.path)))
    # Inside there is a helper of git's for it, which contexts are tested with.
    pushed_to = ask(plain, record, "remote", "get-url", "--push", "origin")
    assert pushed_to == f"loopat::on the host: jupyter loopat push {record.id[:8]}"


async def test_a_second_loop_copies_no_objects(plain: LoopManager, remote: Remote):
    remote.commit("large.bin", os.urandom(2**20).hex())
    await plain.make(NewLoop(title="One", repo=remote.url))
    record = await plain.make(NewLoop(title="Two", repo=remote.url))
    objects = plain.workspace.workdir(record.id) / ".git" / "objects"
    assert sum(path.stat().st_size for path in objects.rglob("*") if path.is_file()) < 1000


async def test_each_loop_begins_where_the_remote_is_then(plain: LoopManager, remote: Remote):
    first = await plain.make(NewLoop(title="One", repo=remote.url))
    commit = remote.commit("b.txt", "new\n")
    second = await plain.make(NewLoop(title="Two", repo=remote.url))
    assert second.commit == commit != first.commit


@pytest.mark.parametrize("ref", ["v1", "trunk", "side/branch"])
async def test_a_loop_can_begin_from_any_ref(plain: LoopManager, remote: Remote, ref: str):
    git(remote.elsewhere, "switch", "--quiet", "-c", "side/branch")
    remote.commit("side.txt", "side\n")
    record = await plain.make(NewLoop(title="a", repo=remote.url, ref=ref))
    assert record.ref == ref
    assert record.commit == git(remote.path, "rev-parse", f"{ref}^{{commit}}")
    assert ask(plain, record, "rev-parse", "HEAD") == record.commit


@pytest.mark.parametrize("digits", [40, 10])
async def test_or_from_a_commit(plain: LoopManager, remote: Remote, digits: int):
    commit = git(remote.path, "rev-parse", "v1")
    record = await plain.make(NewLoop(title="a", repo=remote.url, ref=commit[:digits]))
    assert record.commit == commit


async def test_also_from_one_that_no_branch_leads_to(plain: LoopManager, remote: Remote):
    git(remote.path, "config", "uploadpack.allowAnySHA1InWant", "true")
    commit = remote.commit("c.txt", "forgotten\n")
    git(remote.elsewhere, "reset", "--quiet", "--hard", "HEAD~1")
    git(remote.elsewhere, "push", "--quiet", "--force", "origin", "HEAD")
    await plain.make(NewLoop(title="One", repo=remote.url))
    record = await plain.make(NewLoop(title="Two", repo=remote.url, ref=commit))
    assert (plain.workspace.workdir(record.id) / "c.txt").read_text() == "forgotten\n"


@pytest.mark.parametrize("ref", ["no-such-branch", "f" * 40, "abcdef0"])
async def test_a_ref_that_does_not_exist_is_bad_input_and_makes_nothing(plain: LoopManager, remote: Remote, ref: str):
    with pytest.raises(BadInputError) as caught:
        await plain.make(NewLoop(title="a", repo=remote.url, ref=ref))
    assert caught.value.field == "ref"
    assert list(plain.workspace.loops.iterdir()) == []


async def test_a_repo_without_commits_gives_an_unborn_branch(plain: LoopManager, empty: Remote):
    record = await plain.make(NewLoop(title="Begin", repo=empty.url))
    assert (record.commit, record.warnings) == (None, ())
    assert ask(plain, record, "symbolic-ref", "HEAD") == f"refs/heads/{record.branch}"


async def test_a_remote_out_of_reach_gives_a_usable_loop_with_a_warning(plain: LoopManager):
    record = await plain.make(NewLoop(title="a", repo="http://127.0.0.1:1/nowhere.git"))
    [warning] = record.warnings
    assert warning.startswith("The loop has no files of http://127.0.0.1:1/nowhere.git. Git failed to reach")
    assert f"run `jupyter loopat fetch {record.id[:8]}`" in warning
    assert (record.branch, record.mirror, record.repo_missing) == (None, None, True)
    assert list(plain.workspace.workdir(record.id).iterdir()) == []
    assert not plain.workspace.mirrors.exists()


async def test_a_repo_that_is_reached_later_is_fetched_then(plain: LoopManager, remote: Remote):
    """A name of the workspace, as of a server that was down: what the loop has by then stays."""
    registry = plain.cargo.checkout.registry
    await registry.add("thing", "http://127.0.0.1:1/nowhere.git")
    record = await plain.make(NewLoop(title="a", repo="thing", ref="v1"))
    workdir = plain.workspace.workdir(record.id)
    (workdir / "mine.ipynb").write_text("{}")
    with pytest.raises(GitError, match="failed to reach"):
        await fetch_repo(plain, record)
    assert plain.store.read(record.id) == record
    await registry.add("thing", remote.url)
    workdir.parent.chmod(0o500)
    with pytest.raises(StorageRefusedError, match="Make it writable for you"):
        await fetch_repo(plain, record)
    workdir.parent.chmod(0o700)
    (workdir / "a.txt").write_text("mine\n")
    with pytest.raises(ConflictError, match="same names as the repo: a.txt. Rename"):
        await fetch_repo(plain, record)
    # It says what is in the way now, and no more what was.
    [warning] = plain.store.read(record.id).warnings
    assert warning.startswith(
        f"The loop has no files of {remote.url}. The loop has files of the same names as the repo"
    )
    (workdir / "a.txt").unlink()
    told: list[LoopEvent] = []
    plain.on_event = told.append
    # Somebody has changed it meanwhile.
    await plain.update(record.id, {"title": "b"})
    fetched = await fetch_repo(plain, record)
    assert fetched == plain.store.read(record.id)
    assert (fetched.title, fetched.warnings, fetched.repo_missing) == ("b", (), False)
    assert (fetched.branch, fetched.commit) == (branch_name(record), git(remote.path, "rev-parse", "v1^{commit}"))
    assert ask(plain, fetched, "status", "--porcelain") == "?? mine.ipynb"
    assert not list(plain.workspace.loop(record.id).glob(".repo.*"))
    assert told[-1] == LoopEvent(action="updated", loop_id=record.id)
    with pytest.raises(ConflictError, match="has the files of its repo already"):
        await fetch_repo(plain, fetched)


async def test_nothing_is_fetched_for_a_loop_without_a_repo_or_in_the_archive(plain: LoopManager):
    record = plain.create(title="a")
    with pytest.raises(ConflictError, match="'a' has no repo"):
        await fetch_repo(plain, record)
    with pytest.raises(ConflictError, match="is archived"):
        await fetch_repo(plain, msgspec.structs.replace(record, repo="http://127.0.0.1:1/x", archived=True))


@pytest.mark.parametrize("address", ["{}/nowhere", "file://{}/nowhere.git", "{}/plain", "{}/file", "~/thing"])
async def test_a_path_that_is_no_repo_is_bad_input_and_makes_nothing(plain: LoopManager, tmp_path: Path, address: str):
    (tmp_path / "plain").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError) as caught:
        await plain.make(NewLoop(title="a", repo=address.format(tmp_path)))
    assert caught.value.field == "repo"
    assert not plain.workspace.mirrors.exists()
    assert not plain.workspace.loops.exists() or list(plain.workspace.loops.iterdir()) == []


async def test_what_was_fetched_before_serves_while_the_remote_is_out_of_reach(plain: LoopManager, remote: Remote):
    first = await plain.make(NewLoop(title="One", repo=remote.url))
    shutil.move(remote.path, remote.path.with_name("moved"))
    second = await plain.make(NewLoop(title="Two", repo=remote.url))
    assert second.commit == first.commit
    [warning] = second.warnings
    assert warning.startswith(f"{remote.url} is as it was when it was last reached.")


async def test_refs_follow_the_remote_and_objects_stay(plain: LoopManager, remote: Remote):
    git(remote.elsewhere, "switch", "--quiet", "-c", "short-lived")
    commit = remote.commit("b.txt", "b\n")
    borrowed = await plain.make(NewLoop(title="One", repo=remote.url, ref="short-lived"))
    git(remote.path, "branch", "-D", "short-lived")
    git(remote.path, "gc", "--quiet", "--prune=now")
    later = await plain.make(NewLoop(title="Two", repo=remote.url))
    assert ask(plain, borrowed, "cat-file", "-t", commit) == "commit"
    with pytest.raises(BadInputError, match="short-lived"):
        await plain.make(NewLoop(title="Three", repo=remote.url, ref="short-lived"))
    assert later.commit != commit


async def test_ssh_with_a_key(workspace: Workspace, plain: LoopManager, remote: Remote, ssh_server: SshServer):
    private = Checkout(workspace, Config(), Git(os.environ), lambda _: ssh_server.access)
    new = NewLoop(title="a", repo=ssh_server.url(remote.path))
    record = new_record(title="a", created_by="ada", now=plain.create(title="x").created_at)
    with plain.store.making(record.id):
        made = await private.apply(new, record, lambda _: None)
        plain.store.write(made)
    assert made.warnings == ()
    assert made.commit == git(remote.path, "rev-parse", "trunk")
    assert ask(plain, made, "remote", "get-url", "origin") == new.repo
    assert " ssh-ed25519 " in ssh_server.known_hosts.read_text()


async def test_ssh_without_the_key_is_refused_with_a_warning(
    workspace: Workspace, plain: LoopManager, remote: Remote, ssh_server: SshServer, tmp_path: Path
):
    access = ssh_server.access._replace(identity_files=(make_key(tmp_path / "other"),))
    private = Checkout(workspace, Config(), Git(os.environ), lambda _: access)
    record = plain.create(title="a")
    made = await private.apply(NewLoop(title="a", repo=ssh_server.url(remote.path)), record, lambda _: None)
    [warning] = made.warnings
    assert "Permission denied" in warning


async def test_large_files_stay_pointers_and_are_named(plain: LoopManager, remote: Remote):
    (remote.elsewhere / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    remote.commit("data.bin", pointer)
    record = await plain.make(NewLoop(title="a", repo=remote.url))
    assert (plain.workspace.workdir(record.id) / "data.bin").read_text() == pointer
    [warning] = record.warnings
    assert "git lfs pull" in warning


@pytest.mark.abuse("A5")
async def test_nothing_that_a_repo_brings_along_runs_on_the_host(
    plain: LoopManager, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    proof = tmp_path / "proof"
    home = tmp_path / "person"
    home.mkdir()
    # The person's own settings name a filter; a checkout for a loop runs none all the same.
    (home / ".gitconfig").write_text(f'[filter "evil"]\n\tsmudge = touch {proof}; cat\n')
    (remote.elsewhere / ".gitattributes").write_text("* filter=evil\n")
    remote.commit("x.txt", "x\n")
    naive = tmp_path / "naive"
    environ = {**os.environ, "HOME": str(home)}
    naive.mkdir()
    await Git(environ).run("clone", "--quiet", remote.url, str(naive))
    assert proof.exists(), "the naive clone runs the filter"
    proof.unlink()
    ours = LoopManager(plain.workspace, Config(), plain.engine, member="ada", git=Git(environ))
    await ours.make(NewLoop(title="a", repo=remote.url))
    assert not proof.exists()


async def test_a_repo_inside_a_loop_is_refused(plain: LoopManager, remote: Remote):
    """What runs in that loop could have changed its settings, and git would heed them on the host."""
    record = await plain.make(NewLoop(title="a", repo=remote.url))
    for address in (str(plain.workspace.workdir(record.id)), f"file://{plain.workspace.workdir(record.id)}"):
        with pytest.raises(BadInputError, match="lies in the workspace"):
            await plain.make(NewLoop(title="b", repo=address))


async def test_registered_repos_say_their_default_branch_once_it_is_known(plain: LoopManager, remote: Remote):
    await plain.cargo.checkout.registry.add("thing", remote.url)
    assert plain.cargo.checkout.repos() == (Repo(name="thing", url=remote.url),)
    record = await plain.make(NewLoop(title="a", repo="thing"))
    assert (record.repo, record.origin) == ("thing", remote.url)
    assert plain.cargo.checkout.repos() == (Repo(name="thing", url=remote.url, default_branch="trunk"),)


async def test_a_name_in_the_configuration_with_an_address_that_is_none_is_refused(plain: LoopManager):
    config = Config(repos={"web": "https://token@example.org/web.git", "tool": "--upload-pack=touch x"})
    operated = LoopManager(plain.workspace, config, plain.engine, member="ada", git=plain.cargo.checkout.git)
    for name in config.repos:
        with pytest.raises(BadInputError) as caught:
            await operated.make(NewLoop(title="a", repo=name))
        assert caught.value.field == f"repos.{name}"


async def test_no_git_gives_a_usable_loop_and_says_what_to_install(plain: LoopManager, remote: Remote):
    without = LoopManager(plain.workspace, Config(), plain.engine, member="ada", git=Git({}, binary="no-such-git"))
    record = await without.make(NewLoop(title="a", repo=remote.url))
    assert "sudo apt install git" in record.warnings[0]


def test_the_record_survives_being_written(plain: LoopManager):
    record = plain.create(title="a")
    changed = msgspec.structs.replace(record, repo="x", origin="https://h/x", mirror="x-1.git", branch="loop/a")
    plain.store.write(changed)
    assert plain.store.read(record.id) == changed


@pytest.mark.podman
@pytest.mark.lonely
async def test_a_loop_that_was_copied_to_another_workspace_works_there(
    manager: LoopManager, remote: Remote, tmp_path: Path
):
    record = await manager.make(NewLoop(title="a", repo=remote.url))
    spec = ExecSpec(argv=("bash", "-ec", "echo here | tee file ~/file; mkfifo fifo"))
    assert [event async for event in manager.exec(record, spec)][-1] == Exit(0)
    for reachable in (True, False):
        other = Workspace(tmp_path / f"other {reachable}", manager.workspace.runtime_root)
        other.home.mkdir()
        other.config_file.write_text(LONELY)
        subprocess.run(["cp", "--archive", str(manager.workspace.loops), str(other.loops)], check=True)
        if not reachable:
            shutil.move(remote.path, remote.path.with_name("moved"))
        there = LoopManager(other, manager.config, manager.engine, member="ada")
        try:
            copy = there.store.read(record.id)
            assert copy == record
            script = "cat file ~/file; echo there | tee file ~/file; git log --oneline >/dev/null 2>&1; echo $?"
            events = [event async for event in there.exec(copy, ExecSpec(argv=("bash", "-c", script)))]
            *lines, code = b"".join(event.data for event in events[:-1]).split()
            assert (lines, code == b"0") == ([b"here", b"here", b"there"], reachable)
        finally:
            remove_from_podman(other)
            shutil.rmtree(other.runtime, ignore_errors=True)
    # The one that it was copied from runs on, with its own files.
    events = [event async for event in manager.exec(record, ExecSpec(argv=("cat", "file")))]
    assert events == [Output("stdout", b"here\n"), Exit(0)]


def put_key(plain: LoopManager, vault: str, name: str, key: Path) -> Path:
    """Put a private key into a vault's `.ssh`, as a person would; its path there."""
    plain.vaults.create(vault)
    folder = plain.vaults.folder(vault) / "mounts" / "home" / ".ssh"
    folder.mkdir(parents=True)
    shutil.copy(key, folder / name)
    return folder / name


async def test_the_key_in_the_vault_of_a_loop_reaches_a_private_remote(
    plain: LoopManager, remote: Remote, ssh_server: SshServer
):
    put_key(plain, "work", "id_ed25519", ssh_server.key)
    record = await plain.make(NewLoop(title="a", repo=ssh_server.url(remote.path), vault="work"))
    assert record.warnings == ()
    assert record.commit == git(remote.path, "rev-parse", "trunk")
    assert (plain.workspace.home / "known_hosts").exists()


@pytest.mark.parametrize("other", ["default", "home"])
async def test_a_vault_does_not_read_what_another_one_fetched(
    plain: LoopManager, remote: Remote, ssh_server: SshServer, other: str
):
    put_key(plain, "work", "id_ed25519", ssh_server.key)
    await plain.make(NewLoop(title="a", repo=ssh_server.url(remote.path), vault="work"))
    if other == "home":
        put_key(plain, other, "id_ed25519", make_key(plain.workspace.home / "stranger"))
    record = await plain.make(NewLoop(title="b", repo=ssh_server.url(remote.path), vault=other))
    assert record.warnings[0].startswith("The loop has no files of")
    assert (record.mirror, list(plain.workspace.workdir(record.id).iterdir())) == (None, [])


async def test_who_reached_a_remote_once_has_what_was_fetched_while_it_is_away(
    plain: LoopManager, remote: Remote, ssh_server: SshServer
):
    put_key(plain, "work", "id_ed25519", ssh_server.key)
    put_key(plain, "home", "id_rsa", ssh_server.key)
    new = NewLoop(title="a", repo=ssh_server.url(remote.path), vault="work")
    first, _ = await plain.make(new), await plain.make(msgspec.structs.replace(new, vault="home"))
    shutil.move(remote.path, remote.path.with_name("moved"))
    for vault in ("work", "home"):
        record = await plain.make(msgspec.structs.replace(new, vault=vault))
        assert (record.commit, record.mirror) == (first.commit, first.mirror)
        assert "as it was when it was last reached" in record.warnings[0]


async def test_a_link_planted_as_a_key_is_not_used(plain: LoopManager, remote: Remote, ssh_server: SshServer):
    """A loop can write what its vault mounts: it would borrow another key of the person so."""
    planted = put_key(plain, "work", "id_ed25519", ssh_server.key)
    planted.unlink()
    planted.symlink_to(ssh_server.key)
    naive = await Git(os.environ).run(
        "ls-remote", ssh_server.url(remote.path), access=ssh_server.access._replace(identity_files=(planted,))
    )
    assert naive.returncode == 0, "ssh itself follows the link"
    record = await plain.make(NewLoop(title="a", repo=ssh_server.url(remote.path), vault="work"))
    assert "The loop has no files of" in record.warnings[0]


async def test_a_key_that_left_the_vault_is_not_kept(plain: LoopManager, remote: Remote, ssh_server: SshServer):
    key = put_key(plain, "work", "id_ed25519", ssh_server.key)
    new = NewLoop(title="a", repo=ssh_server.url(remote.path), vault="work")
    await plain.make(new)
    copies = plain.workspace.runtime / "keys"
    assert [path.stat().st_mode & 0o777 for path in copies.rglob("*id_ed25519")] == [0o600]
    key.unlink()
    await plain.make(new)
    assert list(copies.rglob("*id_ed25519")) == []
