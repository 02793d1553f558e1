from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.cli.app import run
from loopat_jupyter.cli.session import Session
from loopat_jupyter.workspace.member import find_member, other_member, prepare_for

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace

HUB = "ada@example.org"


def test_the_first_name_is_that_of_all_who_know_none(workspace: Workspace):
    assert find_member(workspace, None) == getpass.getuser()
    prepare_for(workspace, HUB)
    prepare_for(workspace, "bob")
    assert workspace.member_file.read_text() == f"{HUB}\n"
    assert find_member(workspace, None) == find_member(workspace, "") == HUB
    assert find_member(workspace, "bob") == "bob"
    workspace.member_file.write_text("eve")
    assert find_member(workspace, None) == "eve"


@pytest.mark.parametrize("written", [b"", b" \n"])
def test_a_file_that_names_nobody_does_not_count(workspace: Workspace, written: bytes):
    prepare_for(workspace, HUB)
    workspace.member_file.write_bytes(written)
    assert find_member(workspace, None) == getpass.getuser()
    prepare_for(workspace, "bob")
    assert find_member(workspace, None) == "bob"


def test_any_name_comes_back_as_it_was(workspace: Workspace):
    name = os.fsdecode(b"Ad\xe1 \xc3\xa9")
    prepare_for(workspace, name)
    assert find_member(workspace, None) == name


def test_who_is_called_otherwise_is_told(workspace: Workspace):
    assert other_member(workspace, HUB) == ""
    prepare_for(workspace, HUB)
    assert other_member(workspace, HUB) == ""
    told = other_member(workspace, "ada")
    assert told.startswith(f"The environment calls who works here 'ada', and {workspace.member_file} says {HUB!r}.")


def test_a_vault_that_was_made_under_a_hubs_name_is_found_without_it(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
):
    environ = {**os.environ, "LOOPAT_HOME": str(workspace.home)}
    environ.pop("JUPYTERHUB_USER", None)
    assert run(["vault", "create", "work"], Session({**environ, "JUPYTERHUB_USER": HUB})) == 0
    capsys.readouterr()
    assert run(["vault", "list"], Session(environ)) == 0
    assert "work" in capsys.readouterr().out
    assert run(["create", "Rain"], Session({**environ, "JUPYTERHUB_USER": "bob"})) == 0
    assert run(["vault", "list"], Session({**environ, "JUPYTERHUB_USER": "bob"})) == 0
    assert "No vaults yet" in capsys.readouterr().out
    assert [entry.name for entry in workspace.members.iterdir()] == ["ada-example-org.cfe00dde46ef"]
