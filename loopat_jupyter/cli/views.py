"""What verbs print, from values. Pure: nothing here asks anybody or prints.

Titles and messages are data, so they are put in as text and never read as markup.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from loopat_jupyter.cli.text import ago, short_id, size
from loopat_jupyter.errors import plain
from loopat_jupyter.wording import count

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from loopat_jupyter.models import (
        Check,
        ContextKind,
        ContextRemote,
        Health,
        Kernelspec,
        Loop,
        Proposal,
        Repo,
        State,
    )
    from loopat_jupyter.sandbox.leftovers import Leftover
    from loopat_jupyter.values import Resources
    from loopat_jupyter.vaults import Vault

_GOES: dict[ContextKind, str] = {
    "knowledge": "goes to everybody",
    "notes": "goes to everybody",
    "personal": "goes to your other loops",
}

_STATES: dict[State, tuple[str, str]] = {
    "absent": ("○ not started", "dim"),
    "preparing": ("◐ preparing", "yellow"),
    "running": ("● running", "green"),
    "stopped": ("○ stopped", ""),
    "error": ("✗ error", "red"),
}


def quoted(loop: Loop) -> str:
    """A word for a loop that can be typed after a command."""
    return shlex.quote(short_id(loop.id))


def state(loop: Loop) -> Text:
    """The state as mark, word and colour; any one of the three is enough to tell."""
    failed = loop.build_failed and loop.state in ("absent", "stopped")
    word, style = ("✗ build failed", "red") if failed else _STATES[loop.state]
    text = Text(word, style=style)
    if loop.progress is not None:
        text.append(f": {plain(str(loop.progress))}")
    if loop.restart_needed:
        text.append(", recreate needed", style="yellow")
    if loop.archived:
        text.append(", archived", style="dim")
    return text


def loops_table(loops: Iterable[Loop], now: dt.datetime) -> Table:
    """One line per loop, without its warnings, which would make the table as wide as they are long.

    Args:
        loops: In the order to show.
        now: For "3 min ago".
    """
    table = bare_table("ID", "TITLE", "STATE", "LAST USED")
    table.columns[0].style = "cyan"
    table.columns[0].no_wrap = True
    for loop in loops:
        table.add_row(
            short_id(loop.id), Text(plain(loop.title)), state(loop), Text(ago(loop.last_activity, now), style="dim")
        )
    return table


def no_loops() -> Text:
    """What a person sees before the first loop."""
    return Text.assemble(
        "No loops yet. A loop is a piece of work with its own folder and its own container: its notebooks,\n"
        "terminals and commands run in there together, and apart from everything else.\n\n",
        "Make the first one with  ",
        ("jupyter loopat create 'My first loop'", "bold"),
    )


def repos_table(repos: Iterable[Repo]) -> Table:
    """One line per registered repo.

    Args:
        repos: In the order to show.
    """
    table = bare_table("NAME", "ADDRESS", "DEFAULT BRANCH")
    table.columns[0].style = "cyan"
    for repo in repos:
        table.add_row(repo.name, Text(plain(repo.url)), Text(plain(repo.default_branch or "")))
    return table


def contexts_table(remotes: Iterable[ContextRemote]) -> Table:
    """One line per context.

    Args:
        remotes: In the order to show.
    """
    table = bare_table("CONTEXT", "KEPT AT", "WHAT LOOPS PROMOTE")
    table.columns[0].style = "cyan"
    for remote in remotes:
        kept = Text(plain(remote.remote)) if remote.remote else Text("in this workspace", style="dim")
        table.add_row(remote.kind, kept, "waits to be merged" if remote.gated else _GOES[remote.kind])
    return table


def proposals_table(proposals: Iterable[Proposal], now: dt.datetime) -> Table:
    """One line per proposal.

    Args:
        proposals: In the order to show.
        now: For "3 min ago".
    """
    table = bare_table("CONTEXT", "LOOP", "TITLE", "COMMIT", "CHANGES", "BY", "WHEN")
    table.columns[1].style = "cyan"
    for proposal in proposals:
        changes = f"{count(len(proposal.files), 'file')}, {count(proposal.commits, 'commit')}"
        table.add_row(
            proposal.kind,
            short_id(proposal.loop_id),
            Text(plain(proposal.title)),
            proposal.commit[:10],
            changes,
            Text(plain(proposal.author)),
            Text(ago(proposal.created_at, now), style="dim"),
        )
    return table


def _origin(loop: Loop) -> str:
    """Where a loop's branch began, in words."""
    at = f"{loop.commit[:10]}" if loop.commit else "nothing"
    return plain(f"{loop.ref} ({at})" if loop.ref and loop.ref != loop.commit else at)


def vaults_table(vaults: Iterable[Vault]) -> Table:
    """One line per vault: names only, never a value; without warnings, which would make it as wide as they are long.

    Args:
        vaults: In the order to show.
    """
    table = bare_table("VAULT", "VARIABLES", "IN THE HOME", "")
    table.columns[0].style = "cyan"
    for vault in vaults:
        state = ("encrypted, locked" if vault.locked else "encrypted") if vault.encrypted else ""
        variables, home = Text("\n".join(vault.variables)), Text(plain("\n".join(vault.home)))
        table.add_row(vault.name, variables, home, Text(state, style="dim"))
    return table


def no_vaults() -> Text:
    """What a person sees before the first vault."""
    return Text.assemble(
        "No vaults yet. Put the first secret into the default one with  ",
        ("jupyter loopat vault set API_TOKEN", "bold"),
    )


def loop_sheet(loop: Loop, kernels: Sequence[tuple[str, str]], now: dt.datetime) -> RenderableType:
    """Everything about one loop.

    Args:
        loop: The loop.
        kernels: Name to use outside and what it is, where known.
        now: For "3 min ago".
    """
    sheet = Table.grid(padding=(0, 2))
    sheet.add_column(style="dim", no_wrap=True)
    sheet.add_column(overflow="fold")
    rows: list[tuple[str, RenderableType]] = [
        ("id", Text(loop.id, style="cyan")),
        ("short name", Text(loop.slug)),
        ("state", state(loop)),
        ("files", Text(plain(str(loop.workdir)))),
        *([("repo", Text(plain(loop.repo)))] if loop.repo else []),
        *([("branch", Text(f"{loop.branch} from {_origin(loop)}"))] if loop.branch else []),
        ("created", Text(f"{loop.created_at.astimezone():%Y-%m-%d %H:%M} by {plain(loop.created_by)}")),
        ("last used", Text(ago(loop.last_activity, now))),
        ("profiles", Text(", ".join(loop.profiles) or "none")),
        ("vault", Text(loop.vault)),
        ("image", Text(loop.image or "as the workspace says")),
        ("network", Text(loop.config.network or "as the workspace says")),
        ("isolation", Text(loop.config.isolation or "as the workspace says")),
    ]
    if limits := _limits(loop.config.resources):
        rows.append(("limits", Text(limits)))
    if loop.config.env:
        rows.append(("variables", Text(", ".join(sorted(loop.config.env)))))
    if loop.config.shared_tmp is not None:
        rows.append(("shares /tmp", Text("yes" if loop.config.shared_tmp else "no")))
    if loop.config.knowledge_rw:
        rows.append(("knowledge", Text("may be changed")))
    if loop.config.all_loops:
        rows.append(("sees all loops", Text("yes, read-only")))
    if loop.share.mode != "off":
        what = f"port {loop.share.port}" if loop.share.port else "files"
        rows.append(("shared", Text(f"{what}; `jupyter loopat share {short_id(loop.id)}` says where")))
    if loop.metadata:
        rows.append(("metadata", Text(plain(json.dumps(loop.metadata, ensure_ascii=False)))))
    if kernels:
        rows.append(("kernels", Text("\n").join(_kernel(name, about) for name, about in kernels)))
    for label, value in rows:
        sheet.add_row(label, value)
    warnings = [Text(f"! {plain(warning)}", style="yellow") for warning in loop.warnings]
    return Group(Text(plain(loop.title), style="bold"), Padding(sheet, (0, 0, 0, 2), expand=False), *warnings)


def _limits(resources: Resources) -> str:
    """The limits and devices that a loop chose for itself, in words; empty where it chose none."""
    words = {
        "cpus": None if resources.cpus is None else f"{resources.cpus:g}",
        "memory": None if resources.memory_bytes is None else size(resources.memory_bytes),
        "pids": resources.pids,
        "shm-size": None if resources.shm_size_bytes is None else size(resources.shm_size_bytes),
        "device": None if resources.devices is None else " ".join(resources.devices) or "none",
    }
    return ", ".join(f"{name} {word}" for name, word in words.items() if word is not None)


def _kernel(name: str, about: str) -> Text:
    return Text.assemble((plain(name), "cyan"), (f"  {plain(about)}" if about else "", "dim"))


def created_sheet(loop: Loop) -> RenderableType:
    """What a person wants to know right after making a loop."""
    name = quoted(loop)
    commands: list[RenderableType] = []
    for about, command in (
        ("a terminal in it", f"jupyter loopat shell {name}"),
        ("one command", f"jupyter loopat exec {name} python3 --version"),
        ("its kernels, for nbconvert and papermill", f"jupyter loopat kernelspecs {name}"),
    ):
        # Whole and on a line of its own: it is to be copied.
        commands.append(Text(f"# {about}", style="dim"))
        commands.append(Text(command, style="bold", no_wrap=True, overflow="ignore"))
    return Group(
        Text.assemble("Made loop ", (plain(loop.title), "bold"), "  ", (loop.id, "cyan")),
        Text(f"Its files are in {plain(str(loop.workdir))}", no_wrap=True, overflow="ignore"),
        Text(""),
        *commands,
    )


def health_sheet(health: Health, *, brief: bool = False) -> RenderableType:
    """One line per check; below them, for each failed one, the command that fixes it, whole and ready to be copied.

    Args:
        health: The checks.
        brief: Leave out those that are in order.
    """
    table = bare_table("", "CHECK", "RESULT")
    fixing: list[RenderableType] = []
    shown = [check for check in health.checks if not (brief and check.ok)]
    if not shown:
        return _verdict(health)
    for check in shown:
        mark = _mark(check)
        table.add_row(mark, Text(plain(check.name)), Text(plain(check.detail)))
        if not check.ok and check.fix:
            fixing += [Text(""), Text.assemble(mark, f" {plain(check.name)}: fix it with")]
            fixing.append(Text(f"  {plain(check.fix)}", style="bold", no_wrap=True, overflow="ignore"))
    return Group(table, *fixing, Text(""), _verdict(health))


def _mark(check: Check) -> Text:
    if check.ok:
        return Text("✓ ok", style="green")
    return Text("✗ fails", style="red") if check.required else Text("! advice", style="yellow")


def _verdict(health: Health) -> Text:
    if not health.ok:
        return Text("This machine cannot run loops yet. Fix what is marked ✗, then run this again.", style="red")
    verdict = Text("This machine can run loops.", style="green")
    if not all(check.ok for check in health.checks):
        verdict.append(" What is marked ! would make it better.", style="default")
    return verdict


def kernelspecs_table(specs: Iterable[tuple[str, Kernelspec]]) -> Table:
    """One line per kernel.

    Args:
        specs: The name to use outside the loop, and the kernel.
    """
    table = bare_table("--kernel", "INSIDE", "LANGUAGE", "SHOWN AS")
    table.columns[0].style = "cyan"
    for name, spec in specs:
        table.add_row(*(Text(plain(word)) for word in (name, spec.name, spec.language, spec.display_name)))
    return table


def leftovers_table(leftovers: Iterable[Leftover]) -> Table:
    """One line per thing that may go."""
    table = bare_table("WHAT", "NAME", "WHY", "SIZE")
    table.columns[3].justify = "right"
    for leftover in leftovers:
        freed = "" if leftover.size_bytes is None else size(leftover.size_bytes)
        table.add_row(leftover.kind, Text(plain(leftover.name)), Text(leftover.reason, style="dim"), freed)
    return table


def bare_table(*headers: str) -> Table:
    """A table without lines, as all verbs print them.

    Args:
        headers: Of its columns.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for header in headers:
        # What is too long goes on below: names, paths and addresses are there to be copied.
        table.add_column(header, overflow="fold")
    return table
