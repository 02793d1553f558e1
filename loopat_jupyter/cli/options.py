"""Options that several verbs share."""

from __future__ import annotations

import os

import click

as_json = click.option("--json", is_flag=True, help="Print JSON and nothing else.")
without_asking = click.option("--yes", "-y", is_flag=True, help="Do it without asking.")


class Number(click.FloatRange):
    """A number within bounds, called so."""

    name = "number"


class WholeNumber(click.IntRange):
    """A whole number within bounds, called so."""

    name = "whole number"


def from_here(context: click.Context, option: click.Parameter, address: str | None) -> str | None:
    """For addresses of repos: a path from the current folder on, which begins with a dot, becomes an absolute one."""
    del context, option
    if address is not None and address.split("/", 1)[0] in (".", ".."):
        return os.path.abspath(address)  # noqa: PTH100 - as it was written, whatever links lead where
    return address


def examples(*commands: str) -> str:
    """The end of a verb's help.

    Args:
        commands: What a person might type.
    """
    # click keeps the line breaks of a paragraph that begins with a backspace.
    return "\n".join(("\b", "Example:" if len(commands) == 1 else "Examples:", *(f"  {line}" for line in commands)))
