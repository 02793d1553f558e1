"""Fixtures: real git repos on this machine, and a real ssh server of the tests' own."""

from __future__ import annotations

import functools
import getpass
import os
import shutil
import socketserver
import subprocess
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest

from loopat_jupyter.loops import LoopManager
from loopat_jupyter.losses import unsaved_files
from loopat_jupyter.repos.git import Access, Git
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.workspace.config import Config, ContextConfig
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.repos.unsaved import Unsaved
    from loopat_jupyter.workspace.paths import Workspace

NOBODY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


async def unsaved(manager: LoopManager, record: LoopRecord) -> Unsaved | None:
    """What is in a loop's checkout and nowhere else."""
    return await unsaved_files(manager.workspace, record, functools.partial(manager.opened, record))


def git(folder: Path, *arguments: str) -> str:
    """Run git as a person would; what it prints."""
    ran = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=folder,
        env={**os.environ, **NOBODY},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


class Remote(NamedTuple):
    """A bare repo, and a checkout of it that somebody else works in."""

    path: Path
    elsewhere: Path

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def commit(self, name: str, text: str, *, message: str = "Change") -> str:
        """Somebody else commits and pushes; the commit."""
        file = self.elsewhere / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        git(self.elsewhere, "add", "--all")
        git(self.elsewhere, "commit", "--quiet", "--message", message)
        git(self.elsewhere, "push", "--quiet", "origin", "HEAD")
        return git(self.elsewhere, "rev-parse", "HEAD")


def make_remote(folder: Path, *, branch: str = "trunk") -> Remote:
    """A remote without any commit, which can be copied with its folder."""
    remote = Remote(folder / "remote.git", folder / "elsewhere")
    git(folder, "init", "--quiet", "--bare", f"--initial-branch={branch}", str(remote.path))
    git(folder, "init", "--quiet", f"--initial-branch={branch}", str(remote.elsewhere))
    git(remote.elsewhere, "remote", "add", "origin", f"../{remote.path.name}")
    return remote


def copied(remote: Remote, folder: Path) -> Remote:
    """The same in another folder; a dozen gits would make it anew."""
    shutil.copytree(remote.path.parent, folder, symlinks=True)
    return Remote(folder / remote.path.name, folder / remote.elsewhere.name)


@pytest.fixture(scope="session")
def empty_of_session(tmp_path_factory: pytest.TempPathFactory) -> Remote:
    return make_remote(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def remote_of_session(tmp_path_factory: pytest.TempPathFactory) -> Remote:
    made = make_remote(tmp_path_factory.mktemp("somewhere"))
    made.commit("a.txt", "one\n", message="First")
    git(made.elsewhere, "tag", "v1")
    git(made.elsewhere, "push", "--quiet", "origin", "v1")
    made.commit("a.txt", "two\n", message="Second")
    return made


@pytest.fixture
def empty(empty_of_session: Remote, tmp_path: Path) -> Remote:
    return copied(empty_of_session, tmp_path / "empty")


@pytest.fixture
def remote(remote_of_session: Remote, tmp_path: Path) -> Remote:
    """A remote whose default branch is called trunk, with two commits; the first one is tagged v1."""
    return copied(remote_of_session, tmp_path / "somewhere")


@pytest.fixture
def plain(workspace: Workspace) -> LoopManager:
    """Loops without podman: making one asks it nothing."""
    return LoopManager(
        workspace,
        Config(context=ContextConfig(use=False)),
        FakeEngine(lambda _: Completed(0, b"[]", "")),
        member="ada",
        git=Git(os.environ),
    )


SSHD = "/usr/sbin/sshd"
"""It asks to be called by its whole path."""


class SshServer(NamedTuple):
    """OpenSSH's own server on the loopback, which lets one key in."""

    port: int
    key: Path
    known_hosts: Path

    def url(self, path: Path) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    @property
    def access(self) -> Access:
        return Access(identity_files=(self.key,), known_hosts=self.known_hosts)


def make_key(file: Path) -> Path:
    """A new private key, with the public one beside it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True, timeout=60)
    return file


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    folder = tmp_path_factory.mktemp("ssh")
    key, host, settings = make_key(folder / "person"), make_key(folder / "host"), folder / "sshd_config"
    settings.write_text(
        f"HostKey {host}\nAuthorizedKeysFile {key}.pub\nAuthenticationMethods publickey\nUsePAM no\nPidFile none\n"
        # The folder lies below /tmp, where anybody may write.
        "StrictModes no\n"
        # What OpenSSH agrees on by itself, against computers of the future, takes a tenth of a second of processor.
        "KexAlgorithms curve25519-sha256\n"
    )

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (folder / "sshd.log").open("ab") as log:
                command = [SSHD, "-i", "-e", "-f", str(settings)]
                subprocess.run(command, stdin=self.request, stdout=self.request, stderr=log, check=False)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        # ssh takes a list there, in which blanks and percent signs mean something.
        yield SshServer(server.server_address[1], key, folder / "5% known hosts")
        server.shutdown()
        thread.join()
