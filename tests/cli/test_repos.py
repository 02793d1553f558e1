from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import FakeCommandLine
    from tests.git_remotes import Remote

NOWHERE = "http://127.0.0.1:1/thing.git"


def test_a_repo_that_was_not_reached_is_fetched_later(fake: FakeCommandLine, remote: Remote) -> None:
    fake("repo", "add", "thing", NOWHERE)
    made = fake("create", "Fix it", "--repo", "thing")
    [record] = fake.manager.store.matching("fix-it")
    assert made.code == 0
    assert f"`jupyter loopat fetch {record.id[:8]}`" in " ".join(made.err.split())
    refused = fake("fetch", "fix-it")
    assert (refused.code, "Git failed to reach" in refused.err) == (1, True)
    fake("repo", "add", "thing", remote.url)
    fetched = fake("fetch", "fix-it")
    branch = f"loop/fix-it-{record.id[:6]}"
    assert (fetched.code, fetched.out) == (0, f"Fix it has the files of thing, on branch {branch}.\n")
    assert (fake.manager.workspace.workdir(record.id) / "a.txt").read_text() == "two\n"
