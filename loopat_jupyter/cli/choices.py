"""Options with which a loop decides for itself, and what they come to; for verbs that make or change loops."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click
import msgspec

from loopat_jupyter.cli.text import parse_size, size
from loopat_jupyter.errors import BadInputError
from loopat_jupyter.models import LoopConfig
from loopat_jupyter.values import Resources
from loopat_jupyter.wording import in_words, problem_and_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

FIELDS: Mapping[str, str] = {
    "image": "image",
    "network": "network",
    "isolation": "isolation",
    "shared-tmp": "shared_tmp",
    "knowledge-rw": "knowledge_rw",
    "cpus": "cpus",
    "memory": "memory_bytes",
    "pids": "pids",
    "shm-size": "shm_size_bytes",
    "device": "devices",
}
"""Each of these options, and the field that it sets."""

_BOUND = re.compile(r"a whole number of (at least|at most) (\d+)")
"""How the bound of a size in bytes is told; a person gave a size with a unit."""


def _size_bytes(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """For options that take a size."""
    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from None


_OPTIONS = (
    click.option("--image", metavar="IMAGE", help="Use this image in place of the workspace's."),
    click.option("--network", type=click.Choice(["bridge", "none"]), help="`none`: no network at all."),
    click.option(
        "--isolation",
        type=click.Choice(["nested", "strict", "privileged"]),
        help="`nested`: podman runs inside. `strict`: least rights, no sudo. `privileged`: dangerous.",
    ),
    click.option("--shared-tmp/--private-tmp", default=None, help="Share the host's /tmp with the loop, or not."),
    click.option("--knowledge-rw", is_flag=True, default=None, help="Let it change its copy of the team's knowledge."),
    click.option("--cpus", type=float, metavar="NUMBER", help="Processors at most; 1.5 is one and a half."),
    click.option(
        "--memory", "memory_bytes", callback=_size_bytes, metavar="SIZE", help="Memory at most, such as 4GiB."
    ),
    click.option("--pids", type=int, metavar="NUMBER", help="Processes and threads at most."),
    click.option(
        "--shm-size", "shm_size_bytes", callback=_size_bytes, metavar="SIZE", help="Size of /dev/shm, such as 1GiB."
    ),
    click.option(
        "--device",
        "devices",
        multiple=True,
        metavar="NAME",
        help="A device by its CDI name, such as nvidia.com/gpu=all; may be given again.",
    ),
)


def own_choices(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options of `FIELDS`, under the names of their fields."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def is_given(value: object) -> bool:
    """Whether an option was given."""
    return value not in (None, ())


def chosen(before: LoopConfig, own: Mapping[str, object], *, unset: Iterable[str] = ()) -> LoopConfig:
    """The settings of a loop with what was asked for.

    Args:
        before: Its settings until now.
        own: Values by field; the image is none of the settings.
        unset: Options that go back to what the workspace says.

    Raises:
        BadInputError: A value is out of its range; names the option.
    """
    changed: dict[str, object] = {FIELDS[option]: None for option in unset if option != "image"}
    changed |= {field: value for field, value in own.items() if is_given(value)}
    config = msgspec.to_builtins(before)
    for field, value in changed.items():
        (config["resources"] if field in Resources.__struct_fields__ else config)[field] = value
    try:
        return msgspec.convert(config, LoopConfig)
    except msgspec.ValidationError as error:
        problem, place = problem_and_place(str(error))
        options = {field: option for option, field in FIELDS.items()}
        field = place.partition("resources.")[2].partition("[")[0]
        words = in_words(problem)
        if field.endswith("_bytes"):
            words = _BOUND.sub(lambda bound: f"{bound[1]} {size(int(bound[2]))}", words)
        raise BadInputError(f"--{options[field]}", words) from error
