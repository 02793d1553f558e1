"""What a workspace left behind that nothing needs any more. Pure: facts in, leftovers out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from loopat_jupyter.models import Value
from loopat_jupyter.sandbox.builders import BUILD_TIMEOUT_S
from loopat_jupyter.sandbox.template import is_toolchain
from loopat_jupyter.workspace.paths import runtime_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loopat_jupyter.sandbox.images import StoredImage

LOG_KEPT_S = 7 * 24 * 3600.0
"""How long the log of an image build stays."""

HALF_MADE_KEPT_S = 24 * 3600.0
"""How long what somebody began to make stays: a first clone of a large repo may take hours."""

UNUSED_KEPT_S = 7 * 24 * 3600.0
"""How long the copy of a repo stays that no loop uses: the next loop is made quickly from it."""

BUILD_KEPT_S = 2 * BUILD_TIMEOUT_S
"""How long what an image is built from stays: longer than any copy and build."""

Kind = Literal["process", "container", "build", "network", "image", "runtime", "log", "loop", "mirror", "copy"]


class Leftover(Value, frozen=True, kw_only=True):
    """One thing that may go.

    Attributes:
        kind: What it is.
        name: What was started, container name, image name or path.
        reason: Why nothing needs it.
        key: What removing it needs: loop id, container id, network name, image id or path.
        names: All names of an image; none for any other thing.
        size_bytes: What removing it frees; None when that is not known.
    """

    kind: Kind
    name: str
    reason: str
    key: str
    names: tuple[str, ...] = ()
    size_bytes: int | None = None


class Findings(Value, frozen=True, kw_only=True):
    """What is there: on disk, in the runtime directory and in podman.

    Attributes:
        loops: Ids of all loops on disk, also of those whose record cannot be read.
        containers: Names of this workspace's containers by loop id; only those that mount this workspace's files.
        builds: Containers of builds whose podman was killed: id, name.
        images: Outdated template images that no container uses.
        project_images: Images of projects whose loop is gone, that nothing uses.
        runtime: Folders of loops in the runtime directory: path by folder name.
        deleted: What is left of loops whose deletion did not come to its end: path.
        half_made: Folders without a record among the loops, and unfinished copies of repos: path, age in seconds.
        mirrors: Copies of repos that no loop borrows from: path, seconds since the last fetch, size in bytes.
        copies: What images are, or were to be, built from: path, age in seconds, size in bytes.
        network: Name of the workspace's network, if it is there and no container of the workspace is; else None.
        logs: Build logs: path, seconds since it was last written, size in bytes.
    """

    loops: frozenset[str]
    containers: dict[str, str]
    images: tuple[StoredImage, ...]
    runtime: dict[str, str]
    logs: tuple[tuple[str, float, int], ...]
    project_images: tuple[StoredImage, ...] = ()
    builds: tuple[tuple[str, str], ...] = ()
    network: str | None = None
    deleted: tuple[str, ...] = ()
    half_made: tuple[tuple[str, float], ...] = ()
    mirrors: tuple[tuple[str, float, int], ...] = ()
    copies: tuple[tuple[str, float, int], ...] = ()


def find_leftovers(findings: Findings) -> tuple[Leftover, ...]:
    """Everything that may go: containers first, because they hold images and runtime folders.

    Args:
        findings: What is there.
    """
    return (
        *_containers(findings.containers, findings.loops),
        *(
            Leftover(kind="build", name=name, reason="the build was killed", key=container_id)
            for container_id, name in findings.builds
        ),
        *(
            Leftover(kind="network", name=name, reason="no loop has a sandbox", key=name)
            for name in (findings.network,)
            if name is not None
        ),
        *(image_leftover(image) for image in findings.images),
        *(image_leftover(image, "its project's loop is gone") for image in findings.project_images),
        *_runtime(findings),
        *(
            Leftover(kind="loop", name=path, reason="deleted, and not all its files are gone", key=path)
            for path in findings.deleted
        ),
        *(
            Leftover(kind="loop", name=path, reason="begun and never finished", key=path)
            for path, age_s in findings.half_made
            if age_s > HALF_MADE_KEPT_S
        ),
        *(
            Leftover(kind="mirror", name=path, reason="no loop borrows from it", key=path, size_bytes=size_bytes)
            for path, age_s, size_bytes in findings.mirrors
            if age_s > UNUSED_KEPT_S
        ),
        *(
            Leftover(kind="copy", name=path, reason="the build was killed", key=path, size_bytes=size_bytes)
            for path, age_s, size_bytes in findings.copies
            if age_s > BUILD_KEPT_S
        ),
        *(
            Leftover(kind="log", name=path, reason="a build log older than a week", key=path, size_bytes=size_bytes)
            for path, age_s, size_bytes in findings.logs
            if age_s > LOG_KEPT_S
        ),
    )


def image_leftover(image: StoredImage, reason: str = "") -> Leftover:
    """An image that may go.

    Args:
        image: The image.
        reason: Why; by default, what its name says.
    """
    name = image.names[0] if image.names else f"{image.id[:12]} (an unfinished build)"
    why = reason or ("tools that no sandbox uses" if is_toolchain(name) else "made from an older template")
    return Leftover(kind="image", name=name, reason=why, key=image.id, names=image.names, size_bytes=image.size_bytes)


def _containers(containers: Mapping[str, str], loops: Iterable[str]) -> list[Leftover]:
    known = set(loops)
    return [
        Leftover(kind="container", name=name, reason="its loop is gone", key=loop_id)
        for loop_id, name in sorted(containers.items())
        if loop_id not in known
    ]


def _runtime(findings: Findings) -> list[Leftover]:
    known = {runtime_key(loop_id) for loop_id in findings.loops}
    return [
        Leftover(kind="runtime", name=path, reason="sockets and notes of a loop that is gone", key=path)
        for key, path in sorted(findings.runtime.items())
        if key not in known
    ]
