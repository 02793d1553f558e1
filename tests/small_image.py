"""A sandbox image of a few megabytes, for tests that build images upon images.

Podman copies an image with shifted owners before the first container may run it, so what a test builds upon the real
image costs it the copy of a gigabyte.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CONTAINERFILE = """\
ARG BASE
FROM ${BASE} AS whole
USER root
RUN cd / && mkdir /small \\
 && for program in bash sh cat echo env id ln ls mkdir mv rm setsid sleep true; do \\
      path=$(which $program) && cp --parents "$path" $(ldd "$path" | grep --only-matching '/[^ ]*') /small; \\
    done \\
 && cp --archive --parents /etc/passwd /etc/group /loopat /opt/loopat-mise /small \\
 && ln --symbolic usr/bin /small/bin && mkdir --parents /small/usr/local/bin && mkdir --mode=1777 /small/tmp \\
 && printf '#!/bin/sh\\n' >/small/usr/local/bin/mise && chmod 0755 /small/usr/local/bin/mise
FROM scratch
COPY --from=whole /small /
ENV PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 HOME=/loopat/home/loopat MISE_DATA_DIR=/opt/loopat-mise
USER loopat
"""
"""What a loop needs to start, and a `mise` that finds every tool installed."""


@pytest.fixture(scope="session")
def small_image(sandbox_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its name; it is built once on a machine for each real image."""
    identity = podman("image", "inspect", "--format={{.Id}}", sandbox_image) + CONTAINERFILE
    name = f"localhost/loopat-tests-small-{hashlib.sha256(identity.encode()).hexdigest()[:12]}:latest"
    folder: Path = tmp_path_factory.mktemp("small")
    with (tmp_path_factory.getbasetemp().parent / "small.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if subprocess.run(["podman", "image", "exists", name], timeout=60, check=False).returncode:
            (folder / "Containerfile").write_text(CONTAINERFILE)
            podman(
                "build", "--quiet", "--layers=false", f"--build-arg=BASE={sandbox_image}", f"--tag={name}", str(folder)
            )
    return name


def podman(*arguments: str) -> str:
    """What podman prints."""
    ran = subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=280, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()
