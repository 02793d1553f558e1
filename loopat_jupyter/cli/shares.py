"""share: what a loop shows to others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from loopat_jupyter.cli.options import as_json, examples
from loopat_jupyter.cli.progress import shown_progress
from loopat_jupyter.cli.references import find_loop, loop_argument
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.text import short_id
from loopat_jupyter.errors import plain
from loopat_jupyter.shares import change_share, look_at_share
from loopat_jupyter.values import Share
from loopat_jupyter.wording import listing

if TYPE_CHECKING:
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.values import ShareMode, Sharing

_STATES = {
    "ready": "",
    "not_listening": "Nothing in the loop is reached at port {port} yet: a program there must listen on 0.0.0.0.",
    "stopped": "{title} is stopped. To start it: jupyter loopat start {id}",
    "restart_needed": "{title} is shared once it is recreated: jupyter loopat recreate {id}",
    "archived": "{title} is archived, so nothing is shown. To bring it back: jupyter loopat unarchive {id}",
}

_WAY_OUT = "Let the program listen on 0.0.0.0, often with an option such as --host 0.0.0.0."


@click.command(
    "share",
    epilog=examples(
        'jupyter loopat share "Sales in May" --port 8000 --alias sales',
        'jupyter loopat share "Sales in May" --static',
        'jupyter loopat share "Sales in May" --direct 5432',
        'jupyter loopat share "Sales in May" --off',
    ),
)
@loop_argument()
@click.option(
    "--port", type=int, metavar="PORT", help="Show the web server at this port of the loop under a host name."
)
@click.option("--static", is_flag=True, help="Show the files of the loop, without hidden ones, under a host name.")
@click.option("--direct", type=int, metavar="PORT", help="Lead a port of this machine to this port of the loop.")
@click.option("--ephemeral", type=int, metavar="PORT", help="The same, under a number that podman picks at each start.")
@click.option("--off", is_flag=True, help="Share nothing.")
@click.option(
    "--alias",
    metavar="NAME",
    help="First part of the host name, in place of the beginning of the id. It stays until --off.",
)
@click.option("--udp", is_flag=True, help="The port is a UDP one, with --direct or --ephemeral.")
@click.option("--public-port", type=int, metavar="PORT", help="The port of this machine, with --direct.")
@as_json
@pass_session
def share_verb(
    session: Session,
    *,
    loop: str,
    port: int | None,
    static: bool,
    direct: int | None,
    ephemeral: int | None,
    off: bool,
    alias: str | None,
    udp: bool,
    public_port: int | None,
    json: bool,
) -> None:
    """Show files or a port of a loop to others, or what is shown now.

    Shared things are found at this machine alone, unless [share] of the configuration says otherwise. The first time
    this builds a small image.
    """
    every: tuple[tuple[ShareMode, int | None, bool], ...] = (
        ("port", port, port is not None),
        ("static", None, static),
        ("direct", direct, direct is not None),
        ("ephemeral", ephemeral, ephemeral is not None),
        ("off", None, off),
    )
    asked = [(mode, number) for mode, number, wanted in every if wanted]
    if len(asked) > 1:
        raise click.UsageError("Give one of --port, --static, --direct, --ephemeral and --off.")
    if not asked and (alias or udp or public_port):
        raise click.UsageError("Say what to share: --port, --static, --direct or --ephemeral.")
    record = find_loop(session.manager, loop)
    if asked:
        ((mode, number),) = asked
        if alias is None and mode in ("port", "static"):
            alias = record.share.alias
        share = Share(mode=mode, port=number, alias=alias, protocol="udp" if udp else "tcp", public_port=public_port)
        with shown_progress(session, f"Sharing of {record.title}") as tell:
            sharing = session.run(change_share(session.manager, record, share, on_progress=tell))
    else:
        sharing = session.run(look_at_share(session.manager, record))
    if json:
        session.show_json(sharing)
    else:
        click.echo(told(record, sharing, whole=not asked))
        index = session.manager.workspace.workdir(record.id) / "index.html"
        if sharing.mode == "static" and not index.is_file():
            click.echo("The loop has no index.html, so ask for a file by its name behind this address.")


def told(record: LoopRecord, sharing: Sharing, *, whole: bool = False) -> str:
    """What to say of what a loop shows.

    Args:
        record: The loop.
        sharing: What it shows.
        whole: Say also what that is, and what else could be shown; who has just chosen it knows.
    """
    lines = [sharing.url] if sharing.url else []
    if whole and sharing.mode != "off":
        what = "Its files are" if sharing.mode == "static" else f"Its port {sharing.port}/{sharing.protocol} is"
        lines.append(f"{what} shared, as {sharing.mode}.")
    if sharing.state == "off":
        lines.append("Nothing is shared.")
    elif hint := _STATES[sharing.state].format(port=sharing.port, title=plain(record.title), id=short_id(record.id)):
        lines.append(hint)
    if whole or sharing.state in ("off", "not_listening"):
        names = {found: f"{found.port}/{found.protocol}" for found in sharing.listening}
        if shown := [name for found, name in names.items() if found.reachable]:
            lines.append(f"Programs in the loop listen on {listing(shown)}.")
        if hidden := [name for found, name in names.items() if not found.reachable]:
            lines.append(f"For the loop alone, as on 127.0.0.1, and not to be shared: {listing(hidden)}. {_WAY_OUT}")
    return "\n".join(lines)
