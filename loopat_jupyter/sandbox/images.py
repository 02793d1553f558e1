"""`Images`: finds, pulls and builds the image of a sandbox; one build per tag across threads and processes."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from loopat_jupyter.errors import EngineError, ImageBuildError
from loopat_jupyter.models import Progress
from loopat_jupyter.sandbox.base_image import BaseImage
from loopat_jupyter.sandbox.build import BuildLog, build_failure, build_image
from loopat_jupyter.sandbox.builders import BUILD_TIMEOUT_S, image_key, note_id, sole_builder
from loopat_jupyter.sandbox.plan import SANDBOX_CA_BUNDLE
from loopat_jupyter.sandbox.preparing import forget_prepared, is_prepared, prepare
from loopat_jupyter.sandbox.pulling import pull
from loopat_jupyter.sandbox.specs import forget_image
from loopat_jupyter.sandbox.template import (
    SANDBOX_IMAGE,
    BuildProgress,
    Template,
    is_built_here,
    read_template,
    step_labels,
    template_folder,
)
from loopat_jupyter.sandbox.trust import find_ca_bundle
from loopat_jupyter.workspace.fixed import bound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.paths import Workspace

_log = logging.getLogger(__name__)

LABEL_TEMPLATE = "loopat.template"
"""Digest of the template that an image, or a step of its build, was made from."""
LABEL_IMAGE = "loopat.image"
"""What the image is called."""
LABEL_TOOLCHAIN = "loopat.toolchain"
"""Digest of the image below and of the `mise.toml` that an image with tools of its own was made from."""

OBSOLETE_AFTER_S = 7 * 24 * 3600.0
_QUICK_TIMEOUT_S = 30.0

_BASE, _PREPARE = "base image", "preparing"


class ImageSource(Protocol):
    """What the lifecycle needs of images."""

    def reference(self, record: LoopRecord) -> str:
        """The image that a loop should run."""
        ...

    async def ensure(self, record: LoopRecord, on_progress: Callable[[Progress], None]) -> str:
        """Make an image be there that the loop can run, and `reference` name it; its id."""
        ...

    def is_ready(self, reference: str, image_id: str) -> bool:
        """Whether a container of an image that is there starts at once, without a copy of all of it."""
        ...

    def forget_ready(self, image_id: str) -> None:
        """Have `ensure` see to it anew that containers of an image start at once."""
        ...


class StoredImage(NamedTuple):
    """An image of ours that nothing needs any more.

    Attributes:
        id: Its id.
        names: Its tags; none for a step of a build that was not finished.
        size_bytes: Its size, shared layers included.
    """

    id: str
    names: tuple[str, ...]
    size_bytes: int


class Images:
    """The images that sandboxes run.

    Args:
        workspace: Where locks, logs and temporary files go.
        engine: Runs podman.
        config: The workspace's settings.
        template: Folder of the template; None finds the installed one.
        name: What its images are called.
        base: Finds or makes the base image; None does it as the settings say.
    """

    def __init__(
        self,
        workspace: Workspace,
        engine: Engine,
        config: Config,
        *,
        template: Path | None = None,
        name: str = SANDBOX_IMAGE,
        base: BaseImage | None = None,
    ) -> None:
        self._workspace = workspace
        self._engine = engine
        self._config = config
        self._folder = template
        self._name = name
        self._base = base or BaseImage(workspace, engine, config.image)

    def template(self) -> Template:
        """The template as it is on disk now.

        Raises:
            NotFoundError: The installation has none.
        """
        return read_template(self._folder or template_folder(), self._config.image, name=self._name)

    def reference(self, record: LoopRecord) -> str:
        """The image that a loop should run: its own, the configured one, or the template's."""
        return bound(record, self._config).image or self._config.image.use or self.template().tag

    def build_log(self, tag: str) -> Path:
        """Where the output of the last build of a tag is."""
        return self._workspace.runtime / f"build-{image_key(tag)}.log"

    async def ensure(self, reference: str, on_progress: Callable[[Progress], None], *, loop: str = "LOOP") -> str:
        """Make an image be there.

        Args:
            reference: What `reference` answered, or any other image.
            on_progress: Called with each step of a build, also when another process builds.
            loop: What the command line calls the loop that wants it.

        Returns:
            The id of the image.

        Raises:
            EngineTimeoutError: Podman or another process took too long.
            EngineUnavailableError: There is no usable podman.
            ImageBuildError: The build failed; or it is not ours to build, is not there and cannot be pulled.
            StorageFullError: No space.
        """
        image_id = await self.find(reference)
        if image_id is None:
            if not self._config.image.use and reference == self.template().tag:
                return await self._build_once(self.template(), None, on_progress)
            image_id = await self._pull(reference, on_progress, loop)
        if not self.is_ready(reference, image_id):
            async with sole_builder(self._workspace, image_id, on_progress) as report:
                if not self.is_ready(reference, image_id):
                    report(Progress(label="preparing the image"))
                    await prepare(self._engine, self._workspace, image_id)
        return image_id

    def is_ready(self, reference: str, image_id: str) -> bool:
        """Whether a container of an image that is there starts at once. Asks no podman.

        Args:
            reference: What the image is called: ours are made ready before they have their names.
            image_id: The image.
        """
        return is_built_here(reference) or is_prepared(self._workspace, image_id)

    def forget_ready(self, image_id: str) -> None:
        """Have `ensure` see to it anew that containers of an image start at once.

        Args:
            image_id: The image.
        """
        forget_prepared(self._workspace, image_id)

    async def build(
        self,
        *,
        on_progress: Callable[[Progress], None],
        on_line: Callable[[str], None] | None = None,
        force: bool = False,
    ) -> str:
        """Build the image of the template, unless it is there.

        Concurrent callers of one tag share a build, across processes too: the others wait and see its progress.

        Args:
            on_progress: Called with each step.
            on_line: Called with each line of the build's output, when it is this caller that builds.
            force: Build from scratch even if it is there, on the newest base that can be pulled.

        Returns:
            The id of the image.

        Raises:
            EngineTimeoutError: Podman or another process took too long.
            EngineUnavailableError: There is no usable podman.
            ImageBuildError: The build failed; names the log file.
            StorageFullError: No space.
        """
        template = self.template()
        before = await self.find(template.tag)
        if before and not force:
            return before
        return await self._build_once(template, before, on_progress, on_line, force=force)

    async def _build_once(
        self,
        template: Template,
        before: str | None,
        on_progress: Callable[[Progress], None],
        on_line: Callable[[str], None] | None = None,
        *,
        force: bool = False,
    ) -> str:
        """Build the image, unless somebody else has built it since it was `before`."""
        async with sole_builder(self._workspace, template.tag, on_progress) as report:
            now = await self.find(template.tag)
            if now and now != before:
                return now
            lines = BuildLog(self.build_log(template.tag), on_line)
            try:
                return await self._build(template, report, lines, force=force)
            finally:
                lines.close()

    async def obsolete(self, *, unused_for_s: float = OBSOLETE_AFTER_S) -> list[StoredImage]:
        """Images of other templates than today's, ones that a newer build replaced, and toolchains; none in use.

        Args:
            unused_for_s: Only those built longer ago than this: images belong to the user, and a young one of
                another template may be what another workspace is about to start.
        """
        listed = await self._engine.run(
            "images", f"--filter=label={LABEL_IMAGE}={self._name}", "--format=json", doing="list images"
        )
        template, before = self.template(), time.time() - unused_for_s
        images = {entry["Id"]: entry for entry in msgspec.json.decode(listed.stdout or b"[]")}
        today = next((entry for entry in images.values() if template.tag in (entry.get("Names") or ())), None)
        old = [
            StoredImage(image_id, tuple(sorted(entry.get("Names") or ())), int(entry["Size"]))
            for image_id, entry in images.items()
            if entry["Created"] <= before and _is_obsolete(entry, template.digest, today)
        ]
        if not old:
            return []
        in_use = await images_in_use(self._engine)
        return [image for image in old if image.id not in in_use]

    async def remove(self, images: Iterable[StoredImage]) -> tuple[StoredImage, ...]:
        """Remove images; one that a container took into use meanwhile stays.

        Args:
            images: What `obsolete` answered.

        Returns:
            Those that are gone.
        """
        gone = []
        for image in images:
            try:
                await self._engine.run("rmi", *(image.names or (image.id,)), doing="remove an old image")
            except EngineError as error:
                _log.warning("Image %s stays: %s", image.id[:12], error.message)
            else:
                gone.append(image)
                forget_image(self._workspace, image.id)
                forget_prepared(self._workspace, image.id)
        return tuple(gone)

    async def find(self, reference: str) -> str | None:
        """The id of an image; None when it is not there.

        Raises:
            EngineError: Podman could not say.
        """
        answer = await self._engine.run(
            "image",
            "inspect",
            "--format={{.Id}}",
            reference,
            ok=(0, 125),
            timeout_s=_QUICK_TIMEOUT_S,
            doing="look for the image",
        )
        if answer.returncode == 0:
            return answer.stdout.decode().strip()
        if "image not known" in answer.stderr or "no such image" in answer.stderr.lower():
            return None
        raise EngineError(
            f"Podman failed to look for the image {reference}: {answer.stderr}. Run `jupyter loopat doctor`.",
            returncode=answer.returncode,
            stderr=answer.stderr,
        )

    async def _pull(self, reference: str, on_progress: Callable[[Progress], None], loop: str) -> str:
        said = "it is a local name"
        if not reference.startswith("localhost/"):
            async with sole_builder(self._workspace, reference, on_progress) as report:
                report(Progress(label="pulling the image"))
                said = await pull(self._engine, reference) or said
        image_id = await self.find(reference)
        if image_id is None:
            problem = said.rpartition("\n")[2]
            message = (
                f"The image {reference} is not there and cannot be pulled ({problem}). Build or load it under this "
                "name, or take another one: choose Loop Settings… → Image in the loop's menu in JupyterLab, or run "
                f"`jupyter loopat set {loop} --image NAME`, or `--unset image` to go back to the workspace's. Of all "
                "loops, `use` in `[image]` of config.toml names it."
            )
            # Who looks for the log of a start that failed finds why.
            log = BuildLog(self.build_log(reference), None)
            with contextlib.closing(log):
                for line in (f"Pulling {reference}", *said.splitlines(), "", message):
                    log.add(line)
            raise ImageBuildError(message, stderr=said)
        # What it said of an attempt before holds no more.
        self.build_log(reference).unlink(missing_ok=True)
        return image_id

    async def _build(
        self, template: Template, report: Callable[[Progress], None], lines: BuildLog, *, force: bool
    ) -> str:
        progress = BuildProgress(step_labels(template.containerfile), before=(_BASE,), after=(_PREPARE,))
        report(progress.phase(_BASE))
        base = await self._base.ensure(lines.add, fresh=force)
        last = progress.phase(_BASE)

        def read(line: str) -> None:
            nonlocal last
            lines.add(line)
            step = progress.line(line)
            if step is not None and step != last:
                last = step
                report(step)

        id_file = self._workspace.runtime / f"build-{image_key(template.tag)}.id"
        arguments = self._build_arguments(template, base, force=force)
        image_id = await build_image(self._engine, *arguments, id_file=id_file, on_line=read, timeout_s=BUILD_TIMEOUT_S)
        if image_id is None:
            raise build_failure(lines, last.label, template.folder)
        report(progress.phase(_PREPARE))
        await prepare(self._engine, self._workspace, image_id)
        # Only now does anybody see the image under its name: what is there is whole and quick to start.
        await self._engine.run("tag", image_id, template.tag, template.newest_tag, doing="tag the image")
        note_id(self._workspace, template.tag, image_id)
        return image_id

    def trust_arguments(self) -> tuple[str, ...]:
        """Arguments of `podman build` by which what a build fetches is trusted as on the host."""
        bundle = find_ca_bundle(self._config.trust.ca_bundle)
        return (f"--volume={bundle}:{SANDBOX_CA_BUNDLE}:ro",) if bundle else ()

    def _build_arguments(self, template: Template, base: str, *, force: bool) -> tuple[str, ...]:
        return (
            f"--build-arg=BASE={base}",
            "--pull=never",
            f"--label={LABEL_TEMPLATE}={template.digest}",
            f"--label={LABEL_IMAGE}={template.name}",
            *(("--no-cache",) if force else ()),
            *self.trust_arguments(),
            str(template.folder),
        )


async def images_in_use(engine: Engine) -> frozenset[str]:
    """Ids of the images of all containers.

    Args:
        engine: Runs podman.

    Raises:
        EngineError: Podman could not say.
    """
    used = await engine.run("ps", "--all", "--format=json", doing="list containers")
    return frozenset(entry["ImageID"] for entry in msgspec.json.decode(used.stdout or b"[]"))


def _is_obsolete(entry: dict[str, Any], digest: str, today: dict[str, Any] | None) -> bool:
    if entry["Labels"].get(LABEL_TEMPLATE) != digest or LABEL_TOOLCHAIN in entry["Labels"]:
        return True
    # A nameless one of today's template is a build under way, unless today's image is younger.
    return not entry.get("Names") and today is not None and entry["Created"] < today["Created"]
