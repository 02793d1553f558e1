from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.models import Proposal

if TYPE_CHECKING:
    import pytest

    from tests.cli.conftest import FakeCommandLine

WAITING = Proposal(
    kind="knowledge",
    loop_id="0123abcd-0000-4000-8000-000000000000",
    title="Sales in May",
    author="ada",
    created_at=dt.datetime(2026, 5, 1, tzinfo=dt.UTC),
    commit="0" * 40,
    commits=1,
    files=("a",),
)


def test_a_proposal_is_named_as_its_loop_is(fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    proposals = fake.manager.cargo.contexts.proposals
    own = msgspec.structs.replace(
        WAITING, loop_id=fake.manager.create(title="Own things").id, title="What the record no longer says"
    )
    other = msgspec.structs.replace(WAITING, loop_id="4567abcd-0000-4000-8000-000000000000", title="Sales in June")

    async def waiting() -> tuple[Proposal, ...]:
        return WAITING, other, own

    async def diff(kind: str, loop_id: str) -> str:
        return f"{kind} of {loop_id}"

    monkeypatch.setattr(proposals, "waiting", waiting)
    monkeypatch.setattr(proposals, "diff", diff)
    for name in ("0123", "Sales in May"):
        assert fake("context", "diff", "knowledge", name).out == f"knowledge of {WAITING.loop_id}"
    for name in (own.loop_id, own.loop_id[:8], "own-things", "Own things"):
        assert fake("context", "diff", "knowledge", name).out == f"knowledge of {own.loop_id}"
    for name in ("Sales", "notes"):
        refused = fake("context", "diff", "knowledge", name)
        assert (refused.code, "`jupyter loopat context proposals` shows them" in refused.err) == (2, True)
