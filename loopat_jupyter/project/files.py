"""Finds what lies in the top folder of a project and says what it wants installed."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING

from loopat_jupyter.project.devcontainer import read_devcontainer
from loopat_jupyter.project.wishes import ProjectFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LARGEST_FILE_BYTES = 1024 * 1024
DEVCONTAINER_PLACES = (".devcontainer/devcontainer.json", ".devcontainer.json")
"""Where the Development Containers specification looks; of several folders below `.devcontainer` none is chosen."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_PYTHON_PROJECT = re.compile(rb"^[ \t]*\[[ \t]*(?:project|build-system)[ \t]*[\].]", re.MULTILINE)
"""The table of one. The whole is not parsed: a megabyte of dotted keys takes hours. Pip says what is broken."""

_PIP = "Installs into the loop's home, for the kernel python3; it stays when the sandbox is recreated."
_UV = "Makes .venv in the project, and a kernel “Python (project)” that uses it."
_CONDA = (
    "Makes an environment called “project” in the loop's home. It needs micromamba, which the image does not have: "
    "name it in the mise.toml of a profile."
)
_MISE = (
    "Installs into the sandbox as it is now; a recreated one needs it again. "
    "To keep the tools in the loop's image, put them into a profile."
)
_UV_COMMAND = (
    "uv sync --frozen && uv pip install ipykernel && "
    ".venv/bin/python -m ipykernel install --user --name=project --display-name='Python (project)'"
)


def find_project(workdir: Path, loop_id: str) -> tuple[ProjectFile, ...]:
    """Everything that a project says of its environment.

    Args:
        workdir: The loop's files on the host; what is in them is not trusted.
        loop_id: The loop.
    """
    return tuple(_found(workdir, loop_id))


def _found(workdir: Path, loop_id: str) -> Iterator[ProjectFile]:
    if _is_there(workdir, "requirements.txt"):
        yield _packages("requirements.txt", _PIP, "pip install --user -r requirements.txt")
    for name in ("environment.yml", "environment.yaml"):
        if _is_there(workdir, name):
            yield _packages(name, _CONDA, f"micromamba create --yes --name project --file {name}")
    if _is_there(workdir, "uv.lock"):
        yield _packages("uv.lock", _UV, _UV_COMMAND)
    else:
        yield from _pyproject(workdir)
    for name in ("mise.toml", ".mise.toml", ".tool-versions"):
        if _is_there(workdir, name):
            command = "mise trust --yes && mise install --yes"
            yield ProjectFile(file=name, kind="tools", honoured=True, note=_MISE, command=command)
            break
    for place in DEVCONTAINER_PLACES:
        data = read_inside(workdir, place)
        if data is not None:
            yield from read_devcontainer(place, data, loop_id)
            break


def _packages(file: str, note: str, command: str) -> ProjectFile:
    return ProjectFile(file=file, kind="packages", honoured=True, note=note, command=command)


def _is_there(workdir: Path, name: str) -> bool:
    return read_inside(workdir, name) is not None


def _pyproject(workdir: Path) -> Iterator[ProjectFile]:
    name = "pyproject.toml"
    data = read_inside(workdir, name)
    if data is None:
        return
    if _PYTHON_PROJECT.search(data):
        yield _packages(name, _PIP, "pip install --user --editable .")


def read_inside(workdir: Path, place: str) -> bytes | None:
    """A plain file of a loop, reached through no symbolic link.

    Args:
        workdir: The loop's files on the host.
        place: Path in them.

    Returns:
        What is in it; None when there is no such file, or one too large to be what its name says.
    """
    *folders, name = place.split("/")
    try:
        with opened_folder(workdir, folders) as folder, open(os.open(name, _FILE, dir_fd=folder), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(LARGEST_FILE_BYTES + 1)
    except OSError:
        return None
    return data if len(data) <= LARGEST_FILE_BYTES else None


@contextlib.contextmanager
def opened_folder(workdir: Path, folders: Iterable[str]) -> Iterator[int]:
    """A folder of a loop, reached through no symbolic link.

    Args:
        workdir: The loop's files on the host.
        folders: The way to it, from there.

    Yields:
        A descriptor.

    Raises:
        OSError: There is no such folder, or a symbolic link is on the way.
    """
    with contextlib.ExitStack() as stack:
        descriptor = os.open(workdir, _FOLDER)
        stack.callback(os.close, descriptor)
        for folder in folders:
            descriptor = os.open(folder, _FOLDER, dir_fd=descriptor)
            stack.callback(os.close, descriptor)
        yield descriptor
