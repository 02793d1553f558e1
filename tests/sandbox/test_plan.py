from __future__ import annotations

import csv
import datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopat_jupyter.errors import ConflictError
from loopat_jupyter.models import ExecSpec, LoopConfig, LoopRecord, Mount, SandboxSpec
from loopat_jupyter.sandbox.copies import own_copy
from loopat_jupyter.sandbox.isolation import Nesting
from loopat_jupyter.sandbox.plan import (
    HOLDER,
    LAUNCHER,
    SPARE_FOLDER,
    HostFacts,
    config_hash,
    exec_argv,
    inside_path,
    mount_argument,
    mount_option,
    plan_sandbox,
    run_argv,
)
from loopat_jupyter.sandbox.seccomp import SeccompProfile
from loopat_jupyter.values import Resources
from loopat_jupyter.workspace.config import Config
from loopat_jupyter.workspace.paths import Workspace

ID = "0a1b2c3d-1111-2222-3333-444455556666"
WORKSPACE = Workspace(Path("/srv/ws"), Path("/run/user/1000/loopat"))
RUN = f"/run/user/1000/loopat/{WORKSPACE.key}/0a1b2c3d1111/run"
RECORD = LoopRecord(
    id=ID, title="T", slug="t", created_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), created_by="ada"
)
COPIES = WORKSPACE.loop(ID) / "given"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
NESTING = Nesting(SeccompProfile("seccomp-1.json", b"{}"), tun=True)
NESTED = (
    "--device=/dev/net/tun",
    "--security-opt=unmask=/proc/*",
    "--security-opt=seccomp=/srv/ws/cache/seccomp/seccomp-1.json",
)
MOUNTS = (
    Mount(source=str(BUNDLE), target="/etc/ssl/certs/ca-certificates.crt", mode="ro", file=True),
    Mount(source=f"/srv/ws/loops/{ID}/home", target="/loopat/home/loopat"),
    Mount(source=str(WORKSPACE.helpers), target="/loopat/lib", mode="ro"),
    Mount(source=f"/srv/ws/loops/{ID}/.claude", target=f"/loopat/loop/{ID}/.claude"),
    Mount(source=f"{WORKSPACE.helpers}/skill", target=f"/loopat/loop/{ID}/.claude/skills/loopat", mode="ro"),
    Mount(source=f"/srv/ws/loops/{ID}/workdir", target=f"/loopat/loop/{ID}/workdir"),
    Mount(source=RUN, target="/loopat/run"),
)


def plan(record: LoopRecord = RECORD, bundle: Path | None = BUNDLE, **config: object) -> SandboxSpec:
    return plan_sandbox(record, Config(**config), WORKSPACE, HostFacts(bundle, nesting=NESTING))


def test_the_container_of_a_loop():
    assert plan() == SandboxSpec(
        loop_id=ID,
        owner="ada",
        workspace=WORKSPACE.name,
        name=f"loopat-{WORKSPACE.name}-{ID}",
        hostname="loop-0a1b2c3d",
        mounts=MOUNTS,
        network=f"loopat-{WORKSPACE.name}",
        workdir=f"/loopat/loop/{ID}/workdir",
        home="/loopat/home/loopat",
        fence=NESTED,
    )


def test_a_loop_may_have_no_network_and_the_hosts_tmp():
    record = msgspec.structs.replace(RECORD, config=LoopConfig(network="none", shared_tmp=True))
    wanted = msgspec.structs.replace(plan(), network="none", mounts=(*MOUNTS, Mount(source="/tmp", target="/tmp")))
    assert plan(record) == wanted


def test_a_loop_sees_all_loops_only_where_it_asked_for_it_and_the_workspace_allows_it():
    record = msgspec.structs.replace(RECORD, config=LoopConfig(all_loops=True))
    mounts = tuple(sorted((*MOUNTS, Mount(source="/srv/ws/loops", target="/loopat/loops", mode="ro"))))
    assert plan(record, all_loops=True) == msgspec.structs.replace(plan(), mounts=mounts)
    assert plan(record) == plan(all_loops=True) == plan()


def test_a_loop_wins_over_its_workspace():
    record = msgspec.structs.replace(RECORD, config=LoopConfig(network="bridge", shared_tmp=False))
    assert plan(record, network="none", shared_tmp=True) == plan()
    assert plan(network="none").network == "none"


@pytest.mark.parametrize(
    ("isolation", "arguments"),
    [
        ("nested", NESTED),
        ("strict", ("--cap-drop=all", "--security-opt=no-new-privileges")),
        ("privileged", ("--privileged",)),
    ],
)
def test_each_level_of_isolation_differs_in_its_fence_alone(isolation: str, arguments: tuple[str, ...]):
    wanted = msgspec.structs.replace(plan(), fence=arguments)
    assert plan(msgspec.structs.replace(RECORD, config=LoopConfig(isolation=isolation))) == wanted
    assert plan(isolation=isolation) == wanted
    whole = run_argv(wanted, "image", pidfile=Path("/run/x"), copies=COPIES, open_files=1000)
    place = whole.index("--security-opt=label=disable") + 1
    assert whole[place : place + len(arguments) + 1] == (*arguments, "--stop-timeout=5")
    nested = run_argv(plan(), "image", pidfile=Path("/run/x"), copies=COPIES, open_files=1000)
    assert without_hash(whole[:place] + whole[place + len(arguments) :]) == without_hash(
        tuple(argument for argument in nested if argument not in NESTED)
    )


def without_hash(arguments: tuple[str, ...]) -> list[str]:
    ours = tuple(f"--mount=type=bind,source={source}" for source in (WORKSPACE.helpers, COPIES, BUNDLE))
    own = ("--label=loopat.config-hash=", "--volume=", *ours)
    return [argument for argument in arguments if not argument.startswith(own)]


def test_the_level_of_a_loop_wins_over_its_workspace():
    record = msgspec.structs.replace(RECORD, config=LoopConfig(isolation="nested"))
    assert plan(record, isolation="privileged") == plan()


def test_a_strict_loop_gets_no_devices():
    resources = Resources(devices=("nvidia.com/gpu=all",), shm_size_bytes=2**20)
    assert plan(resources=resources).resources == resources
    assert plan(resources=resources, isolation="strict").resources == Resources(shm_size_bytes=2**20)


def test_without_a_bundle_none_is_mounted():
    assert plan(bundle=None).mounts == MOUNTS[1:]


def test_the_whole_command_that_makes_a_container():
    spec = plan()
    assert run_argv(
        spec, "localhost/image:latest", pidfile=Path("/run/x/sandbox.pid"), copies=COPIES, open_files=1000
    ) == (
        "run",
        "--detach",
        "--pull=never",
        "--pidfile=/run/x/sandbox.pid",
        f"--name=loopat-{WORKSPACE.name}-{ID}",
        "--hostname=loop-0a1b2c3d",
        f"--label=loopat.loop-id={ID}",
        f"--label=loopat.workspace={WORKSPACE.name}",
        f"--label=loopat.config-hash={config_hash(spec)}",
        "--label=loopat.reference=localhost/image:latest",
        "--userns=keep-id:uid=2000,gid=2000",
        "--user=2000:2000",
        "--init",
        "--http-proxy=false",
        f"--network=loopat-{WORKSPACE.name}",
        "--security-opt=label=disable",
        *NESTED,
        "--stop-timeout=5",
        "--log-driver=none",
        "--ulimit=nofile=1000:1000",
        f"--workdir=/loopat/loop/{ID}/workdir",
        "--env=HOME=/loopat/home/loopat",
        f"--mount=type=bind,source={BUNDLE},target=/etc/ssl/certs/ca-certificates.crt,ro=true",
        f"--mount=type=bind,source=/srv/ws/loops/{ID}/home,target=/loopat/home/loopat",
        "--mount=type=bind,source=/srv/ws/cache/inside,target=/loopat/lib,ro=true",
        f"--mount=type=bind,source=/srv/ws/loops/{ID}/.claude,target=/loopat/loop/{ID}/.claude",
        f"--mount=type=bind,source=/srv/ws/cache/inside/skill,target=/loopat/loop/{ID}/.claude/skills/loopat,ro=true",
        f"--mount=type=bind,source=/srv/ws/loops/{ID}/workdir,target=/loopat/loop/{ID}/workdir",
        f"--mount=type=bind,source={RUN},target=/loopat/run",
        "--entrypoint=/loopat/lib/sandbox",
        "localhost/image:latest",
    )


@given(st.text(min_size=1).filter(lambda text: "\0" not in text), st.sampled_from(["ro", "rw"]))
def test_no_path_can_smuggle_a_mount_option(path: str, mode: str):
    option = mount_option(Mount(source=f"/srv/{path}", target="/x", mode=mode))
    fields = next(csv.reader([option], strict=True)) if "\n" not in path and "\r" not in path else None
    if fields is not None:
        wanted = ["type=bind", f"source=/srv/{path}", "target=/x"]
        assert fields == ([*wanted, "ro=true"] if mode == "ro" else wanted)


def test_what_a_privileged_loop_could_make_writable_is_a_copy():
    argv = run_argv(plan(isolation="privileged"), "image", pidfile=Path("/p"), copies=COPIES, open_files=1000)
    assert [each for each in argv if each.startswith("--volume=")] == [
        f"--volume={WORKSPACE.helpers}:/loopat/lib:O",
        f"--volume={WORKSPACE.helpers}/skill:/loopat/loop/{ID}/.claude/skills/loopat:O",
    ]
    copy = own_copy(COPIES, str(BUNDLE))
    assert copy.parent == COPIES
    assert f"--mount=type=bind,source={copy},target=/etc/ssl/certs/ca-certificates.crt,ro=true" in argv
    assert not [
        each
        for each in run_argv(plan(), "image", pidfile=Path("/p"), copies=COPIES, open_files=1000)
        if each.startswith("--volume=")
    ]


@pytest.mark.parametrize("path", ["a:b", "a,b", 'a"b', "a\\b"])
def test_no_path_can_smuggle_an_option_of_a_copy(path: str):
    mount = Mount(source=f"/srv/{path}", target="/x", mode="ro")
    with pytest.raises(ConflictError, match="Rename the folder"):
        mount_argument(mount, COPIES)
    assert mount_argument(mount, None) == f"--mount={mount_option(mount)}"


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (ExecSpec(argv=("ls", "-l")), ("exec", "box", LAUNCHER, "x1", "", "ls", "-l")),
        (
            ExecSpec(argv=("bash",), cwd="/a b", tty=True, interactive=True, env={"TOKEN": "canary"}),
            (
                "exec",
                "--interactive",
                "--tty",
                "--detach-keys=",
                "box",
                LAUNCHER,
                "x1",
                "/a b",
                "bash",
            ),
        ),
        (
            ExecSpec(argv=("python3", "-m", "k"), detach=True),
            ("exec", "--detach", "box", LAUNCHER, "x1", "", "python3", "-m", "k"),
        ),
        (
            ExecSpec(argv=("python3",), cwd=SPARE_FOLDER, detach=True),
            ("exec", "--detach", f"--workdir={SPARE_FOLDER}", "box", LAUNCHER, "x1", SPARE_FOLDER, "python3"),
        ),
    ],
)
def test_the_whole_command_that_runs_something_inside(spec: ExecSpec, wanted: tuple[str, ...]):
    assert exec_argv("box", spec, "x1") == wanted


def test_paths_of_the_workdir_as_seen_inside():
    assert inside_path(ID, Path("a/b.ipynb")) == f"/loopat/loop/{ID}/workdir/a/b.ipynb"
    assert inside_path(ID, Path()) == f"/loopat/loop/{ID}/workdir"


@pytest.mark.parametrize(
    "changed",
    [
        {"owner": "bob"},
        {"network": "none"},
        {"mounts": MOUNTS[1:]},
        {"mounts": (msgspec.structs.replace(MOUNTS[0], mode="rw"), *MOUNTS[1:])},
        {"home": "/elsewhere"},
        {"fence": ()},
    ],
)
def test_whatever_shapes_the_container_changes_its_hash(changed: dict[str, object]):
    assert config_hash(msgspec.structs.replace(plan(), **changed)) != config_hash(plan())


def test_what_does_not_shape_the_container_leaves_the_hash_alone():
    renamed = msgspec.structs.replace(RECORD, title="New", slug="new", metadata={"a": 1})
    assert config_hash(plan(renamed)) == config_hash(plan())
    # Its files for the home are mounts; its variables are given to each process.
    assert config_hash(plan(msgspec.structs.replace(RECORD, vault="other"))) == config_hash(plan())
    assert config_hash(plan(idle_timeout_s=1, shell="fish")) == config_hash(plan())


def test_a_terminal_without_a_client_is_held_inside():
    spec = ExecSpec(argv=("bash", "-l"), cwd="/a", tty=True, interactive=True, detach=True, size=(24, 80))
    assert exec_argv("box", spec, "t1") == ("exec", "--detach", "box", *HOLDER, "t1", "/a", "bash", "-l")
