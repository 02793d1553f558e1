"""`Toolchains`: the image of a loop that has tools of its own: a child of the sandbox image, with mise's tools in it.

Its tag is a hash over the image below, its id included, and over the loop's `mise.toml`: equal toolchains share an
image, and a new image below reaches every child. A toolchain that cannot be built does not keep a loop from starting:
that is noted, and until the note is gone the loop runs on the image below.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from loopat_jupyter.errors import EngineError, EngineTimeoutError, StorageFullError
from loopat_jupyter.models import LoopEvent, Progress
from loopat_jupyter.sandbox.build import BuildLog, build_image
from loopat_jupyter.sandbox.builders import (
    BUILD_TIMEOUT_S,
    build_folder,
    image_key,
    note_id,
    noted_id,
    read_note,
    sole_builder,
)
from loopat_jupyter.sandbox.images import LABEL_IMAGE, LABEL_TOOLCHAIN
from loopat_jupyter.sandbox.preparing import prepare
from loopat_jupyter.sandbox.template import SANDBOX_IMAGE, TOOLCHAIN_IMAGE, is_built_here
from loopat_jupyter.sandbox.triggers import has_triggers
from loopat_jupyter.workspace.files import read_untrusted, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.images import Images
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.paths import Workspace

TOOLS = "/opt/loopat-mise"
"""Where tools live: outside the home, which is mounted over what the image has there."""

LARGEST_TOOLCHAIN_BYTES = 256 * 1024
_CONFIG = "/etc/mise/config.toml"
_TAIL_LINES = 4
_LONGEST_LINE = 300
_ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)")
_TRIGGERED = (
    "the loop's image brings instructions along (ONBUILD) that podman would run outside the loop, or podman's own "
    "storage does not tell that it brings none; give the loop another image"
)
_PROGRESS = Progress(label="toolchain", step=1, steps=2)
_PREPARE = Progress(label="preparing", step=2, steps=2)

_CONTAINERFILE = f"""\
ARG BASE
FROM ${{BASE}}
ENV MISE_DATA_DIR={TOOLS}
COPY mise.toml {_CONFIG}
RUN export HOME=/tmp/home MISE_CACHE_DIR=/tmp/home/mise NO_COLOR=1 \\
 && mkdir /tmp/home && {{ mise install --yes || {{ mise reshim; mise install --yes; }}; }} && mise reshim \\
 && rm --recursive --force /tmp/home
"""
"""The host mounts its certificates here as in the image below; what tools cache while they install stays out.

A tool may need another to be installed, as those of `npm:` do, and finds one that is itself a program of some package
only once that has its shim. So what fails at first is tried once more with the shims of the rest.
"""


class Toolchains:
    """Which image each loop runs.

    Args:
        workspace: Where loops and their toolchains are.
        engine: Runs podman.
        images: The images below.
        on_failure: Told, with the reason, when the toolchain of a loop could not be built.
    """

    def __init__(
        self, workspace: Workspace, engine: Engine, images: Images, on_failure: Callable[[LoopEvent], None]
    ) -> None:
        self._workspace = workspace
        self._engine = engine
        self._images = images
        self._on_failure = on_failure

    def reference(self, record: LoopRecord) -> str:
        """The image that a loop should run: with its toolchain, unless that could not be built. Asks no podman."""
        base = self._images.reference(record)
        tag = self._tag(record, base)
        return base if tag is None or self._failure(tag).exists() else tag

    def hint(self, record: LoopRecord) -> str:
        """What stands for the image of a loop, ids aside: the same after the machine was restarted. Asks no podman."""
        base, data = self._images.reference(record), self._data(record)
        return toolchain_tag(base, "", data) if data.strip() else base

    def problem(self, record: LoopRecord) -> str:
        """Why a loop runs without its toolchain; empty when it does not."""
        data = self._data(record)
        if not data.strip():
            return ""
        return read_note(self._failure(self._tag_of(data, self._images.reference(record))))

    def build_log(self, record: LoopRecord) -> Path:
        """Where the output of the last build for a loop is: of its toolchain, else of the image below."""
        base = self._images.reference(record)
        tag = self._tag(record, base)
        own = None if tag is None else self._images.build_log(tag)
        return own if own is not None and own.exists() else self._images.build_log(base)

    def retry(self, record: LoopRecord) -> None:
        """Forget that a loop's toolchain could not be built: the next start tries again."""
        tag = self._tag(record, self._images.reference(record))
        if tag is not None:
            self._failure(tag).unlink(missing_ok=True)

    async def ensure(self, record: LoopRecord, on_progress: Callable[[Progress], None]) -> str:
        """Make the image be there that `reference` then names.

        Args:
            record: The loop.
            on_progress: Told about each step of a build, also when another process builds.

        Returns:
            The id of the image: that of the image below when the toolchain could not be built.

        Raises:
            EngineTimeoutError: Podman or another process took too long.
            EngineUnavailableError: There is no usable podman.
            ImageBuildError: The image below could not be built, or is not there and cannot be pulled.
            StorageFullError: No space.
        """
        base = self._images.reference(record)
        base_id = await self._images.ensure(base, on_progress, loop=record.id[:8])
        note_id(self._workspace, base, base_id)
        data = self._data(record)
        if not data.strip():
            return base_id
        tag = self._tag_of(data, base)
        if self._failure(tag).exists():
            return base_id
        async with sole_builder(self._workspace, tag, on_progress) as report:
            found = await self._images.find(tag)
            if found is None and not self._failure(tag).exists():
                found = await self._build(tag, base, base_id, data, report)
        if found is None:
            self._on_failure(LoopEvent(action="warning", loop_id=record.id, message=self.problem(record)))
        return found or base_id

    def is_ready(self, reference: str, image_id: str) -> bool:
        """Whether a container of an image that is there starts at once. Asks no podman."""
        return self._images.is_ready(reference, image_id)

    def forget_ready(self, image_id: str) -> None:
        """Have `ensure` see to it anew that containers of an image start at once."""
        self._images.forget_ready(image_id)

    def _tag(self, record: LoopRecord, base: str) -> str | None:
        """The child image; None for a loop without a toolchain."""
        data = self._data(record)
        return self._tag_of(data, base) if data.strip() else None

    def _tag_of(self, data: bytes, base: str) -> str:
        return toolchain_tag(base, noted_id(self._workspace, base), data)

    def _data(self, record: LoopRecord) -> bytes:
        try:
            return read_untrusted(self._workspace.toolchain(record.id), limit_bytes=LARGEST_TOOLCHAIN_BYTES)
        except OSError:
            return b""

    def _failure(self, tag: str) -> Path:
        return self._workspace.image_locks / f"{image_key(tag)}.failed"

    async def _build(
        self, tag: str, base: str, base_id: str, data: bytes, report: Callable[[Progress], None]
    ) -> str | None:
        """Build, or note why that did not work."""
        report(_PROGRESS)
        lines = BuildLog(self._images.build_log(tag), None)
        image_id, killed = None, ""
        try:
            if not is_built_here(base) and await has_triggers(self._engine, base_id) is not False:
                lines.add(_TRIGGERED)
            else:
                async with build_folder(self._workspace, "toolchain") as context:
                    image_id = await self._run(tag, base_id, data, context, lines)
        except EngineTimeoutError as error:
            lines.add(error.message)
        except EngineError as error:
            killed = error.message
        finally:
            lines.close()
        if image_id is None:
            write_atomic(self._failure(tag), (_tell_killed(killed) if killed else explain(lines)).encode())
            return None
        report(_PREPARE)
        await prepare(self._engine, self._workspace, image_id)
        await self._engine.run("tag", image_id, tag, doing="tag the image")
        return image_id

    async def _run(self, tag: str, base_id: str, data: bytes, context: Path, lines: BuildLog) -> str | None:
        write_atomic(context / "mise.toml", data, mode=0o644)
        write_atomic(context / "Containerfile", _CONTAINERFILE.encode())
        arguments = (
            f"--build-arg=BASE={base_id}",
            "--pull=never",
            # No step is ever asked for again: an image of each would only take time, and stay when a later one fails.
            "--layers=false",
            f"--label={LABEL_TOOLCHAIN}={_digest_of(tag)}",
            f"--label={LABEL_IMAGE}={SANDBOX_IMAGE}",
            *self._images.trust_arguments(),
            str(context),
        )
        return await build_image(
            self._engine, *arguments, id_file=context / "id", on_line=lines.add, timeout_s=BUILD_TIMEOUT_S
        )


def toolchain_tag(base: str, base_id: str, data: bytes) -> str:
    """The image of a toolchain: one for each image below and each `mise.toml`.

    Args:
        base: Name of the image below.
        base_id: Its id, where known.
        data: The `mise.toml`.
    """
    digest = hashlib.sha256()
    for part in (base.encode(), base_id.encode(), _CONTAINERFILE.encode(), data):
        digest.update(len(part).to_bytes(8, "big") + part)
    return f"localhost/{TOOLCHAIN_IMAGE}-{digest.hexdigest()[:12]}:latest"


def _digest_of(tag: str) -> str:
    return image_key(tag).rpartition("-")[2]


def _tell_killed(problem: str) -> str:
    return f"The toolchain could not be built, so the loop runs without it. {problem} Recreate the loop for that."


def explain(log: BuildLog) -> str:
    """Why a toolchain could not be built, in words that somebody can act on, with the last lines of the build.

    Args:
        log: The output of the build.

    Raises:
        StorageFullError: There was no space for it.
    """
    own = last_words(log.tail)
    if any("no space left on device" in line.lower() for line in own):
        raise StorageFullError(f"No space left to build the toolchain (see {log.path}). Free some space and try again.")
    return (
        "The toolchain could not be built, so the loop runs without it. Fix the mise.toml of the loop, or the "
        f"network, then recreate the loop. The whole build is in {log.path}; it ended with: "
        + (" / ".join(own) or "nothing said")
    )


def last_words(lines: Sequence[str]) -> list[str]:
    """The last lines of a build that say something, without what would colour them or move a cursor.

    Args:
        lines: The output of a build.
    """
    plain = (_ESCAPE.sub("", line).strip() for line in lines)
    said = ["".join(filter(str.isprintable, line))[:_LONGEST_LINE] for line in plain]
    own = [line for line in said if line and not line.startswith(("Error: building at STEP", "-->", "STEP "))]
    return own[-_TAIL_LINES:]
