"""fetch, repo: the repo of a loop, and the repos that can be picked by name."""

from __future__ import annotations

import contextlib

import click

from loopat_jupyter.cli.app import Group
from loopat_jupyter.cli.options import as_json, examples, from_here
from loopat_jupyter.cli.progress import shown_progress
from loopat_jupyter.cli.references import find_loop, loop_argument
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.text import changed_text
from loopat_jupyter.cli.views import repos_table
from loopat_jupyter.errors import EngineError, plain
from loopat_jupyter.fetching import fetch_repo
from loopat_jupyter.repos.addresses import check_address


@click.command("fetch", epilog=examples('jupyter loopat fetch "Fix the footer"'))
@loop_argument()
@pass_session
def fetch_verb(session: Session, *, loop: str) -> None:
    """Fetch the repo that could not be reached when a loop was made. What is in the loop already stays."""
    record = find_loop(session.manager, loop)
    with shown_progress(session, f"Repo of {record.title}") as tell:
        fetched = session.run(fetch_repo(session.manager, record, on_progress=tell))
    for warning in fetched.warnings:
        session.warn(warning)
    said = f"{plain(fetched.title)} has the files of {plain(fetched.repo or '')}, on branch {fetched.branch}."
    # They are there, also where podman cannot say whether a sandbox runs that does not see the repo's history.
    with contextlib.suppress(EngineError):
        said = changed_text(session.run(session.manager.get(record.id)), said=said)
    click.echo(said)


@click.group("repo", cls=Group, epilog=examples("jupyter loopat repo add website git@example.org:team/website.git"))
def repo_verb() -> None:
    """Repos that `create --repo` takes by name."""


@repo_verb.command("list", epilog=examples("jupyter loopat repo list"))
@as_json
@pass_session
def list_repos(session: Session, *, json: bool) -> None:
    """List the registered repos."""
    repos = session.manager.cargo.checkout.repos()
    if json:
        session.show_json({"repos": repos})
    elif repos:
        session.show(repos_table(repos))
    else:
        click.echo("No repos are registered. `jupyter loopat repo add NAME ADDRESS` registers one.")


@repo_verb.command("add", epilog=examples("jupyter loopat repo add website git@example.org:team/website.git"))
@click.argument("name")
@click.argument("address", callback=from_here)
@pass_session
def add_repo(session: Session, *, name: str, address: str) -> None:
    """Register a repo under a name.

    ADDRESS is a URL, user@host:path, or a path on this machine that begins with / or a dot. It is fetched when the
    first loop is made from it.
    """
    registry = session.manager.cargo.checkout.registry
    before = {repo.name: repo.url for repo in registry.all()}.get(name)
    repo = session.run(registry.add(name, check_address(address, "address")))
    told = f", no longer {plain(before)}" if before not in (None, repo.url) else ""
    click.echo(f"{repo.name} is {repo.url}{told}.")


@repo_verb.command("rm", epilog=examples("jupyter loopat repo rm website"))
@click.argument("name")
@pass_session
def remove_repo(session: Session, *, name: str) -> None:
    """Forget a repo. Loops that were made from it stay as they are."""
    session.run(session.manager.cargo.checkout.registry.remove(name))
    click.echo(f"{name} is forgotten.")
