"""Which images a project's Containerfile names, to build upon, to copy or to mount from. Pure."""

from __future__ import annotations

import collections
import re
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.project.containerfile import refused
from loopat_jupyter.project.instructions import mount_options
from loopat_jupyter.sandbox.project_images import PROJECT_IMAGE, project_image
from loopat_jupyter.workspace.acceptable import check_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from loopat_jupyter.project.containerfile import Containerfile, Instruction

_NO_IMAGE = "scratch"
_STAGE = 3
"""Words of a `FROM … AS …`."""

_MAY_BE_ID = re.compile(r"(?:sha256:)?[0-9a-f]+\Z")
_VARIABLE = re.compile(r"\$(?:(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\})", re.ASCII)
_INDEX = re.compile(r"(?:0|[1-9][0-9]?)\Z")
_DEFAULT = re.compile(
    r"(?P<name>[A-Za-z_]\w*)(?:=(?:(?P<value>[\w./:@${}-]*)|\"(?P<quoted>[\w./:@${}-]*)\"))?[ \t]*\Z", re.ASCII
)
_ASSIGNED = re.compile(r"(\w+)=", re.ASCII)
_PODMANS_OWN = frozenset(
    f"{whose}{what}" for whose in ("BUILD", "TARGET") for what in ("ARCH", "OS", "PLATFORM", "VARIANT")
)
"""Variables that podman gives values of its own, whatever the Containerfile says."""


class Reference(NamedTuple):
    """An image that is named.

    Attributes:
        name: As podman is to look for it.
        base: Whether something is built upon it.
        optional: Whether it may not be meant: a stage may have that name, or it is for builds upon the image.
    """

    name: str
    base: bool
    optional: bool


def named_images(containerfile: Containerfile, loop_id: str) -> list[Reference]:
    """The images that a build may take something of.

    Args:
        containerfile: What may be there; its mounts are written plainly.
        loop_id: The loop of the project.

    Returns:
        Each name once.

    Raises:
        BadInputError: One is no plain name of an image, may be an id, or is the image of another loop's project.
    """
    stages: list[str] = []
    found: dict[str, Reference] = {}
    variables = _variables(containerfile.instructions)
    for instruction in containerfile.instructions:
        for name in _names(instruction, variables):
            is_index = _INDEX.match(name) is not None and int(name) < len(stages)
            is_stage = (is_index or name in stages) and not instruction.later
            if name == _NO_IMAGE or (is_stage and not containerfile.ambiguous):
                continue
            _check(name, loop_id)
            base = instruction.keyword == "FROM"
            before = found.get(name, Reference(name, base=False, optional=True))
            optional = before.optional and (is_stage or instruction.later)
            found[name] = Reference(name, before.base or base, optional)
        words = _words(instruction)
        if words and not instruction.later:
            stages.append(words[-1] if len(words) == _STAGE else "")
    return list(found.values())


def _words(instruction: Instruction) -> list[str]:
    """What stands behind a FROM; nothing where podman would not take it: then this is a line of some other text."""
    words = instruction.arguments.split() if instruction.keyword == "FROM" else []
    return words if len(words) == 1 or (len(words) == _STAGE and words[1].upper() == "AS") else []


def _names(instruction: Instruction, variables: dict[str, str]) -> Iterator[str]:
    """What one instruction names, stages too."""
    if instruction.keyword == "FROM":
        for word in _words(instruction)[:1]:
            yield _VARIABLE.sub(lambda found: variables.get(found["name"] or found["braced"], found[0]), word)
    elif instruction.keyword == "COPY":
        yield from (value for name, value in instruction.flags if name == "from")
    elif instruction.keyword == "RUN":
        for flag, value in instruction.flags:
            if flag == "mount":
                yield from (source for name, source in mount_options(value) if name == "from")


def _variables(instructions: Iterable[Instruction]) -> dict[str, str]:
    """What variables are to a `FROM`, as far as nobody can read that differently."""
    values: dict[str, str] = {}
    mentioned: collections.Counter[str] = collections.Counter()
    heading = True

    def value_of(found: re.Match[str]) -> str:
        return values.get(found["name"] or found["braced"], found[0])

    for instruction in instructions:
        heading = heading and instruction.keyword != "FROM"
        if instruction.keyword != "ARG":
            continue
        plain = _DEFAULT.match(instruction.arguments)
        if not heading:
            mentioned.update(_ASSIGNED.findall(instruction.arguments))
        elif plain is None:
            # With quotes and variables it may set any.
            return {}
        else:
            mentioned[plain["name"]] += 1
            value = plain["value"] if plain["quoted"] is None else plain["quoted"]
            if value is not None:
                values[plain["name"]] = _VARIABLE.sub(value_of, value)
    return {name: value for name, value in values.items() if mentioned[name] == 1 and name not in _PODMANS_OWN}


def _check(name: str, loop_id: str) -> None:
    try:
        check_image(name)
    except BadInputError:
        raise refused(
            f"{name[:80]!r} is no image such as `python:3.13` and no stage before. Name one, without quotes, and "
            "without variables other than those that one `ARG NAME=value` before the first FROM sets"
        ) from None
    if _MAY_BE_ID.match(name):
        raise refused(f"{name[:80]!r} may be the id of any image of yours. Name an image or stage by its name")
    own = project_image(loop_id).rpartition("/")[2].partition(":")[0]
    last = name.partition("@")[0].rpartition("/")[2].partition(":")[0]
    if last.startswith(PROJECT_IMAGE) and last != own:
        raise refused(f"{name[:80]!r} is the image of another loop's project. Name another image")
