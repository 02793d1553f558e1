"""profiles, project: what a loop can be made with, and what the project in it asks for."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import click
import msgspec
from rich.text import Text

from loopat_jupyter.cli.options import as_json, examples, without_asking
from loopat_jupyter.cli.progress import shown_progress
from loopat_jupyter.cli.references import find_loop, loop_argument
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.views import bare_table
from loopat_jupyter.errors import BadInputError, plain
from loopat_jupyter.models import ExecSpec, LoopConfig
from loopat_jupyter.project import FIXED_IMAGE, as_allowed, build_project, find_project
from loopat_jupyter.sandbox.execution import run_inherited
from loopat_jupyter.workspace.profiles import list_profiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.project import ProjectFile
    from loopat_jupyter.workspace.fixed import Amend
    from loopat_jupyter.workspace.profiles import Profile


@click.command("profiles", epilog=examples("jupyter loopat profiles"))
@as_json
@pass_session
def profiles_verb(session: Session, *, json: bool) -> None:
    """List the profiles of the workspace: what `jupyter loopat create --profile NAME` takes."""
    workspace = session.manager.workspace
    found = list_profiles(workspace)
    if json:
        session.show_json({"profiles": found})
    elif found:
        session.show(profiles_table(found))
    else:
        session.show(Text(f"No profiles yet. Make one as a folder in {workspace.profiles}."))


def profiles_table(profiles: Sequence[Profile]) -> RenderableType:
    """One line per profile.

    Args:
        profiles: In the order to show.
    """
    table = bare_table("PROFILE", "WHAT IT IS")
    for profile in profiles:
        table.add_row(Text(profile.name, style="cyan"), Text(plain(profile.description)))
    return table


@click.command(
    "project",
    epilog=examples('jupyter loopat project "Sales in May"', 'jupyter loopat project "Sales in May" --install'),
)
@loop_argument()
@click.option("--install", is_flag=True, help="Run the commands that it shows, inside, one after the other.")
@click.option("--use", is_flag=True, help="Take over the image and the variables that a devcontainer.json names.")
@click.option("--build", is_flag=True, help="Build the image that a devcontainer.json describes, and take it over.")
@without_asking
@as_json
@pass_session
def project_verb(session: Session, *, loop: str, install: bool, use: bool, build: bool, yes: bool, json: bool) -> None:
    """Show what the project in a loop says of the environment it wants, and what a loop can do about it.

    Without an option nothing is changed and nothing is run. Commands run inside the loop, never outside. An image is
    built by podman, outside the loop, from a copy of the project's files.
    """
    record = find_loop(session.manager, loop)
    found = find_project(session.manager.workspace.workdir(record.id), record.id)
    found = as_allowed(found, session.manager.config, record.id)
    if install and json:
        raise click.UsageError("What the commands of --install print is no JSON: leave --json out.")
    if use or build:
        _take_over(session, record, found, use=use, build=build, yes=yes, json=json)
    if install:
        raise click.exceptions.Exit(_install(session, record, found))
    if use or build:
        return
    if json:
        session.show_json({"files": found})
    elif found:
        session.show(project_table(found))
    else:
        session.show(Text("The project in this loop says nothing of its environment that is known here."))


def project_table(found: Sequence[ProjectFile]) -> RenderableType:
    """One line per thing that is asked for.

    Args:
        found: In the order to show.
    """
    table = bare_table("", "FILE", "WANTS", "WHAT BECOMES OF IT")
    for entry in found:
        mark = Text("✓", style="green") if entry.honoured else Text("!", style="yellow")
        note = Text(plain(entry.note))
        if entry.command is not None:
            note.append(f"\n$ {plain(entry.command)}", style="bold")
        table.add_row(mark, Text(plain(entry.file)), Text(plain(_wish(entry))), note)
    return table


def _wish(entry: ProjectFile) -> str:
    match entry.value:
        case None:
            return entry.kind
        case str(value):
            return f"{entry.kind}: {value}"
        case dict(value) if entry.kind == "build":
            return f"{entry.kind}: {value.get('dockerfile')}"
        case value:
            return f"{entry.kind}: {', '.join(map(str, value))}"


def _take_over(
    session: Session,
    record: LoopRecord,
    found: Sequence[ProjectFile],
    *,
    use: bool,
    build: bool,
    yes: bool,
    json: bool,
) -> None:
    manager = session.manager
    changes: dict[str, object] = {}
    fixed = []
    for entry in found:
        if not entry.honoured and ((use and entry.kind == "image") or (build and entry.kind == "build")):
            fixed.append(entry)
        elif use and entry.kind == "image":
            changes["image"] = entry.value
        elif use and entry.kind == "variables" and isinstance(entry.value, dict):
            amend: Amend = functools.partial(with_variables, variables=entry.value)
            changes["config"] = amend
        elif build and entry.kind == "build" and isinstance(entry.value, dict):
            session.confirm(
                f"Podman runs the instructions of {entry.value.get('dockerfile')} on this machine, outside the loop, "
                "as you: on any of your images but those of other loops' projects. Build the image that they describe?",
                yes=yes,
            )
            with shown_progress(session, "Image") as tell:
                work = build_project(
                    manager.workspace,
                    manager.engine,
                    manager.images,
                    manager.config,
                    record=record,
                    wanted=entry,
                    tell=tell,
                )
                changes["image"] = session.run(work)
    if fixed and not changes:
        raise BadInputError("project", FIXED_IMAGE)
    for entry in fixed:
        session.warn(entry.note)
    if not changes:
        raise BadInputError("project", "names no image and no variables that could be taken over")
    session.run(manager.update(record.id, changes))
    if json:
        session.show_json(session.run(manager.get(record.id)))
        return
    taken = " and ".join({"image": "image", "config": "variables"}[name] for name in sorted(changes))
    click.echo(f"Took over its {taken}: they count when the sandbox starts next.")


def with_variables(config: LoopConfig, variables: dict[str, str]) -> LoopConfig:
    """A loop's settings with more variables.

    Args:
        config: The settings.
        variables: They win.
    """
    return msgspec.structs.replace(config, env={**config.env, **variables})


def _install(session: Session, record: LoopRecord, found: Sequence[ProjectFile]) -> int:
    commands = [entry.command for entry in found if entry.command is not None]
    if not commands:
        raise BadInputError("project", "has no command to run")
    manager = session.manager

    async def work() -> int:
        with shown_progress(session, f"Sandbox of {record.title}") as tell:
            running = await manager.use(record, tell)
        for number, command in enumerate(commands, start=1):
            session.tell(f"step {number} of {len(commands)} · {command}", style="bold")
            # A command of a project is a line of the shell by its own specification; it runs inside only.
            spec = await manager.vaults.equipped(record, ExecSpec(argv=("bash", "-c", command)))
            code = await run_inherited(manager.engine, running, manager.workspace.run(record.id), spec)
            if code:
                session.tell(f"That ended with exit code {code}; what comes after it was not run.", style="red")
                return code
        session.tell("Installed.", style="green")
        return 0

    return session.run(work())
