from __future__ import annotations

import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.project.instructions import check_mounts, has_mounts

HARMLESS = (
    "RUN echo type=cache",
    "RUN --mount=type=bind,source=a,target=/b ls",
    "RUN --mount=type=tmpfs,target=/tmp \\\n  --mount=type=secret,id=x \\\n  echo $HOME 'it is'",
    "# RUN --mount=type=cache,target=/x true",
)
CACHES = (
    "RUN --mount=type=cache,target=/x true",
    "RUN --mount=target=/x,type=cache true",
    "RUN --mount=type=bind,target=/y --mount=id=../x,type=cache,target=/x true",
    "RUN \\\n--mount=type=cache,target=/x true",
    "RUN --mo\\\n# between\n\nunt=type=cache,target=/x true",
    "# escape=`\nRUN --mount=type=ca`\nche,target=/x true",
    "RUN --mount=type=ca\\\r\nche,target=/x true",
    "RUN --mount='type=cache',target=/x true",
    'RUN --mount="target=/a b,type=cache" true',
    'RUN --mo"unt"=type=cache,target=/x true',
    "RUN --m\\ount=type=cache,target=/x true",
    "ARG KIND=cache\nRUN --mount=type=$KIND,target=/x true",
    "ONBUILD RUN --mount=type=cache,target=/x true",
    "RUN --mount=type=cache",
)


@pytest.mark.parametrize("instruction", HARMLESS)
def test_what_is_no_cache_is_built_by_every_podman(instruction: str):
    check_mounts(f"FROM scratch\n{instruction}\n".encode(), "4.3.1")


@pytest.mark.parametrize("instruction", CACHES)
def test_a_cache_is_built_by_a_podman_that_checks_where_it_leads(instruction: str):
    containerfile = f"FROM scratch\n{instruction}".encode()
    assert has_mounts(containerfile)
    for checked in ("5.3.2", "5.4.0-dev", "6.0.0"):
        check_mounts(containerfile, checked)
    for unchecked in ("5.3.1", "4.3.1", ""):
        with pytest.raises(BadInputError, match=r"Leave the mount out, or use podman 5\.3\.2 or newer"):
            check_mounts(containerfile, unchecked)


def test_podman_is_not_asked_for_its_version_without_need():
    assert not has_mounts(b"FROM scratch\nRUN mount\n# --mount\n")
