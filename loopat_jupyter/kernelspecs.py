"""Kernels of loops by name: a kernelspec for each, where every Jupyter client of the user looks.

So nbclient, nbconvert, papermill or a notebook outside any loop start a kernel in a loop by its name, with no server
running. The folders hold no secret: only which loop of which workspace, and which kernel inside.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from jupyter_core.paths import jupyter_data_dir

from loopat_jupyter.errors import ConflictError, LoopatError
from loopat_jupyter.sandbox.lifecycle import Running
from loopat_jupyter.sandbox.specs import one_line
from loopat_jupyter.workspace.files import full_disk_told, write_atomic
from loopat_jupyter.workspace.paths import DEFAULT_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from loopat_jupyter.models import Kernelspec, LoopRecord
    from loopat_jupyter.sandbox.specs import KernelspecFinder
    from loopat_jupyter.sandbox.state import Stamp

_log = logging.getLogger(__name__)

PROVISIONER = "loopat-provisioner"
"""Entry point of `loopat_jupyter.kernels.provisioner`."""

_PREFIX = "loop-"
_ID_CHARACTERS = 8
"""Of a loop's id, in names: titles repeat, and fewer digits would too among some thousand loops."""


_NAME = re.compile(r"loop-(.*?)-[0-9a-f]{8}-.*")
_INNER_NAME = re.compile(r"loop-.*-[0-9a-f]{8}-(.+)")
"""A title may hold what looks like the beginning of an id, so what comes last of them counts."""


def registered_name(record: LoopRecord, kernel: str) -> str:
    """Name of a loop's kernel for clients outside: lower-case, as jupyter_client wants it.

    Args:
        record: The loop.
        kernel: Name of the kernel inside.
    """
    return f"{_PREFIX}{record.slug}-{record.id[:_ID_CHARACTERS]}-{kernel}"


def inner_name(kernel_name: str) -> str:
    """Name inside of a kernel that is registered for a loop; any other name as it is.

    Args:
        kernel_name: Name of a kernelspec.
    """
    found = _INNER_NAME.fullmatch(kernel_name)
    return found[1] if found else kernel_name


def kernel_json(record: LoopRecord, spec: Kernelspec, home: Path, *, apart: bool = False) -> dict[str, Any]:
    """What `kernel.json` says of a loop's kernel.

    Args:
        record: The loop.
        spec: The kernel inside.
        home: The workspace's folder.
        apart: Another loop is called the same.
    """
    config = {"loop_id": record.id, "kernel": spec.name, "workspace": str(home)}
    # Whoever runs this may do it in the loop's folder, where anything may be called like a module of ours (-P).
    command = [sys.executable, "-P", "-m", "loopat_jupyter.kernels", "-f", "{connection_file}"]
    # A user's list of kernels has those of all workspaces.
    elsewhere = "" if home.name == DEFAULT_NAME else f", workspace: {one_line(home.name)}"
    return {
        # For clients that run the command themselves, in place of asking the provisioner.
        "argv": [*command, f"--workspace={home}", f"--loop={record.id}", f"--kernel={spec.name}"],
        "display_name": told_apart(
            f"{spec.display_name} (loop: {one_line(record.title)}{elsewhere})", record.id, apart=apart
        ),
        "language": spec.language,
        "interrupt_mode": spec.interrupt_mode,
        "metadata": {**spec.metadata, "kernel_provisioner": {"provisioner_name": PROVISIONER, "config": config}},
    }


def told_apart(name: str, loop_id: str, *, apart: bool) -> str:
    """What a loop's kernel is called, with the beginning of the loop's id or without.

    Args:
        name: What it is called now; ends with a bracket.
        loop_id: The loop.
        apart: With it.
    """
    tail = f", {loop_id[:_ID_CHARACTERS]})"
    return name.removesuffix(tail).removesuffix(")") + (tail if apart else ")")


class Registry:
    """The folder of kernelspecs of a user. Touches only what it made itself.

    Args:
        folder: Where Jupyter clients look: one folder in it for each kernelspec.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of_user(cls) -> Registry:
        """The registry of the user who runs this, at the place that Jupyter's environment variables name."""
        return cls(Path(jupyter_data_dir()) / "kernels")

    def sync(self, record: LoopRecord, specs: Iterable[Kernelspec], home: Path) -> bool:
        """Make the kernelspecs of one loop be these and no others.

        Args:
            record: The loop.
            specs: The kernels inside.
            home: The workspace's folder.

        Returns:
            Whether anything had to be written or removed.

        Raises:
            StorageFullError: No space.
        """
        twins = self._called(record.slug).keys() - {record.id}
        wanted = {
            registered_name(record, spec.name): kernel_json(record, spec, home, apart=bool(twins)) for spec in specs
        }
        present = dict(self._of_loop(record.id))
        for name in present.keys() - wanted.keys():
            self._remove(name)
        changed = {name for name in wanted if present.get(name) != wanted[name]}
        for name in sorted(changed):
            self._write(record.id, name, wanted[name])
        self._tell_apart({record.slug, *map(_slug, present)})
        return bool(changed) or present.keys() != wanted.keys()

    def remove(self, loop_id: str) -> None:
        """Remove the kernelspecs of one loop."""
        names = self.names(loop_id)
        for name in names:
            self._remove(name)
        self._tell_apart(set(map(_slug, names)))

    def prune(self) -> list[str]:
        """Remove the kernelspecs of loops whose record is gone, in whatever workspace: folders removed by hand.

        Returns:
            Names of what was removed.
        """
        stale = []
        for path in self._folder.glob(f"{_PREFIX}*"):
            config = _config(self._read(path.name) or {})
            if config and not (Path(config["workspace"]) / "loops" / config["loop_id"] / "meta.json").exists():
                self._remove(path.name)
                stale.append(path.name)
        self._tell_apart(set(map(_slug, stale)))
        return sorted(stale)

    def names(self, loop_id: str) -> list[str]:
        """Names of the kernelspecs of one loop."""
        return sorted(name for name, _ in self._of_loop(loop_id))

    def _called(self, slug: str) -> dict[str, dict[str, dict[str, Any]]]:
        """Loops whose titles make the same slug, with their kernelspecs by name."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for path in self._folder.glob(f"{_PREFIX}{slug}-*"):
            spec = self._read(path.name) if _slug(path.name) == slug else None
            loop_id = _owner(spec) if spec is not None else None
            if spec is not None and loop_id is not None:
                found.setdefault(loop_id, {})[path.name] = spec
        return found

    def _tell_apart(self, slugs: set[str]) -> None:
        """Have kernels say the beginning of their loop's id where several loops are called the same, and only there."""
        for slug in slugs:
            loops = self._called(slug)
            for loop_id, specs in loops.items():
                for name, spec in specs.items():
                    name_now = str(spec.get("display_name", ""))
                    shown = told_apart(name_now, loop_id, apart=len(loops) > 1)
                    if shown != name_now:
                        self._write(loop_id, name, {**spec, "display_name": shown})

    def _of_loop(self, loop_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in self._folder.glob(f"{_PREFIX}*-{loop_id[:_ID_CHARACTERS]}-*"):
            spec = self._read(path.name)
            if spec is not None and _owner(spec) == loop_id:
                yield path.name, spec

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return msgspec.json.decode((self._folder / name / "kernel.json").read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError):
            return None

    def _write(self, loop_id: str, name: str, spec: dict[str, Any]) -> None:
        folder = self._folder / name
        with full_disk_told(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if (folder / "kernel.json").exists() and _owner(self._read(name) or {}) != loop_id:
            _log.warning("%s is not of loop %s and stays as it is", folder, loop_id)
            return
        # A folder without kernel.json is no kernelspec to anybody, so this file alone makes it appear, whole.
        write_atomic(folder / "kernel.json", msgspec.json.format(msgspec.json.encode(spec), indent=1), mode=0o644)

    def _remove(self, name: str) -> None:
        (self._folder / name / "kernel.json").unlink(missing_ok=True)
        shutil.rmtree(self._folder / name, ignore_errors=True)


def _slug(name: str) -> str:
    """That of the loop of a kernelspec's name; empty for anybody else's."""
    match = _NAME.fullmatch(name)
    return match[1] if match else ""


def _config(spec: dict[str, Any]) -> dict[str, str]:
    """Where a kernelspec of ours runs; empty for anybody else's."""
    with contextlib.suppress(KeyError, TypeError):
        stanza = spec["metadata"]["kernel_provisioner"]
        if stanza["provisioner_name"] == PROVISIONER:
            return {key: str(stanza["config"][key]) for key in ("loop_id", "kernel", "workspace")}
    return {}


def _owner(spec: dict[str, Any]) -> str | None:
    """The loop that a kernelspec of ours belongs to; None for anybody else's."""
    return _config(spec).get("loop_id")


class LoopKernels:
    """The kernels of loops: found inside, offered outside.

    Args:
        finder: Finds them.
        registry: Offers them to other clients; None offers them to nobody.
        home: The workspace's folder.
        hint: Says by which name the image of a loop is remembered.
    """

    def __init__(
        self, finder: KernelspecFinder, registry: Registry | None, home: Path, hint: Callable[[LoopRecord], str]
    ) -> None:
        self._finder = finder
        self._registry = registry
        self._home = home
        self._hint = hint

    async def find(self, record: LoopRecord, running: Running) -> tuple[Kernelspec, ...]:
        """Every kernel of a running loop, by name; see `KernelspecFinder.find`."""
        return await self._finder.find(record, running)

    async def known(self, record: LoopRecord, stamp: Stamp | None) -> tuple[Kernelspec, ...]:
        """Every kernel of a loop, by name. Starts nothing; podman is asked once for the image of a running sandbox.

        Args:
            record: The loop.
            stamp: The note of its sandbox, if that runs.

        Raises:
            ConflictError: Nothing that runs or ran says what the loop's image offers.
            EngineError: The sandbox has no Python, or its answer makes no sense.
        """
        if stamp is not None:
            return await self._finder.find(record, Running(stamp.name, stamp.pid, stamp.image_id, restart_needed=False))
        image_id = self._finder.noted_image(self._hint(record))
        specs = self._finder.known(record, image_id) if image_id else None
        if specs is None:
            raise ConflictError(f"The kernels of loop {record.id} are not known yet. Start the loop, then try again.")
        return specs

    async def find_one(self, record: LoopRecord, running: Running, kernel: str) -> Kernelspec | None:
        """One kernel of a running loop.

        Args:
            record: The loop.
            running: Its sandbox.
            kernel: Name of the kernel inside.

        Returns:
            The kernel, or None when there is none of this name, not even one that root installed by hand.

        Raises:
            EngineError: The sandbox has no Python, or its answer makes no sense.
        """
        known = self._finder.known(record, running.image_id) or ()
        found = [spec for spec in known if spec.name == kernel]
        found = found or [spec for spec in await self._finder.look(running) if spec.name == kernel]
        return found[0] if found else None

    async def offer(self, record: LoopRecord, running: Running) -> None:
        """Offer the kernels of a loop that was just started. Failing is no reason for the loop not to start.

        Args:
            record: The loop.
            running: Its sandbox.
        """
        if self._registry is None:
            return
        try:
            specs = await self._finder.find(record, running)
            self._finder.note_image(self._hint(record), running.image_id)
            self._registry.sync(record, specs, self._home)
        except (LoopatError, OSError) as error:
            _log.warning("The kernels of loop %s are not offered by name: %s", record.id, error)

    def offer_known(self, record: LoopRecord) -> None:
        """Offer the kernels of a loop that may never have run, as far as they are known. Asks nobody.

        Args:
            record: The loop.
        """
        if self._registry is None:
            return
        try:
            image_id = self._finder.noted_image(self._hint(record))
            specs = self._finder.known(record, image_id) if image_id else None
            if specs is None:
                self._registry.remove(record.id)
            else:
                self._registry.sync(record, specs, self._home)
        except (LoopatError, OSError) as error:
            _log.warning("The kernels of loop %s are not offered by name: %s", record.id, error)

    def prune(self) -> None:
        """Offer nothing of loops that are gone."""
        for name in self._registry.prune() if self._registry is not None else ():
            _log.info("The kernelspec %s is removed: its loop is gone", name)

    def withdraw(self, loop_id: str) -> None:
        """Offer the kernels of a loop no more."""
        if self._registry is not None:
            self._registry.remove(loop_id)
