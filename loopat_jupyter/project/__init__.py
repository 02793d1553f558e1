"""What the project in a loop says of the environment it wants. Read as untrusted, and never run on the host.

===============  ======================================================================
`wishes`         one thing that it asks for
`files`          what lies in the project's top folder, and what to run to have it
`devcontainer`   what a `devcontainer.json` asks for, and what of it a loop honours
`allowed`        what of it the site leaves to loops
`instructions`   what a Containerfile may not ask of podman
`build`          an image from a folder that a sandbox can write, built with podman
===============  ======================================================================
"""

from __future__ import annotations

from loopat_jupyter.project.allowed import FIXED_IMAGE, as_allowed
from loopat_jupyter.project.build import build_project
from loopat_jupyter.project.files import find_project
from loopat_jupyter.project.wishes import ProjectFile

__all__ = ["FIXED_IMAGE", "ProjectFile", "as_allowed", "build_project", "find_project"]
