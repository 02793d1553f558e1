"""Abuse that no single module answers for, against the real thing. What else is tested of abuse: docs/faults.md."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import msgspec
import psutil
import pytest
import pytest_asyncio
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from loopat_jupyter.errors import LoopatError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import ExecSpec, NewLoop
from loopat_jupyter.outgoing import push_branch
from loopat_jupyter.sandbox.execution import Exit
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.workspace.config import Config, ContextConfig, ImageConfig, MountConfig
from tests.conftest import LONELY
from tests.git_remotes import unsaved
from tests.jupyter_process import TOKEN, Server, jupyter_server
from tests.small_image import podman
from tests.small_kernels import add_small_kernel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from loopat_jupyter.workspace.paths import Workspace
    from tests.git_remotes import Remote

pytestmark = [pytest.mark.podman, pytest.mark.lonely]

ODD = {
    "option": "-v",
    "way out": "../x",
    "path": "a/b",
    "zero": "a\0b",
    "newline": "a\nb",
    "long": "x" * 300,
    "look-alike": "\u0440\u0430ypal",
    "lower": "case twin",
    "upper": "CASE TWIN",
    "invisible": "a\u202eb",
}


def naive_loops(loops: Path) -> None:
    """Folders that are called as people call their loops, and made and listed as a plain program would."""
    for kind in ("path", "way out", "newline"):
        (loops / ODD[kind]).mkdir(parents=True)
    assert (loops.parent / "x").is_dir(), "it lies outside"
    assert (loops / "a" / "b").is_dir(), "it lies in what another one may have"
    listed = subprocess.check_output(["ls", "--literal", str(loops)], text=True)
    assert listed.splitlines() == ["a", "a", "b"], "one is listed as two"
    for kind in ("zero", "long"):
        with pytest.raises((ValueError, OSError)):
            (loops / ODD[kind]).mkdir()
    # There is no such folder, and nobody is told: it was taken for an option.
    subprocess.run(["ls", ODD["option"]], cwd=loops, stdout=subprocess.DEVNULL, check=True)
    assert len({ODD[kind].lower().replace(" ", "-") for kind in ("lower", "upper")}) == 1, "two have one address"


@pytest.fixture(scope="module")
def workspace(workspace_of_module: Workspace) -> Workspace:
    return workspace_of_module


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    workspace: Workspace, sandbox_image: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """One server for all of it."""
    environ = {"LOOPAT_HOME": str(workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}
    async with jupyter_server(tmp_path_factory.mktemp("server"), workspace.home, environ) as server:
        yield server


@pytest.mark.abuse("A1")
async def test_odd_names_are_refused_or_lead_to_safe_ones(server: Server, workspace: Workspace, tmp_path: Path) -> None:
    naive_loops(tmp_path / "naive" / "loops")
    # Nothing is claimed of contexts, which all these loops would get.
    workspace.config_file.write_text(f"{LONELY}[context]\nuse = false\n")
    made, paths = {}, set(workspace.home.rglob("*"))
    for kind, name in ODD.items():
        answer = await server.api("POST", "loopat/api/loops", {"title": name})
        assert answer.status in (201, 400), (kind, answer)
        if answer.status == 201:
            made[kind] = answer.body
        for field in ("vault", "profiles", "repo", "image"):
            if (kind, field) == ("path", "image"):
                # A registry's names look like that.
                continue
            value = [name] if field == "profiles" else name
            refused = await server.api("POST", "loopat/api/loops", {"title": "ordinary", field: value})
            assert (refused.status, refused.body.get("field")) == (400, field), (kind, refused)
        for place in ("loops/{}", "loops/{}/share", "vaults/{}", "profiles/{}"):
            refused = await server.api("GET", f"loopat/api/{place.format(quote(name, safe=''))}")
            assert refused.status in (400, 404, 405), (kind, place)
        some = next(iter(made.values()))["id"]
        refused = await server.api("PUT", f"loopat/api/loops/{some}/share", {"mode": "static", "alias": name})
        assert (refused.status, refused.body["field"]) == (400, "alias"), kind
    assert {"lower", "upper", "option", "way out", "path"} <= set(made)
    assert not {"zero", "newline", "long"} & set(made)
    # One loop, one folder, one slug, and one container whatever its title: no two loops meet.
    assert {path.parent for path in set(workspace.home.rglob("meta.json")) - paths} == {
        workspace.loop(loop["id"]) for loop in made.values()
    }
    names = {loop["folder"] for loop in made.values()}
    assert len({name.lower() for name in names}) == len(made)
    assert all(name.isascii() and not {*"/\\ "} & {*name} and name[0] not in "-." for name in names)
    workspace.config_file.write_text(LONELY)
    for kind in ("option", "way out", "lower", "upper"):
        loop = made[kind]["id"]
        ran = await server.api("POST", f"loopat/api/loops/{loop}/exec", {"argv": ["hostname"]})
        assert ran.body[0] == {"stream": "stdout", "data": f"loop-{loop[:8]}\n"}, kind


def naive_mounts(image: str, evil: dict[str, str], shown: dict[str, Path]) -> None:
    """Mounts as they are written, given to podman as its own options are."""
    run = ("run", "--rm", "--network=none", "--user=0", "--entrypoint=/bin/bash")
    volumes = [f"--volume={source}:{target}" for source, target in evil.items() if target not in ("/d", "/e", "/g")]
    seen = [*shown, f"/i{Path(__file__)}", f"/c/{os.getpid()}/cmdline", "/b/user"]
    script = "import socket; socket.socket(socket.AF_UNIX).connect('/a'); print('answered')"
    looks = "; ".join(f"test -e {path} && echo {path}" for path in seen)
    found = podman(*run, *volumes, image, "-c", f'python3 -c "{script}"; {looks}')
    assert found.splitlines() == ["answered", *seen]
    # What follows a colon is podman's to read.
    option = f"--volume={shown['/f/sockets']}:/etc/secret:rw"
    assert podman(*run, option, image, "-c", "ls /etc/secret") == "podman.sock"


@pytest.mark.abuse("A2")
async def test_operators_mount_no_way_out(workspace: Workspace, sandbox_image: str, tmp_path: Path) -> None:
    (workspace.home / "key").write_text("key")
    (tmp_path / "sockets").mkdir()
    podman_socket = tmp_path / "sockets" / "podman.sock"
    evil = {
        str(podman_socket): "/a", "/run": "/b", "/proc": "/c", "/proc/1/root": "/d", f"{tmp_path}:/etc:rw": "/e",
        f"{tmp_path}/sockets/..": "/f", "relative": "/g", "/dev": "/h", "/": "/i", str(workspace.home): "/j",
    }  # fmt: skip
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(podman_socket))
        engine.listen()
        naive_mounts(sandbox_image, evil, {"/f/sockets": tmp_path / "sockets", "/j/key": workspace.home / "key"})
    (good := tmp_path / "good").mkdir()
    (good / "file").write_text("good")
    mounts = [MountConfig(source=source, target=target) for source, target in evil.items()]
    mounts += [
        MountConfig(source=str(good), target=target)
        for target in ("/x:/etc", "/loopat/lib", "/proc/x", "/a/../etc", "rel")
    ]
    config = Config(
        image=ImageConfig(use=sandbox_image),
        network="none",
        mounts=(*mounts, MountConfig(source=str(good), target="/good")),
    )
    manager = LoopManager(workspace, config, Podman("podman", os.environ), member="ada")
    record = manager.create(title="A loop")
    running = await manager.start(record)
    (facts,) = msgspec.json.decode((await manager.engine.run("inspect", running.name)).stdout)
    ours = {mount["Destination"]: mount["Source"] for mount in facts["Mounts"]}
    assert ours["/good"] == str(good)
    assert not {*evil, str(tmp_path)} & {*ours.values()}
    assert not {*evil.values(), "/x", "/etc", "/proc/x"} & {*ours}
    warnings = (await manager.get(record.id)).warnings
    assert len(warnings) == len(mounts)
    assert all(warning.startswith("A mount of config.toml is left out: the ") for warning in warnings)


PLANTED = """
rm -rf .git; git init -q . ; printf '* filter=evil diff=evil\n' >.gitattributes; echo x >x.txt
for name in pre-commit post-checkout pre-push post-index-change reference-transaction; do
  printf '#!/bin/sh\ntouch %s\n' "$PROOF" >.git/hooks/$name; chmod +x .git/hooks/$name
done
cat >>.git/config <<END
[core]
  fsmonitor = touch $PROOF
  sshCommand = touch $PROOF
  pager = touch $PROOF
  editor = touch $PROOF
[filter "evil"]
  clean = touch $PROOF; cat
  smudge = touch $PROOF; cat
[diff "evil"]
  command = touch $PROOF
[credential]
  helper = !touch $PROOF
END
"""


@pytest.fixture
def manager(manager: LoopManager) -> LoopManager:
    """Loops without contexts, of which nothing is claimed here."""
    config = msgspec.structs.replace(manager.config, context=ContextConfig(use=False))
    return LoopManager(manager.workspace, config, manager.engine, member="ada")


@pytest.mark.abuse("A5")
async def test_what_git_would_run_in_a_workdir_never_runs_on_the_host(
    manager: LoopManager, remote: Remote, tmp_path: Path
) -> None:
    record = await manager.make(NewLoop(title="a", repo=remote.url))
    workdir = manager.workspace.workdir(record.id)
    # Inside, there is no such folder: only on the host could this proof be made.
    proof = tmp_path / "proof"
    spec = ExecSpec(argv=("bash", "-ec", PLANTED), env={"PROOF": str(proof)})
    events = [event async for event in manager.exec(record, spec)]
    assert events[-1] == Exit(0), events
    for kind in ("folder", "file"):
        if kind == "file":
            # A `.git` file that names another folder, with the same settings in it.
            (workdir / ".git").rename(workdir / "elsewhere")
            (workdir / ".git").write_text("gitdir: elsewhere\n")
        # Naive: somebody, or an editor, looks at the folder with git.
        subprocess.run(["git", "status"], cwd=workdir, capture_output=True, check=False)
        assert proof.exists(), kind
        proof.unlink()
        if kind == "folder":
            await manager.stop(record)
        await manager.start(record, fresh=kind == "file")
        await unsaved(manager, record)
        for attempt in (push_branch(manager, record), manager.delete(record.id)):
            with contextlib.suppress(LoopatError):
                await attempt
        # What git finds there is not everybody's, so the loop stays.
        await manager.get(record.id)
        assert not proof.exists(), kind


@pytest.mark.abuse("A8")
async def test_a_page_of_another_site_opens_no_websocket(server: Server, manager: LoopManager) -> None:
    record = manager.create(title="A loop")
    opened = await server.api("POST", f"loopat/api/loops/{record.id}/terminals", {})
    assert opened.status == 201
    add_small_kernel(manager.workspace.loop_home(record.id))
    model = {"name": "python3", "path": str(manager.workspace.workdir(record.id).relative_to(manager.workspace.home))}
    kernel = await server.api("POST", "api/kernels", model)
    assert kernel.status == 201
    login = await AsyncHTTPClient().fetch(f"{server.url}api/status?token={TOKEN}")
    cookie = SimpleCookie()
    for header in login.headers.get_list("Set-Cookie"):
        cookie.load(header)
    jar = "; ".join(f"{name}={morsel.value}" for name, morsel in cookie.items())
    own = "{0.scheme}://{0.netloc}".format(urlsplit(server.url))
    for path in (
        f"terminals/websocket/{opened.body['name']}",
        f"api/kernels/{kernel.body['id']}/channels?session_id=x",
        "api/events/subscribe",
    ):
        url = f"ws{server.url.removeprefix('http')}{path}"
        for origin in ("http://evil.example", "null", own.replace("127.0.0.1", "127.0.0.1.evil.example")):
            with pytest.raises(HTTPClientError, match="403"):
                await websocket_connect(HTTPRequest(url, headers={"Cookie": jar, "Origin": origin}))
        connection = await websocket_connect(HTTPRequest(url, headers={"Cookie": jar, "Origin": own}))
        connection.close()


@pytest.mark.abuse("A13")
async def test_a_huge_body_is_refused_and_not_kept(server: Server) -> None:
    loop = (await server.api("POST", "loopat/api/loops", {"title": "a"})).body["id"]
    before = (await server.api("GET", "loopat/api/loops")).body["loops"]
    for path in ("loops", f"loops/{loop}/exec", "vaults"):
        for size_bytes in (2**30, 2**27):
            assert await growth(server, path, size_bytes) < 64 * 2**20, (path, size_bytes)
    shown = await server.api("GET", "loopat/api/loops")
    assert [each["id"] for each in shown.body["loops"]] == [each["id"] for each in before]


async def growth(server: Server, path: str, size_bytes: int) -> int:
    """By how much the server grows, at most, while somebody sends a body that it refuses."""
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = (
        f"POST {address.path}loopat/api/{path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: token {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: {size_bytes}\r\n\r\n"
    )
    writer.write(head.encode())
    answer = asyncio.ensure_future(reader.readline())
    most = 0
    # The server may hang up as soon as it has seen enough.
    with contextlib.suppress(ConnectionError):
        for _ in range(size_bytes // 2**20):
            writer.write(b"[" * 2**20)
            await writer.drain()
            most = max(most, process.memory_info().rss - before)
    with contextlib.suppress(ConnectionError):
        assert (await asyncio.wait_for(answer, 100)).split()[1:2] in ([b"400"], [b"413"], [])
    writer.transport.abort()
    return most
