"""What a `devcontainer.json` asks for (Development Containers specification), and what of it a loop honours. Pure."""

from __future__ import annotations

import posixpath
import re
import shlex
from typing import TYPE_CHECKING, Any

import msgspec

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.models import VariableName, VariableValue
from loopat_jupyter.project.wishes import ProjectFile
from loopat_jupyter.sandbox.plan import sandbox_workdir
from loopat_jupyter.workspace.acceptable import check_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_TEXT = r'("(?:\\(?:.|\Z)|[^"\\])*(?:"|\Z))'
"""A string, closed or not: what is not closed matches to the end, so that nobody looks for its end again and again."""

_TOKEN = re.compile(_TEXT + r"|//[^\n]*|/\*(?:.*?\*/|.*\Z)", re.DOTALL)
_LAST_COMMA = re.compile(_TEXT + r"|,(?=\s*[}\]])", re.DOTALL)
_WORKDIR = ("${containerWorkspaceFolder}", "${localWorkspaceFolder}")
_SAID = frozenset(("name", "$schema"))
"""Keys that ask for nothing."""

_IMAGE = (
    "`jupyter loopat project LOOP --use` runs the loop in it, from the next start on. It must have bash and "
    "util-linux, and ipykernel for notebooks."
)
_BUILD = "`jupyter loopat project LOOP --build` builds it with podman and runs the loop in it, from the next start on."
_VARIABLES = "`jupyter loopat project LOOP --use` gives them to every process of the loop, from the next start on."
_PORTS = "Nothing is forwarded automatically: these are the ports that the project serves on."


def read_devcontainer(file: str, data: bytes, loop_id: str) -> tuple[ProjectFile, ...]:
    """What a devcontainer asks for, one entry for each thing.

    Args:
        file: Where it is, relative to the workdir.
        data: What is in it.
        loop_id: The loop.
    """
    try:
        wanted = msgspec.json.decode(without_comments(data.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        return (_other(file, f"It is broken: {str(error)[:200]}."),)
    if not isinstance(wanted, dict):
        return (_other(file, "It is broken: it is no object."),)
    return tuple(_entries(file, wanted, loop_id))


def without_comments(text: str) -> str:
    """JSON with comments and trailing commas as plain JSON.

    Args:
        text: What is written.
    """
    bare = _TOKEN.sub(lambda found: found[1] or " ", text)
    return _LAST_COMMA.sub(lambda found: found[1] or "", bare)


def _entries(file: str, wanted: Mapping[str, Any], loop_id: str) -> Iterator[ProjectFile]:
    readers: dict[str, Callable[[str, Any, str], ProjectFile | None]] = {
        "image": _image,
        "build": _build,
        "containerEnv": _variables,
        "postCreateCommand": _command,
        "forwardPorts": _ports,
    }
    given = dict(wanted)
    if "dockerFile" in given and "build" not in given:
        # What the specification calls the older form.
        given["build"] = {"dockerfile": given.pop("dockerFile"), "context": given.pop("context", ".")}
    left = []
    for key, value in given.items():
        entry = readers[key](file, value, loop_id) if key in readers else None
        if entry is not None:
            yield entry
        elif key not in _SAID:
            left.append(key[:80])
    if left:
        yield _other(file, f"Not honoured: {', '.join(left)}.")


def _other(file: str, note: str) -> ProjectFile:
    return ProjectFile(file=file, kind="other", honoured=False, note=note)


def _image(file: str, value: Any, loop_id: str) -> ProjectFile | None:  # noqa: ANN401 - any JSON
    del loop_id
    try:
        image = check_image(value) if isinstance(value, str) else None
    except BadInputError:
        return None
    if image is None:
        return None
    return ProjectFile(file=file, kind="image", honoured=True, note=_IMAGE, value=image)


def _build(file: str, value: Any, loop_id: str) -> ProjectFile | None:  # noqa: ANN401 - any JSON
    del loop_id
    name = value.get("dockerfile") if isinstance(value, dict) else None
    context = value.get("context", ".") if isinstance(value, dict) else None
    if not isinstance(name, str) or not isinstance(context, str):
        return None
    # Both are relative to the folder of the file (specification, "Image or Dockerfile specific properties").
    base = posixpath.dirname(file)
    places = {"dockerfile": _place(base, name), "context": _place(base, context)}
    if any(place is None for place in places.values()):
        return _other(file, "Not honoured: build, because it leads out of the project.")
    left = sorted(set(value) - {"dockerfile", "context"})
    note = f"{_BUILD} Not honoured of it: {', '.join(left)}." if left else _BUILD
    value = {name: place for name, place in places.items() if place is not None}
    return ProjectFile(file=file, kind="build", honoured=True, note=note, value=value)


def _place(base: str, relative: str) -> str | None:
    """A path relative to the workdir; None when it leads out."""
    path = posixpath.normpath(posixpath.join(base, relative))
    return None if path.startswith(("/", "../")) or path == ".." or "\0" in path else path


def _variables(file: str, value: Any, loop_id: str) -> ProjectFile | None:  # noqa: ANN401 - any JSON
    if not isinstance(value, dict):
        return None
    honoured: dict[str, str] = {}
    left: list[str] = []
    for name, text in value.items():
        for reference in _WORKDIR if isinstance(text, str) else ():
            text = text.replace(reference, sandbox_workdir(loop_id))  # noqa: PLW2901
        try:
            msgspec.convert({name: text}, dict[VariableName, VariableValue])
        except msgspec.ValidationError:
            left.append(name)
            continue
        if 0 <= text.find("${") < text.rfind("}"):
            # What refers to the host's variables must not bring them in.
            left.append(name)
        else:
            honoured[name] = text
    note = _VARIABLES + (f" Not honoured: {', '.join(name[:80] for name in left)}." if left else "")
    return ProjectFile(file=file, kind="variables", honoured=bool(honoured), note=note, value=honoured)


def _command(file: str, value: Any, loop_id: str) -> ProjectFile | None:  # noqa: ANN401 - any JSON
    del loop_id
    texts = [_line(part) for part in value.values()] if isinstance(value, dict) else [_line(value)]
    commands = [text for text in texts if text]
    if not commands or len(commands) != len(texts):
        return None
    note = "`jupyter loopat project LOOP --install` runs it inside."
    return ProjectFile(file=file, kind="command", honoured=True, note=note, command=" && ".join(commands))


def _line(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    """A command of the specification as a line of the shell: a text is one already, a list is none yet."""
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        value = shlex.join(value)
    return value if isinstance(value, str) and value.strip() and "\0" not in value else None


def _ports(file: str, value: Any, loop_id: str) -> ProjectFile | None:  # noqa: ANN401 - any JSON
    del loop_id
    if not isinstance(value, list):
        return None
    ports = [port for port in value if isinstance(port, int) and not isinstance(port, bool) and 0 < port < 65_536]
    return ProjectFile(file=file, kind="ports", honoured=False, note=_PORTS, value=ports) if ports else None
