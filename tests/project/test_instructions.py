from __future__ import annotations

import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.project.containerfile import read_containerfile
from loopat_jupyter.project.instructions import check_fetched, check_mounts, has_mounts

HARMLESS = (
    "RUN echo type=cache --mount=type=bind",
    "RUN --mount=type=tmpfs,target=/tmp \\\n  --mount=target=/b,type=tmpfs \\\n  echo $HOME 'it is'",
    "# RUN --mount=type=cache,target=/x true",
)
LEADING_SOMEWHERE = (
    "RUN --mount=type=cache,target=/x true",
    "RUN --mount=target=/x,type=cache true",
    "RUN --mount=type=bind,from=base,source=/x,destination=/y,rw true",
    "RUN --mount=from=base,target=/y true",
    "RUN --mount=type=tmpfs,type=bind,from=base,target=/y true",
    "RUN --mount=type=secret,id=x true",
    "RUN --mount=type=tmpfs,target=/y --mount=id=../x,type=cache,target=/x true",
    "RUN \\\n--mount=type=cache,target=/x true",
    "RUN --mo\\\n# between\n\nunt=type=cache,target=/x true",
    "RUN --mount=type=ca\\\r\nche,target=/x true",
    "r\\\nun --mount=type=cache",
    'RUN --mount=type=cache,target=/x ["true"]',
    "RUN --mount=type=cache,target=/x <<E\ntrue\nE",
    "RUN <<E \\\n\nx\\\nRUN --mount=type=cache,target=/x true\nE",
    "ONBUILD RUN --mount=type=cache,target=/x true",
    "RUN --mount=type=cache",
)
HIDDEN = (
    "ARG KIND=cache\nRUN --mount=type=$KIND,target=/x true",
    "ARG KIND=cache\nRUN --mount=type=tmpfs,target=/x${KIND} true",
    "RUN --mount=type=tmpfs,,type=cache true",
    "RUN --mount=",
)


@pytest.mark.parametrize("instruction", HARMLESS)
def test_what_leads_nowhere_is_built_by_every_podman(instruction: str):
    check_mounts(read_containerfile(f"FROM scratch\n{instruction}\n".encode()).instructions, "4.3.1")


@pytest.mark.parametrize("instruction", LEADING_SOMEWHERE)
def test_a_mount_is_built_by_a_podman_that_checks_where_it_leads(instruction: str):
    instructions = read_containerfile(f"FROM scratch\n{instruction}".encode()).instructions
    assert has_mounts(instructions)
    for checked in ("5.3.2", "5.4.0-dev", "6.0.0"):
        check_mounts(instructions, checked)
    for unchecked in ("5.3.1", "4.3.1", ""):
        with pytest.raises(BadInputError, match=r"use podman 5\.3\.2 or newer"):
            check_mounts(instructions, unchecked)


@pytest.mark.parametrize("instruction", HIDDEN)
@pytest.mark.parametrize("version", ["4.3.1", "6.0.0"])
def test_a_mount_that_is_not_written_plainly_is_refused(instruction: str, version: str):
    with pytest.raises(BadInputError, match="without quotes, variables"):
        check_mounts(read_containerfile(f"FROM scratch\n{instruction}".encode()).instructions, version)


def test_podman_is_not_asked_for_its_version_without_need():
    assert not has_mounts(read_containerfile(b"FROM scratch\nRUN mount --mount=x\n# --mount\n").instructions)


@pytest.mark.parametrize(
    "instruction",
    [
        "ADD a b",
        "ADD --chown=a:b --chmod=0644 a.tar.gz /opt/",
        'ADD ["a b", "/c"]',
        "ADD <<E /x\nhttp://a\nE",
        "ADD node_modules/@scope /x",
        "COPY $A $B",
        "RUN curl http://a && \\\n add b:c",
        "RUN --network=none --network=default --mount=type=tmpfs a --network=host",
        "# ADD http://a /b",
    ],
)
def test_files_of_the_project_are_added(instruction: str):
    check_fetched(read_containerfile(f"FROM scratch\n{instruction}\n".encode()).instructions)


@pytest.mark.parametrize(
    "instruction",
    [
        "ADD http://127.0.0.1:8888/api /x",
        "ADD --chown=a:b HTTPS://a /x",
        "add a \\\n# between\n\n  https://a /x",
        "ADD ht\\\ntp://a /x",
        "A\\\nDD http://a /x",
        'ADD ["http://a", "/x"]',
        'ADD ["\\u0068ttp\\u003a//a", "/x"]',
        "ADD 'http:'//a /x",
        "ADD http:\\//a /x",
        "ARG A=http://a\nADD $A /x",
        "ENV A=http\nADD ${A}a /x",
        "ADD git@example.org:a/b.git /x",
        "ADD ssh://git@example.org/a /x",
        "ADD 'git'hub.com/a/b /x",
        "ONBUILD ADD http://a /x",
        "RUN <<E\ntrue \\\nE\nADD http://a /x",
        "RUN <<#E\ntrue \\\n#E\nADD http://a /x",
        "RUN <<E\nADD http://a /x\nE",
        "ADD <<E http://a /x\nE",
        "RUN --network=host true",
        "RUN --network=$A true",
        "RUN --mount=type=tmpfs \\\n --security=insecure true",
    ],
)
def test_what_podman_may_fetch_in_the_network_of_the_host_is_refused(instruction: str):
    with pytest.raises(BadInputError, match="is not built: (`ADD .*Use COPY|it has `RUN .*Leave that out)"):
        check_fetched(read_containerfile(f"FROM scratch\n{instruction}\n".encode()).instructions)
