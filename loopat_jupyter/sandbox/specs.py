"""Which kernels a sandbox offers: those of its image, read inside once per image, and those of the loop's home.

What an image offers is noted twice: in the workspace, for as long as that is there, and for all workspaces of the user
until the machine starts anew. Who makes a workspace beside others need not ask podman.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from loopat_jupyter.errors import EngineError, StorageFullError, StorageRefusedError
from loopat_jupyter.models import Kernelspec, Mount
from loopat_jupyter.sandbox.helpers import file_name
from loopat_jupyter.sandbox.plan import SANDBOX_HOME, SANDBOX_LIB, mount_option
from loopat_jupyter.workspace.files import write_atomic
from loopat_jupyter.workspace.locks import file_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.paths import Workspace

HOME_KERNELS = (".local", "share", "jupyter", "kernels")
"""Where `pip install --user` and `<kernel> install --user` put kernels, below the home."""

LARGEST_SPEC_BYTES = 64 * 1024
MOST_HOME_SPECS = 50
"""A sandbox writes its own home: how much of it is read has a limit."""

_JOINERS = "\u200c\u200d"
"""Not seen themselves, but part of how scripts and emoji are written."""

_FIND_TIMEOUT_S = 30.0
_LOCK_TIMEOUT_S = 60.0
_NO_HOME = "/nonexistent"
_IMAGE_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})\Z")
"""What says all of an image; by any other name, the next one may be another."""

_VALID_NAME = re.compile(r"[a-z0-9._-]+\Z")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class KernelspecFinder:
    """Finds the kernels of sandboxes.

    Args:
        workspace: Where the loops are.
        engine: Runs podman.
    """

    def __init__(self, workspace: Workspace, engine: Engine) -> None:
        self._workspace = workspace
        self._engine = engine
        self._folder = workspace.cache / "kernelspecs"

    async def find(self, record: LoopRecord, running: Running) -> tuple[Kernelspec, ...]:
        """Every kernel of a loop, by name. Asks podman only once for each image.

        Args:
            record: The loop.
            running: Its sandbox.

        Raises:
            EngineError: The sandbox has no Python, or its answer makes no sense.
            EngineTimeoutError: Podman or another process took too long.
            StorageFullError: No space to note the answer.
        """
        if self._cached(running.image_id) is None:
            lock = self._workspace.image_locks / f"kernelspecs-{running.image_id}.lock"
            async with file_lock(lock, timeout_s=_LOCK_TIMEOUT_S, what="the kernels of the image"):
                await self._learn(running.image_id)
        return self.known(record, running.image_id) or ()

    async def look(self, running: Running) -> tuple[Kernelspec, ...]:
        """Every kernel that is inside right now, those installed by root into the container included.

        Args:
            running: The sandbox.

        Raises:
            EngineError: The sandbox has no Python, or its answer makes no sense.
        """
        return await self._ask(running)

    def known(self, record: LoopRecord, image_id: str) -> tuple[Kernelspec, ...] | None:
        """Every kernel of a loop, by name, without asking podman.

        Args:
            record: The loop.
            image_id: The image of its sandbox.

        Returns:
            The kernels, or None when nobody has asked for those of the image yet.
        """
        of_image = self._cached(image_id)
        if of_image is None:
            return None
        by_name = {spec.name: spec for spec in of_image}
        by_name |= {spec.name: spec for spec in home_kernelspecs(self._workspace.loop_home(record.id))}
        return tuple(by_name[name] for name in sorted(by_name))

    def note_image(self, reference: str, image_id: str) -> None:
        """Note which image a reference meant last: a hint for loops that were not started yet.

        Args:
            reference: The image as a loop names it.
            image_id: What it was.

        Raises:
            StorageFullError: No space.
        """
        if self.noted_image(reference) != image_id:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self._of_reference(reference), image_id.encode("ascii"))

    def noted_image(self, reference: str) -> str | None:
        """The image that a reference meant last; None when no loop was started with it."""
        try:
            return self._of_reference(reference).read_text(encoding="ascii")
        except FileNotFoundError:
            return None

    async def _learn(self, image_id: str) -> None:
        """Note the kernels of an image, unless somebody did so meanwhile."""
        if self._cached(image_id) is None:
            found = _noted(self._workspace, image_id)
            if found is None:
                found = await self._ask_image(image_id)
                _note(self._workspace, image_id, found)
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self._of_image(image_id), msgspec.json.encode(found))

    async def _ask_image(self, image_id: str) -> tuple[Kernelspec, ...]:
        """The kernels of an image as it is: what one loop made of it in its sandbox is no other loop's business."""
        helpers = Mount(source=str(self._workspace.helpers), target=SANDBOX_LIB, mode="ro")
        answer = await self._engine.run(
            "run",
            "--rm",
            "--pull=never",
            "--network=none",
            # A password in a proxy's address is not written into a container, for however short a time.
            "--http-proxy=false",
            "--log-driver=none",
            "--security-opt=label=disable",
            f"--mount={mount_option(helpers)}",
            f"--env=HOME={_NO_HOME}",
            f"--entrypoint={SANDBOX_LIB}/{file_name('kernelspecs')}",
            image_id,
            timeout_s=_FIND_TIMEOUT_S,
            doing="list the kernels of the image",
        )
        return _kernelspecs(answer.stdout, f"the image {image_id[:12]}")

    async def _ask(self, running: Running) -> tuple[Kernelspec, ...]:
        answer = await self._engine.run(
            "exec",
            running.name,
            f"{SANDBOX_LIB}/{file_name('kernelspecs')}",
            timeout_s=_FIND_TIMEOUT_S,
            doing="list the kernels of the sandbox",
        )
        return _kernelspecs(answer.stdout, running.name)

    def _cached(self, image_id: str) -> tuple[Kernelspec, ...] | None:
        try:
            return _decode(self._of_image(image_id).read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _of_image(self, image_id: str) -> Path:
        return self._folder / f"{image_id.removeprefix('sha256:')}.json"

    def _of_reference(self, reference: str) -> Path:
        return self._folder / f"{hashlib.sha256(reference.encode()).hexdigest()[:16]}.reference"


def forget_image(workspace: Workspace, image_id: str) -> None:
    """Keep no note of the kernels of an image that is gone.

    Args:
        workspace: One of the user's.
        image_id: The image.
    """
    if digits := _IMAGE_ID.match(image_id):
        for path in workspace.image_locks.glob(f"kernelspecs-*-{digits[1]}.json"):
            with contextlib.suppress(OSError):
                path.unlink()


def _note_path(workspace: Workspace, image_id: str) -> Path | None:
    """Where the kernels of an image are noted for all workspaces; other helpers may find others."""
    digits = _IMAGE_ID.match(image_id)
    return workspace.image_locks / f"{file_name('kernelspecs')}-{digits[1]}.json" if digits else None


def _noted(workspace: Workspace, image_id: str) -> tuple[Kernelspec, ...] | None:
    path = _note_path(workspace, image_id)
    try:
        return _decode(path.read_bytes()) if path else None
    except (OSError, msgspec.DecodeError):
        return None


def _note(workspace: Workspace, image_id: str, found: tuple[Kernelspec, ...]) -> None:
    """Note them. Where that fails, the next workspace asks podman."""
    if path := _note_path(workspace, image_id):
        with contextlib.suppress(OSError, StorageFullError, StorageRefusedError):
            write_atomic(path, msgspec.json.encode(found))


def one_line(text: str) -> str:
    """What is seen of a text, on one line: without control characters, and without what turns round others.

    Args:
        text: Any text, such as what a kernel is called by whoever installed it.
    """
    seen = filter(lambda character: character.isprintable() or character in _JOINERS or character.isspace(), text)
    return " ".join("".join(seen).split()).strip(_JOINERS)


def _decode(data: bytes) -> tuple[Kernelspec, ...]:
    found = msgspec.json.decode(data, type=list[Kernelspec])
    return tuple(msgspec.structs.replace(spec, display_name=one_line(spec.display_name) or spec.name) for spec in found)


def _kernelspecs(data: bytes, where: str) -> tuple[Kernelspec, ...]:
    try:
        return _decode(data)
    except msgspec.DecodeError as error:
        raise EngineError(
            f"The kernels of {where} cannot be read: {error}. Look at the kernel.json files inside."
        ) from error


class _KernelJson(msgspec.Struct):
    """What matters of a `kernel.json`."""

    argv: list[str]
    display_name: str = ""
    language: str = ""
    env: dict[str, str] = {}
    interrupt_mode: Literal["signal", "message"] = "signal"
    metadata: dict[str, Any] = {}


def home_kernelspecs(home: Path) -> tuple[Kernelspec, ...]:
    """Kernels that were installed into a loop's home, sorted by name; broken ones are left out.

    The sandbox writes there, so no symlink is followed on the way, and nothing but plain files is read.

    Args:
        home: The home on the host.
    """
    found: dict[str, Kernelspec] = {}
    with contextlib.ExitStack() as stack:
        try:
            folder = _enter(stack, os.open(home, _FOLDER))
            for part in HOME_KERNELS:
                folder = _enter(stack, os.open(part, _FOLDER, dir_fd=folder))
        except OSError:
            return ()
        for entry in sorted(os.listdir(folder))[:MOST_HOME_SPECS]:  # noqa: PTH208 - by descriptor
            name = entry.lower()
            if name not in found and _VALID_NAME.match(name):
                found |= {spec.name: spec for spec in _read_spec(folder, entry)}
    return tuple(found.values())


def startable(argv: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether the operating system takes these as arguments and variables (execve(2)).

    Args:
        argv: Command and arguments.
        env: Variables.
    """
    texts = (*argv, *env, *env.values())
    return not any("\0" in text for text in texts) and not any("=" in name or not name for name in env)


def _enter(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _read_spec(folder: int, entry: str) -> Iterator[Kernelspec]:
    with contextlib.ExitStack() as stack:
        try:
            inner = _enter(stack, os.open(entry, _FOLDER, dir_fd=folder))
            file = _enter(stack, os.open("kernel.json", _FILE, dir_fd=inner))
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return
            spec = msgspec.json.decode(os.pread(file, LARGEST_SPEC_BYTES, 0), type=_KernelJson)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
    if not spec.argv or not startable(spec.argv, spec.env):
        return
    inside = "/".join((SANDBOX_HOME, *HOME_KERNELS, entry))
    yield Kernelspec(
        name=entry.lower(),
        display_name=one_line(spec.display_name) or entry,
        language=spec.language,
        argv=tuple(part.replace("{resource_dir}", inside) for part in spec.argv),
        env=spec.env,
        interrupt_mode=spec.interrupt_mode,
        metadata=spec.metadata,
    )
