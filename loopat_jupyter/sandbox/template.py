"""The image template: where it is, its tags, and what the output of its build says about progress.

Pure apart from reading the template's files.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jupyter_core.paths import jupyter_path

import loopat_jupyter
from loopat_jupyter.errors import ConfigurationError
from loopat_jupyter.models import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loopat_jupyter.workspace.config import ImageConfig

CONTAINERFILE = "Containerfile"
SANDBOX_IMAGE = "loopat-sandbox"
"""What images of the sandbox template are called."""

TOOLCHAIN_IMAGE = "loopat-tools"
"""What images are called that have tools of their own on top of it."""

_STEP_LABEL = re.compile(r"#\s*step:\s*(\S.*?)\s*\Z")
_INSTRUCTION = re.compile(r"([A-Za-z]+)(?=\s)")
_OUTPUT_STEP = re.compile(r"(?:\[(\d+)/\d+\] )?STEP (\d+)/\d+: ")
_UNLABELLED = "building"


class Template(NamedTuple):
    """One template as it is on disk now.

    Attributes:
        name: What its images are called.
        folder: The build context.
        digest: 12 hexadecimal digits over its files and over the settings that shape the image.
        containerfile: How it is made.
    """

    name: str
    folder: Path
    digest: str
    containerfile: str

    @property
    def tag(self) -> str:
        """The image that this very template makes."""
        return f"localhost/{self.name}-{self.digest}:latest"

    @property
    def newest_tag(self) -> str:
        """Always points at the image that was built last, for people and for images that build on it."""
        return f"localhost/{self.name}:latest"


def is_toolchain(reference: str) -> bool:
    """Whether an image is one with tools of its own, which is made here whenever it is missing.

    Args:
        reference: Of the image.
    """
    return reference.startswith(f"localhost/{TOOLCHAIN_IMAGE}-")


def is_built_here(reference: str) -> bool:
    """Whether an image is the template's, or one with tools of its own.

    Args:
        reference: What it is called.
    """
    return is_toolchain(reference) or reference.startswith(
        (f"localhost/{SANDBOX_IMAGE}-", f"localhost/{SANDBOX_IMAGE}:")
    )


def template_folder(name: str = "sandbox") -> Path:
    """The folder of a template: beside a source checkout, else where the package put it or a person overrode it.

    Args:
        name: Of the template.

    Raises:
        ConfigurationError: The installation has no template.
    """
    return template_file(f"{name}/{CONTAINERFILE}").parent


def template_file(name: str) -> Path:
    """A file of the templates, found as `template_folder` finds folders.

    Args:
        name: Path below the folder of all templates.

    Raises:
        ConfigurationError: The installation has no such file.
    """
    checkout = Path(loopat_jupyter.__file__).parent.parent
    candidates = [checkout / "templates"] if (checkout / "pyproject.toml").is_file() else []
    candidates += [Path(path) for path in jupyter_path("loopat", "templates")]
    for candidate in candidates:
        if (candidate / name).is_file():
            return candidate / name
    raise ConfigurationError(
        f"A template is missing: there is no {name} in any of {', '.join(map(str, candidates))}. "
        "Install loopat-jupyter again."
    )


def read_template(folder: Path, image: ImageConfig, *, name: str = SANDBOX_IMAGE) -> Template:
    """Read a template.

    Args:
        folder: The build context, with a `Containerfile`.
        image: The settings that shape the image.
        name: What its images are called.

    Raises:
        ConfigurationError: It has no Containerfile.
    """
    try:
        text = (folder / CONTAINERFILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"There is no {folder / CONTAINERFILE}. Put one there, or set image.use.") from None
    digest = hashlib.sha256()
    for data in (image.base.encode(), image.suite.encode(), *_content(folder)):
        digest.update(len(data).to_bytes(8, "big") + data)
    return Template(name, folder, digest.hexdigest()[:12], text)


def _content(folder: Path) -> Iterator[bytes]:
    """Names, modes and contents of all files, in an order that does not depend on the file system."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            yield from (os.fsencode(path.relative_to(folder)), b"link", os.fsencode(path.readlink()))
        elif path.is_file():
            executable = b"x" if path.stat().st_mode & 0o100 else b"-"
            yield from (os.fsencode(path.relative_to(folder)), executable, path.read_bytes())


def step_labels(containerfile: str) -> tuple[tuple[str, ...], ...]:
    """The label of every instruction, stage by stage.

    A comment `# step: <label>` names the instruction below it; an instruction without one keeps the label before it.
    What stands before the first `FROM` belongs to no stage and is no step of a build. Before the first label the
    label is empty.

    Args:
        containerfile: The text of a Containerfile.
    """
    stages: list[list[str]] = []
    label = ""
    for line in _logical_lines(containerfile):
        comment = _STEP_LABEL.match(line)
        if comment:
            label = comment[1]
            continue
        instruction = _INSTRUCTION.match(line)
        if not instruction:
            continue
        if instruction[1].upper() == "FROM":
            stages.append([])
        if stages:
            stages[-1].append(label)
    return tuple(map(tuple, stages))


def _logical_lines(text: str) -> Iterator[str]:
    """Comments and whole instructions: continued lines are one, and comments inside them are dropped."""
    pending = ""
    for raw in text.splitlines():
        line = raw.strip()
        if pending and (not line or line.startswith("#")):
            continue
        if line.startswith("#"):
            yield line
            continue
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        yield pending
        pending = ""
    if pending:
        yield pending


class BuildProgress:
    """Turns the output of a build into progress that only rises.

    A step is a label, not an instruction: people count what they can name. Phases around the build proper are
    steps too.

    Args:
        labels: What `step_labels` found.
        before: Names of the phases before the build.
        after: Names of the phases after it.
    """

    def __init__(
        self, labels: Sequence[Sequence[str]], *, before: Sequence[str] = (), after: Sequence[str] = ()
    ) -> None:
        self._steps: list[str] = list(before)
        self._number_of: list[list[int]] = []
        for stage in labels:
            self._number_of.append([])
            for label in stage:
                name = label or (self._steps[-1] if self._steps else _UNLABELLED)
                if not self._steps or self._steps[-1] != name:
                    self._steps.append(name)
                self._number_of[-1].append(len(self._steps))
        self._built = len(self._steps)
        self._steps += after
        self._reached = 0

    def phase(self, label: str) -> Progress:
        """A phase before or after the build begins.

        Args:
            label: One of the names given at first.
        """
        after = label in self._steps[self._built :]
        return self._at(self._steps.index(label, self._built if after else 0) + 1)

    def line(self, text: str) -> Progress | None:
        """Read one line of the build's output.

        Args:
            text: `STEP 3/9: RUN …`, with stages `[1/2] STEP 2/5: …`, or anything else.

        Returns:
            The progress that the line announces; None when it announces none.
        """
        found = _OUTPUT_STEP.match(text)
        if not found or not self._number_of:
            return None
        stage = self._number_of[min(int(found[1] or 1), len(self._number_of)) - 1]
        # Podman appends an instruction of its own for labels given on the command line.
        return self._at(stage[min(int(found[2]), len(stage)) - 1])

    def _at(self, step: int) -> Progress:
        self._reached = max(self._reached, step)
        return Progress(label=self._steps[self._reached - 1], step=self._reached, steps=len(self._steps))
