"""What lies in a workspace without belonging to a loop; made by real git."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.models import NewLoop
from loopat_jupyter.repos.git import Access
from loopat_jupyter.repos.mirrors import mirror_name
from loopat_jupyter.sandbox.builders import build_folder
from loopat_jupyter.sandbox.disk import deleted_loops, given_up_builds, half_made, unused_mirrors
from loopat_jupyter.sandbox.leftovers import (
    BUILD_KEPT_S,
    HALF_MADE_KEPT_S,
    UNUSED_KEPT_S,
    Findings,
    Leftover,
    find_leftovers,
)
from loopat_jupyter.sandbox.sweep import Sweeper

if TYPE_CHECKING:
    from loopat_jupyter.loops import LoopManager
    from tests.git_remotes import Remote

pytestmark = pytest.mark.lonely


def test_only_what_is_old_goes() -> None:
    findings = Findings(
        loops=frozenset(),
        containers={},
        images=(),
        runtime={},
        logs=(),
        deleted=("/0",),
        half_made=(("/a", HALF_MADE_KEPT_S + 1), ("/b", 1)),
        mirrors=(("/c", UNUSED_KEPT_S + 1, 7), ("/d", 1, 7)),
        copies=(("/e", BUILD_KEPT_S + 1, 7), ("/f", 1, 7)),
    )
    assert [(leftover.kind, leftover.name) for leftover in find_leftovers(findings)] == [
        ("loop", "/0"),
        ("loop", "/a"),
        ("mirror", "/c"),
        ("copy", "/e"),
    ]


async def test_a_folder_without_a_record_is_half_made(plain: LoopManager) -> None:
    whole = plain.create(title="Whole")
    begun = plain.workspace.loop("0123abcd-0000-4000-8000-000000000000")
    begun.mkdir()
    new = plain.workspace.mirrors / ".x.git.new"
    new.mkdir(parents=True)
    fetched = plain.workspace.loop(whole.id) / ".repo.x.new"
    fetched.mkdir()
    os.utime(begun, (1, 1))
    found = dict(half_made(plain.workspace))
    assert set(found) == {str(begun), str(new), str(fetched)}
    assert found[str(begun)] > HALF_MADE_KEPT_S > found[str(new)]
    assert plain.workspace.record(whole.id).exists()


async def test_what_a_killed_deletion_left_goes_at_once(plain: LoopManager, monkeypatch: pytest.MonkeyPatch) -> None:
    record, other = plain.create(title="Large"), plain.create(title="Other")
    (plain.workspace.workdir(record.id) / "secret").touch()

    class Killed(BaseException):
        pass

    async def die(folder: Path) -> None:
        if folder == plain.workspace.deleted(record.id):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(plain.sandboxes.folders, "remove", die)
        with pytest.raises(Killed):
            await plain._remove(record.id, "Large", force=False)
    assert plain.workspace.loop_ids() == {other.id}
    (left,) = deleted_loops(plain.workspace)
    assert (Path(left) / "workdir" / "secret").exists()
    leftovers = find_leftovers(
        Findings(loops=plain.workspace.loop_ids(), containers={}, images=(), runtime={}, logs=(), deleted=(left,))
    )
    sweeper = Sweeper(plain.workspace, plain.engine, plain.sandboxes, plain.images)
    assert await sweeper.remove(leftovers) == leftovers
    assert deleted_loops(plain.workspace) == ()
    assert plain.workspace.loop(other.id).exists()


async def test_what_a_killed_build_was_made_from_goes(plain: LoopManager) -> None:
    async with build_folder(plain.workspace, "project") as under_way:
        assert under_way.parent == plain.workspace.cache
        killed = plain.workspace.cache / "toolchain-x"
        killed.mkdir()
        (killed / "mise.toml").write_text("1234567")
        os.utime(killed, (1, 1))
        found = {path: size_bytes for path, _, size_bytes in given_up_builds(plain.workspace)}
        assert found == {str(killed): 7, str(under_way): 0}
        gone = [left for left in await plain.upkeep.gc(remove=True) if left.kind == "copy"]
        assert [left.name for left in gone] == [str(killed)]
        assert (killed.exists(), under_way.exists()) == (False, True)
    assert given_up_builds(plain.workspace) == ()


async def test_a_mirror_is_unused_once_the_last_loop_is_gone(plain: LoopManager, remote: Remote) -> None:
    record = await plain.make(NewLoop(title="a", repo=remote.url))
    assert unused_mirrors(plain.workspace) == ()
    # Forced: nobody looks in a sandbox for what would be lost.
    await plain.delete(record.id, force=True)
    found = {path.rpartition("/")[2]: age_s for path, age_s, _ in unused_mirrors(plain.workspace)}
    assert mirror_name(remote.url) in found
    mirror = plain.workspace.mirrors / mirror_name(remote.url)
    for part in (mirror, mirror / "HEAD", mirror / "packed-refs"):
        os.utime(part, (1, 1))
    gone = {leftover.kind: leftover.name for leftover in await plain.upkeep.gc(remove=True)}
    assert gone["mirror"] == str(mirror)
    assert not mirror.exists()


async def test_a_mirror_that_came_into_use_stays(plain: LoopManager, remote: Remote) -> None:
    record = await plain.make(NewLoop(title="a", repo=remote.url))
    plain.workspace.record(record.id).unlink()
    mirror = plain.workspace.mirrors / mirror_name(remote.url)

    def left_alone() -> None:
        for part in (mirror, mirror / "HEAD", mirror / "packed-refs"):
            os.utime(part, (1, 1))

    sweeper = Sweeper(plain.workspace, plain.engine, plain.sandboxes, plain.images)
    left_alone()
    found = [Leftover(kind="mirror", name=str(mirror), reason="", key=str(mirror))]
    async with plain.cargo.checkout.mirrors.lock(mirror.name):
        removing = asyncio.ensure_future(sweeper.remove(found))
        await asyncio.wait([removing], timeout=0.05)
        assert mirror.exists()
        # As whoever makes a loop from it does.
        os.utime(mirror)
    await removing
    assert mirror.exists()
    left_alone()
    await plain.cargo.checkout.mirrors.refresh(remote.url, Access(), lambda _: None)
    await sweeper.remove(found)
    assert mirror.exists()
    left_alone()
    await sweeper.remove(found)
    assert list(plain.workspace.mirrors.iterdir()) == []


async def test_a_record_that_cannot_be_read_keeps_all_mirrors(plain: LoopManager, remote: Remote) -> None:
    record = await plain.make(NewLoop(title="a", repo=remote.url))
    other = plain.create(title="b")
    plain.workspace.record(record.id).unlink()
    assert len(unused_mirrors(plain.workspace)) == 1
    plain.workspace.record(other.id).write_text("{")
    assert unused_mirrors(plain.workspace) == ()
