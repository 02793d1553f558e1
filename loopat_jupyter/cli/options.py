"""Options that several verbs share."""

from __future__ import annotations

import click

as_json = click.option("--json", is_flag=True, help="Print JSON and nothing else.")
without_asking = click.option("--yes", "-y", is_flag=True, help="Do it without asking.")


def examples(*commands: str) -> str:
    """The end of a verb's help.

    Args:
        commands: What a person might type.
    """
    # click keeps the line breaks of a paragraph that begins with a backspace.
    return "\n".join(("\b", "Example:" if len(commands) == 1 else "Examples:", *(f"  {line}" for line in commands)))
