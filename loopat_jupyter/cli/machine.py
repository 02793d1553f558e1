"""doctor, build, gc: verbs about the machine and not about one loop."""

from __future__ import annotations

import click

from loopat_jupyter.cli.options import as_json, examples
from loopat_jupyter.cli.progress import shown_progress
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.text import size
from loopat_jupyter.cli.views import health_sheet, leftovers_table
from loopat_jupyter.errors import BadInputError, plain
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import Check, Health
from loopat_jupyter.wording import count
from loopat_jupyter.workspace.config import Config


@click.command("doctor", epilog=examples("jupyter loopat doctor"))
@as_json
@click.option("--brief", is_flag=True, help="Show only what is not in order.")
@pass_session
def doctor_verb(session: Session, *, json: bool, brief: bool) -> None:
    """Check that this machine can run loops; each failure comes with the command that fixes it.

    Exit code 0: it can. 1: something required is missing.
    """
    health = _health(session)
    if json:
        session.show_json(health)
    else:
        session.show(health_sheet(health, brief=brief))
    if not health.ok:
        raise click.exceptions.Exit(1)


def _health(session: Session) -> Health:
    """All checks. A configuration that is wrong fails as one of them; the others go by the defaults then."""
    try:
        return session.run(session.manager.health())
    except BadInputError as error:
        wrong = error
    others = session.run(LoopManager.from_environment(session.environ, load=lambda *_: Config()).health())
    fix = "edit the file that is named, or unset the variable that is"
    return Health(
        ok=False, checks=(Check(name="configuration", ok=False, detail=wrong.message, fix=fix), *others.checks)
    )


@click.command("build", epilog=examples("jupyter loopat build --verbose"))
@click.option("--force", is_flag=True, help="Build from scratch even if the image is there, with the newest packages.")
@click.option("--verbose", is_flag=True, help="Show podman's output as it comes.")
@pass_session
def build_verb(session: Session, *, force: bool, verbose: bool) -> None:
    """Build the sandbox image. The first start of a loop does it by itself; this does it ahead of time."""
    manager = session.manager
    manager.workspace.prepare()
    if verbose:
        built = manager.images.build(
            on_progress=lambda _: None, on_line=lambda line: click.echo(plain(line)), force=force
        )
        image_id = session.run(built)
    else:
        with shown_progress(session, "Sandbox image") as tell:
            image_id = session.run(manager.images.build(on_progress=tell, force=force))
    click.echo(f"The sandbox image is ready: {manager.images.template().tag}  {image_id[:12]}")


@click.command("gc", epilog=examples("jupyter loopat gc", "jupyter loopat gc --yes"))
@as_json
@click.option("--yes", "-y", is_flag=True, help="Remove what was found.")
@pass_session
def gc_verb(session: Session, *, json: bool, yes: bool) -> None:
    """Show what nothing needs any more, and with --yes remove it.

    That is: containers of this workspace whose loop was deleted, containers of builds whose podman was killed, sandbox
    images made from older templates, images built for projects of deleted loops, runtime folders of deleted loops,
    loops that were begun and never finished, copies of repos that no loop has used for a week, copies of projects and
    toolchains whose build was killed, and build logs older than a week. Loops and their files are never touched.
    """
    leftovers = session.run(session.manager.upkeep.gc(remove=yes))
    if json:
        session.show_json({"removed": yes, "leftovers": leftovers})
        return
    if not leftovers:
        click.echo("Nothing is left over.")
        return
    session.show(leftovers_table(leftovers))
    freed = sum(leftover.size_bytes or 0 for leftover in leftovers)
    found = f"{count(len(leftovers), 'leftover')}{f', up to {size(freed)}' if freed else ''}"
    session.tell(f"\nRemoved {found}." if yes else f"\n{found}. Remove with `jupyter loopat gc --yes`.")
