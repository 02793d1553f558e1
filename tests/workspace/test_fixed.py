from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import LoopConfig
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.values import Resources
from loopat_jupyter.workspace.config import Config, ImageConfig, TrustConfig
from loopat_jupyter.workspace.fixed import bound, check_changes, check_choices, check_first_choices, fixed_warnings
from loopat_jupyter.workspace.records import new_record
from tests.fakes import FakeEngine
from tests.workspace.test_records import NOW

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace

OWN = LoopConfig(isolation="privileged", network="none", resources=Resources(cpus=2, pids=100))
RECORD = new_record(title="t", created_by="ada", now=NOW, image="x/y:1", config=OWN)


@pytest.mark.parametrize(
    ("fixed", "field", "counts"),
    [
        ("isolation", "config.isolation", LoopConfig(network="none", resources=Resources(cpus=2, pids=100))),
        ("network", "config.network", LoopConfig(isolation="privileged", resources=Resources(cpus=2, pids=100))),
        ("resources", "config.resources.cpus", LoopConfig(isolation="privileged", network="none")),
        (
            "resources.pids",
            "config.resources.pids",
            LoopConfig(isolation="privileged", network="none", resources=Resources(cpus=2)),
        ),
        ("image", "image", OWN),
        ("image.use", "image", OWN),
    ],
)
def test_what_the_site_has_fixed_is_refused_and_does_not_count(fixed: str, field: str, counts: LoopConfig):
    config = Config(fixed=(fixed,), image=ImageConfig(use="site:1"))
    with pytest.raises(BadInputError, match="is fixed by the site") as refused:
        check_choices(OWN, RECORD.image, config)
    assert refused.value.field == field
    image = None if fixed.startswith("image") else RECORD.image
    assert bound(RECORD, config) == msgspec.structs.replace(RECORD, config=counts, image=image)
    (warning,) = fixed_warnings(RECORD, config)
    assert fixed in warning


def test_everything_else_is_for_the_loop_to_choose():
    for config in (Config(), Config(fixed=("image.base", "share", "idle_timeout_s"))):
        check_choices(OWN, RECORD.image, config)
        assert bound(RECORD, config) is RECORD
        assert fixed_warnings(RECORD, config) == ()
    # Who asks for what is fixed anyway contradicts nobody.
    check_choices(LoopConfig(isolation="strict"), None, Config(isolation="strict", fixed=("isolation",)))


def test_to_see_all_loops_is_decided_when_a_loop_is_made_and_only_where_the_workspace_allows_it():
    seeing, config = LoopConfig(all_loops=True), Config(all_loops=True)
    with pytest.raises(BadInputError, match=r"needs `all_loops = true` in config\.toml") as refused:
        check_first_choices(seeing, None, Config())
    assert refused.value.field == "config.all_loops"
    check_first_choices(seeing, None, config)
    plain, record = msgspec.structs.replace(RECORD, config=OWN), msgspec.structs.replace(RECORD, config=seeing)
    for before, after in ((plain, seeing), (record, LoopConfig())):
        with pytest.raises(BadInputError, match="is decided when a loop is made"):
            check_changes(before, {"config": after}, config)
    # Other settings can be changed still, also where it is not allowed any more.
    for changes in ({"config": msgspec.structs.replace(seeing, network="none")}, {"image": "a"}, {}):
        check_changes(record, changes, Config())
    check_changes(plain, {"config": LoopConfig(all_loops=False)}, Config())
    assert fixed_warnings(record, config) == ()
    (warning,) = fixed_warnings(record, Config())
    assert "does not see the folders of all loops any more" in warning


async def test_a_loop_made_before_is_held_to_it_and_says_so(workspace: Workspace):
    engine = FakeEngine(lambda _: Completed(0, b"[]", ""))

    def manager(**settings: object) -> LoopManager:
        config = Config(trust=TrustConfig(ca_bundle=""), image=ImageConfig(use="site:1"), **settings)
        return LoopManager(workspace, config, engine, member="ada")

    record = manager().create(title="t", image="x/y:1", config=OWN)
    assert "--privileged" in manager().sandboxes.plan(record).fence
    (before,) = (await manager().page()).loops
    strict = manager(fixed=("isolation", "image"), isolation="strict")
    assert "--cap-drop=all" in strict.sandboxes.plan(record).fence
    assert strict.images.reference(record) == "site:1"
    (loop,) = (await strict.page()).loops
    assert "has fixed isolation, image.use" in loop.warnings[0]
    assert (before.isolation, loop.isolation) == ("privileged", "strict")
    nested = msgspec.structs.replace(OWN, isolation="nested")
    for changes in ({"config": nested}, {"image": "x/y:2"}):
        with pytest.raises(BadInputError, match="is fixed by the site"):
            await strict.update(record.id, changes)
    # What it chose before does not count, and keeps nobody from changing the rest.
    other = msgspec.structs.replace(OWN, network=None)
    changed = await strict.update(record.id, {"config": other, "image": "x/y:1"})
    assert changed.config == other
    assert "--cap-drop=all" in strict.sandboxes.plan(changed).fence
    with pytest.raises(BadInputError, match=r"config\.isolation: is fixed"):
        strict.create(title="u", config=LoopConfig(isolation="nested"))
    assert (await strict.update(record.id, {"config": LoopConfig()})).config == LoopConfig()
