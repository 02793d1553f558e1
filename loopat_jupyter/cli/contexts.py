"""promote, push, context: what a loop gives back."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from typing import TYPE_CHECKING

import click

from loopat_jupyter.cli.app import Group
from loopat_jupyter.cli.options import as_json, examples, from_here, without_asking
from loopat_jupyter.cli.progress import shown_progress
from loopat_jupyter.cli.references import HERE, find_loop, loop_argument
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.text import short_id
from loopat_jupyter.cli.views import contexts_table, proposals_table
from loopat_jupyter.context.origins import check_kind
from loopat_jupyter.errors import BadInputError, NotFoundError, plain
from loopat_jupyter.models import CONTEXT_KINDS
from loopat_jupyter.outgoing import checked_out, promote, push_branch
from loopat_jupyter.repos.addresses import shown
from loopat_jupyter.wording import count

if TYPE_CHECKING:
    from loopat_jupyter.context.proposals import ChangedFile
    from loopat_jupyter.models import Promotion, Proposal

MOST_FILES_SHOWN = 50
"""Before it is asked whether to merge them; no person reads more of them there."""

_COMMIT_OPTION = "--commit COMMIT"


def _whole(context: click.Context, option: click.Parameter, commit: str | None) -> str | None:
    """A commit by its whole name: a loop can make another one whose first characters are the same."""
    del context, option
    if commit is not None and not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", commit):
        raise click.BadParameter("give the whole commit, as `jupyter loopat context diff` shows it.")
    return commit


the_commit = click.option(
    "--commit",
    metavar="COMMIT",
    callback=_whole,
    help="The commit that you looked at, as `context diff` shows it: do it without asking, and only if the proposal is "
    "still there.",
)
kind_argument = click.argument("kind", type=click.Choice(CONTEXT_KINDS), metavar="|".join(CONTEXT_KINDS))


@click.command("promote", epilog=examples('jupyter loopat promote "Sales in May" notes -m "What we learned"'))
@loop_argument()
@kind_argument
@click.option(
    "-m", "--message", default="", metavar="TEXT", help="What the commit says; by default, which loop it comes from."
)
@pass_session
def promote_verb(session: Session, *, loop: str, kind: str, message: str) -> None:
    """Give everybody what a loop changed in a context.

    Commits what changed, merges what others did meanwhile, and pushes. In a gated context it waits as a proposal, and
    from a loop whose isolation is `strict` in any.
    """
    record = find_loop(session.manager, loop)
    with shown_progress(session, f"{kind} of {record.title}") as tell:
        work = promote(session.manager, record, check_kind(kind), message=message, on_progress=tell)
        promotion = session.run(work)
    click.echo(_outcome(promotion, short_id(record.id)))


def _outcome(promotion: Promotion, loop: str) -> str:
    if promotion.outcome == "proposed":
        return (
            f"It waits as a proposal. To look at it: jupyter loopat context diff {promotion.kind} {loop}; to bring it "
            f"in: jupyter loopat context merge {promotion.kind} {loop}"
        )
    if promotion.outcome == "merged":
        return f"Everybody has it now: {(promotion.commit or '')[:10]}."
    return f"There is nothing new in the loop's {promotion.kind}."


@click.command("push", epilog=examples('jupyter loopat push "Fix the footer"'))
@loop_argument()
@click.option(
    "--branch",
    metavar="NAME",
    help="Push to this branch, which must be the one that is checked out in the loop; by default it is the loop's own.",
)
@pass_session
def push_verb(session: Session, *, loop: str, branch: str | None) -> None:
    """Push the branch that is checked out in a loop.

    From the host, with your own keys: for remotes that the loop itself does not reach. `git push` in the loop does for
    all others. If another branch than the loop's own is checked out, this asks before it pushes there.
    """
    record = find_loop(session.manager, loop)
    if branch is None and session.has_person:
        with shown_progress(session, f"Branch of {record.title}") as tell:
            branch = session.run(checked_out(session.manager, record, on_progress=tell))
        if branch != record.branch:
            session.confirm(
                f"The loop is on another branch than its own. Push to {plain(branch)} of {shown(record.origin or '')}?",
                yes=False,
            )
    with shown_progress(session, f"Push of {record.title}") as tell:
        pushed = session.run(push_branch(session.manager, record, branch=branch, on_progress=tell))
    if pushed.commit is None:
        click.echo(f"{pushed.remote} has everything already.")
    else:
        click.echo(f"{pushed.branch} of {pushed.remote} is at {pushed.commit[:10]}.")


@click.group("context", cls=Group, epilog=examples("jupyter loopat context list", "jupyter loopat context proposals"))
def context_verb() -> None:
    """Knowledge, notes and personal files, which every loop brings along."""


@context_verb.command("list", epilog=examples("jupyter loopat context list"))
@as_json
@pass_session
def list_contexts(session: Session, *, json: bool) -> None:
    """Show where each context is kept."""
    remotes = session.manager.cargo.contexts.remotes()
    if json:
        session.show_json({"contexts": remotes})
    else:
        session.show(contexts_table(remotes))


@context_verb.command("attach", epilog=examples("jupyter loopat context attach notes git@example.org:team/notes.git"))
@kind_argument
@click.argument("address", callback=from_here)
@pass_session
def attach_context(session: Session, *, kind: str, address: str) -> None:
    """Give a context a remote, to share it with others.

    What the workspace has of it is pushed there. The remote must be empty, or have the same history.
    """
    remote = session.run(session.manager.cargo.contexts.attach(check_kind(kind), address))
    click.echo(f"{remote.kind} is kept at {remote.remote}.")


@context_verb.command("proposals", epilog=examples("jupyter loopat context proposals"))
@as_json
@pass_session
def list_proposals(session: Session, *, json: bool) -> None:
    """List what waits to be merged."""
    proposals = session.run(session.manager.cargo.contexts.proposals.waiting())
    if json:
        session.show_json({"proposals": proposals})
    elif proposals:
        session.show(proposals_table(proposals, dt.datetime.now(dt.UTC)))
    else:
        click.echo("Nothing waits to be merged.")


def _find(session: Session, kind: str, loop: str) -> Proposal:
    """The proposal that a person means: named as loops are elsewhere, or by its title once its loop is gone."""
    kind = check_kind(kind)
    known: set[str] = set()
    with contextlib.suppress(NotFoundError):
        matching = session.manager.store.matching
        known = {record.id for record in ([find_loop(session.manager, HERE)] if loop == HERE else matching(loop))}
    waiting = session.run(session.manager.cargo.contexts.proposals.waiting(kind))
    found = [
        proposal
        for proposal in waiting
        if proposal.loop_id in known or loop == proposal.title or proposal.loop_id.startswith(loop)
    ]
    if len(found) != 1:
        raise BadInputError(
            "loop",
            f"{'more than one' if found else 'no'} proposal on the {kind} is of a loop {loop[:80]!r}. "
            "`jupyter loopat context proposals` shows them, each with the id of its loop",
        )
    return found[0]


@context_verb.command("diff", epilog=examples("jupyter loopat context diff knowledge 1a2b3c4d"))
@kind_argument
@loop_argument()
@pass_session
def diff_proposal(session: Session, *, kind: str, loop: str) -> None:
    """Show what a proposal changes. Its first line names the commit, for `context merge --commit`."""
    proposal = _find(session, kind, loop)
    click.echo(
        plain(session.run(session.manager.cargo.contexts.proposals.diff(proposal.kind, proposal.loop_id))), nl=False
    )


@context_verb.command("merge", epilog=examples("jupyter loopat context merge knowledge 1a2b3c4d"))
@kind_argument
@loop_argument()
@the_commit
@pass_session
def merge_proposal(session: Session, *, kind: str, loop: str, commit: str | None) -> None:
    """Bring a proposal in, for everybody. A conflict leaves it as it was.

    What is merged is what you looked at. Without --commit, this shows which files change, and asks. If more is promoted
    meanwhile, nothing is merged.
    """
    proposal = _find(session, kind, loop)
    proposals = session.manager.cargo.contexts.proposals
    if commit is None:
        session.need_person(_COMMIT_OPTION)
        changed = session.run(proposals.changed_files(proposal.kind, proposal.loop_id, proposal.commit))
        session.tell(_changes(changed))
        session.confirm(f"Merge {_named(proposal)} into the {kind}, for everybody?", yes=False, option=_COMMIT_OPTION)
    promotion = session.run(proposals.merge(proposal.kind, proposal.loop_id, commit or proposal.commit))
    click.echo(_outcome(promotion, loop))


def _changes(changed: tuple[ChangedFile, ...]) -> str:
    """What a proposal changes, one line for each file; of very many, the first ones."""
    lines = [
        f"{f'+{file.added}':>7} {f'-{file.removed}':>7}  {plain(file.path, kept='')}"
        if file.added is not None
        else f"{'not compared':>15}  {plain(file.path, kept='')}"
        for file in changed[:MOST_FILES_SHOWN]
    ]
    if more := changed[MOST_FILES_SHOWN:]:
        lines.append(f"… and {count(len(more), 'file')} more, which `jupyter loopat context diff` shows.")
    return "\n".join(lines) or "No file changes."


def _named(proposal: Proposal) -> str:
    return f"commit {proposal.commit[:10]} of {plain(proposal.title)} ({short_id(proposal.loop_id)})"


@context_verb.command("discard", epilog=examples("jupyter loopat context discard knowledge 1a2b3c4d"))
@kind_argument
@loop_argument()
@the_commit
@without_asking
@pass_session
def discard_proposal(session: Session, *, kind: str, loop: str, commit: str | None, yes: bool) -> None:
    """Take a proposal away. The loop that it came from keeps its commits."""
    proposal = _find(session, kind, loop)
    session.confirm(f"Discard {_named(proposal)} on {kind}?", yes=yes or commit is not None)
    work = session.manager.cargo.contexts.proposals.discard(proposal.kind, proposal.loop_id, commit or proposal.commit)
    session.run(work)
    click.echo("Discarded.")
