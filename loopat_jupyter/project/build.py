"""Builds an image from a folder that a sandbox can write: from a copy of it, in which no symbolic link was followed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from loopat_jupyter.errors import BadInputError, ImageBuildError
from loopat_jupyter.models import Progress
from loopat_jupyter.project.bases import look_at_images
from loopat_jupyter.project.containerfile import read_containerfile
from loopat_jupyter.project.files import opened_folder, read_inside
from loopat_jupyter.project.instructions import check_fetched, check_mounts, has_mounts
from loopat_jupyter.project.references import named_images
from loopat_jupyter.sandbox.build import BuildLog, build_image
from loopat_jupyter.sandbox.builders import BUILD_TIMEOUT_S, build_folder, sole_builder
from loopat_jupyter.sandbox.plan import wanted_network
from loopat_jupyter.sandbox.preparing import prepare
from loopat_jupyter.sandbox.project_images import project_image, project_labels
from loopat_jupyter.sandbox.toolchain import last_words
from loopat_jupyter.sandbox.versions import read_version
from loopat_jupyter.workspace.files import full_disk_told
from loopat_jupyter.workspace.fixed import bound
from loopat_jupyter.workspace.walking import MOST_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.project.references import Reference
    from loopat_jupyter.project.wishes import ProjectFile
    from loopat_jupyter.sandbox.images import Images
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.paths import Workspace

LARGEST_CONTEXT_BYTES = 2**30
MOST_CONTEXT_ENTRIES = 200_000
"""Files, folders and links: empty ones take no bytes, but each takes an inode of the host."""

_PIECE_BYTES = 2**20
_IGNORE_FILES = (".dockerignore", ".containerignore")
"""Podman reads these on the host."""


async def build_project(
    workspace: Workspace,
    engine: Engine,
    images: Images,
    config: Config,
    *,
    record: LoopRecord,
    wanted: ProjectFile,
    tell: Callable[[Progress], None],
) -> str:
    """Build the image that a project describes.

    Args:
        workspace: Where the loop is.
        engine: Runs podman.
        images: Know how builds trust.
        config: The workspace's settings.
        record: The loop.
        wanted: What was found, of kind `build`.
        tell: Told about each step.

    Returns:
        The image's name.

    Raises:
        BadInputError: Its files are not there, or too large, or its instructions or an image that they name ask of
            podman what they may not.
        EngineTimeoutError: It took too long.
        ImageBuildError: It could not be built.
        StorageFullError: No space.
    """
    places = wanted.value if isinstance(wanted.value, dict) else {}
    workdir, tag = workspace.workdir(record.id), project_image(record.id)
    containerfile = read_inside(workdir, places.get("dockerfile", ""))
    if containerfile is None:
        raise BadInputError("build", f"there is no plain file {places.get('dockerfile', '')[:200]!r} in the project")
    references = await _checked(engine, record, containerfile)
    networked = wanted_network(bound(record, config), config) != "none"
    async with sole_builder(workspace, tag, tell) as report, build_folder(workspace, "project") as folder:
        with contextlib.closing(BuildLog(images.build_log(tag), None)) as lines:
            report(Progress(label="looking at images", step=1, steps=3))
            await look_at_images(
                engine, images, workspace, record.id, references, networked=networked, on_line=lines.add
            )
            report(Progress(label="copying the project", step=2, steps=3))
            await asyncio.to_thread(copy_context, workdir, places.get("context", "."), folder / "context")
            (folder / "Containerfile").write_bytes(containerfile)
            report(Progress(label="building the project's image", step=3, steps=3))
            arguments = (
                *project_labels(workspace, record.id),
                # What a loop may not reach, its instructions do not reach either.
                *(() if networked else ("--network=none",)),
                *images.trust_arguments(),
            )
            image_id = await _build(engine, folder, arguments, lines)
        await prepare(engine, workspace, image_id)
        await engine.run("tag", image_id, tag, doing="tag the image")
        return tag


async def _checked(engine: Engine, record: LoopRecord, containerfile: bytes) -> list[Reference]:
    """The images that a Containerfile names, once it is known to ask nothing of podman that it may not."""
    read = read_containerfile(containerfile)
    check_fetched(read.instructions)
    if has_mounts(read.instructions):
        told = await engine.run("version", "--format=json", doing="ask for its version")
        check_mounts(read.instructions, read_version(told.stdout))
    return named_images(read, record.id)


async def _build(engine: Engine, folder: Path, arguments: Iterable[str], lines: BuildLog) -> str:
    image_id = await build_image(
        engine,
        f"--file={folder / 'Containerfile'}",
        # Those that it takes something of were looked at.
        "--pull=never",
        *arguments,
        str(folder / "context"),
        id_file=folder / "id",
        on_line=lines.add,
        timeout_s=BUILD_TIMEOUT_S,
    )
    if image_id is None:
        said = " / ".join(last_words(lines.tail)) or "nothing said"
        raise ImageBuildError(
            f"The project's image could not be built; it ended with: {said}. The whole build is in {lines.path}. "
            "Fix the project's files, and try again.",
            stderr="\n".join(lines.tail),
        )
    return image_id


def copy_context(workdir: Path, place: str, target: Path) -> None:
    """Copy a folder of a loop for a build: plain files and folders, and symbolic links as they are.

    Args:
        workdir: The loop's files on the host; what is in them is not trusted.
        place: The folder in them.
        target: A new folder.

    Raises:
        BadInputError: There is no such folder, or it is too large.
        StorageFullError: No space.
    """
    left_bytes, left_entries = LARGEST_CONTEXT_BYTES, MOST_CONTEXT_ENTRIES
    with contextlib.ExitStack() as stack:
        stack.enter_context(full_disk_told(target))
        stack.enter_context(_long_paths_told())
        try:
            root = stack.enter_context(opened_folder(workdir, [part for part in place.split("/") if part != "."]))
        except OSError:
            raise BadInputError("build", f"there is no folder {place[:200]!r} in the project") from None
        # `fwalk` opens each folder by descriptor and enters none that is, or becomes, a symbolic link.
        for parent, folders, names, descriptor in os.fwalk(".", dir_fd=root, follow_symlinks=False):
            if parent.count("/") > MOST_LEVELS:
                raise BadInputError("build", f"the project has folders nested deeper than {MOST_LEVELS} levels")
            own = target / parent
            own.mkdir()
            left_entries -= len(names) + len(folders)
            if left_entries < 0:
                raise BadInputError("build", f"the project has more than {MOST_CONTEXT_ENTRIES} files and folders")
            for name in (*names, *folders):
                left_bytes -= _copy(descriptor, name, own / name)
                if left_bytes < 0:
                    raise BadInputError("build", f"the project has more than {LARGEST_CONTEXT_BYTES // 2**20} MiB")
            if ".git" in folders:
                folders.remove(".git")


@contextlib.contextmanager
def _long_paths_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise BadInputError("build", "the project has a file with too long a path. Shorten or remove it") from error


def _copy(folder: int, name: str, target: Path) -> int:
    """Copy one entry; its size in bytes. Folders are made when it is their turn."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode) and name not in _IGNORE_FILES:
        target.symlink_to(os.readlink(name, dir_fd=folder))
    if not stat.S_ISREG(status.st_mode):
        return 0
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    size_bytes = 0
    with open(descriptor, "rb") as source, target.open("xb") as copy:
        while size_bytes <= LARGEST_CONTEXT_BYTES and (piece := source.read(_PIECE_BYTES)):
            size_bytes += copy.write(piece)
    target.chmod(0o755 if status.st_mode & 0o100 else 0o644)
    return size_bytes
