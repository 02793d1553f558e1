"""One thing that a project asks for, as a value."""

from __future__ import annotations

from typing import Literal

from loopat_jupyter.models import Value


class ProjectFile(Value, frozen=True, kw_only=True):
    """Something that a project says of the environment it wants.

    Attributes:
        file: Where it says so, relative to the workdir.
        kind: What it is about.
        honoured: Whether it can be had in a loop.
        note: What becomes of it, in a sentence for a person.
        command: What to run inside to have it; None when there is nothing to run.
        value: The image, the variables or the ports that it names.
    """

    file: str
    kind: Literal["packages", "tools", "image", "build", "variables", "command", "ports", "other"]
    honoured: bool
    note: str
    command: str | None = None
    value: str | dict[str, str] | list[int] | None = None
