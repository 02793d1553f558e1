"""Proposals and pushes over REST: real git."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.context.test_proposals import LOOP, propose, proposed
from tests.git_remotes import git

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace
    from tests.git_remotes import Remote


@pytest.fixture
def carries_contexts(workspace: Workspace, remote: Remote) -> bool:
    """Knowledge is at a remote, where one proposal waits."""
    propose(remote, "fact.md", "fact\n")
    workspace.config_file.write_text(f'[context]\nknowledge = "{remote.url}"\n')
    return True


async def test_only_what_was_looked_at_is_merged(api: Any, remote: Remote) -> None:
    proposal = ("proposals", "knowledge", LOOP)
    [waiting] = (await api("GET", "proposals")).body["proposals"]
    looked_at, trunk = waiting["commit"], git(remote.path, "rev-parse", "trunk")
    shown = await api("GET", *proposal, params={"commit": looked_at})
    assert (shown.status, shown.body.startswith(f"commit {looked_at}\n\ndiff ".encode())) == (200, True)
    more = propose(remote, "more.md", "more\n")
    for late in (
        await api("GET", *proposal, params={"commit": looked_at}),
        await api("POST", *proposal, "merge", send={"commit": looked_at}),
        await api("DELETE", *proposal, params={"commit": looked_at}),
    ):
        assert (late.status, late.body["reason"]) == (409, "conflict")
        assert "has changed since" in late.body["message"]
    for unclear in (
        await api("GET", *proposal, params={"commit": more[:10]}),
        await api("POST", *proposal, "merge"),
        await api("POST", *proposal, "merge", send={"commit": more[:10]}),
        await api("DELETE", *proposal),
        await api("DELETE", *proposal, params={"commit": more[:10]}),
    ):
        assert (unclear.status, unclear.body["field"]) == (400, "commit")
    assert (git(remote.path, "rev-parse", "trunk"), proposed(remote)) == (trunk, more)
    merged = await api("POST", *proposal, "merge", send={"commit": more})
    assert (merged.status, merged.body["commit"]) == (200, more)
    assert git(remote.path, "rev-parse", "trunk") == more


async def test_what_was_looked_at_is_discarded(api: Any, remote: Remote) -> None:
    gone = await api("DELETE", "proposals", "knowledge", LOOP, params={"commit": proposed(remote)})
    assert gone.status == 204
    assert (await api("GET", "proposals")).body == {"proposals": []}


@pytest.mark.podman
async def test_another_branch_than_the_loops_own_is_pushed_when_it_is_named(
    api: Any, started: Any, real_image: str, remote: Remote
) -> None:
    made = await api("POST", "loops", send={"title": "Fix", "repo": remote.url})
    loop, own = made.body["id"], made.body["branch"]
    author = "git config user.email a@example.org; git config user.name Ada"
    script = f"{author}; git checkout -qB trunk; git commit -q --allow-empty -m Sly"
    ran = await api("POST", "loops", loop, "exec", send={"argv": ["bash", "-ec", script]})
    assert ran.body[-1]["exit_code"] == 0
    trunk = git(remote.path, "rev-parse", "trunk")
    refused = await api("POST", "loops", loop, "push")
    assert (refused.status, refused.body["reason"]) == (409, "conflict")
    assert f"is on branch trunk, not on {own}" in refused.body["message"]
    assert git(remote.path, "rev-parse", "trunk") == trunk
    pushed = await api("POST", "loops", loop, "push", send={"branch": "trunk"})
    assert (pushed.status, pushed.body["branch"]) == (200, "trunk")
    assert git(remote.path, "rev-parse", "trunk") == pushed.body["commit"] != trunk
