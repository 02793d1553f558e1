from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.models import Check
from loopat_jupyter.sandbox.engine_facts import EngineFacts, read_info
from loopat_jupyter.sandbox.machine import (
    MachineFacts,
    collect_facts,
    device,
    granted_ids,
    id_helper,
    is_fedora,
    is_of_user,
    noexec_mount,
    runtime_problem,
)
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.sandbox.preflight import check_health, judge
from loopat_jupyter.workspace.config import Config

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace

MIB, GIB = 1024**2, 1024**3
ENGINE = EngineFacts(
    cgroup_version="v2",
    cgroup_controllers=("cpu", "memory", "pids"),
    storage_driver="overlay",
    native_overlay=True,
    storage_path="/storage",
    network_backend="netavark",
    mapped_ids=65537,
    has_images=True,
)
GOOD = MachineFacts(
    user="ada",
    uid=1000,
    fedora=False,
    systemd=True,
    engine_state="works",
    engine_problem="",
    version="4.3.1",
    engine=ENGINE,
    subordinate_uids=65536,
    subordinate_gids=65536,
    newuidmap="usable",
    newgidmap="usable",
    programs=frozenset({"slirp4netns", "netavark", "aardvark-dns"}),
    fuse="usable",
    tun="usable",
    lingering=True,
    own_session=True,
    workspace_path="/home/ada/.loopat",
    workspace_free_bytes=10 * GIB,
    noexec_mount="",
    storage_free_bytes=10 * GIB,
    runtime_path="/run/user/1000/loopat",
    runtime_problem="",
    other_runtime_path="",
    socket_paths_fit=True,
)
NO_ENGINE = {"engine": None, "storage_free_bytes": None}
APT = "sudo apt install podman crun uidmap slirp4netns netavark aardvark-dns catatonit dbus-user-session"
DNF = "sudo dnf install podman crun shadow-utils slirp4netns netavark aardvark-dns catatonit"
IDS = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ada && podman system migrate"


def bad(name: str, detail: str, fix: str) -> Check:
    return Check(name=name, ok=False, detail=detail, fix=fix)


def warn(name: str, detail: str, fix: str) -> Check:
    return Check(name=name, ok=False, detail=detail, fix=fix, required=False)


def engine(**changes: object) -> dict[str, object]:
    return {"engine": msgspec.structs.replace(ENGINE, **changes)}


def test_a_good_machine_passes_everything():
    health = judge(GOOD, Config())
    assert health.ok
    assert [(check.name, check.ok, check.fix) for check in health.checks] == [
        (name, True, "")
        for name in (
            "podman",
            "ordinary user",
            "subordinate ids",
            "newuidmap",
            "cgroups",
            "storage driver",
            "image space",
            "network",
            "/dev/net/tun",
            "/dev/fuse",
            "lingering",
            "free space",
            "noexec",
            "runtime directory",
            "socket paths",
        )
    ]


BAD_MACHINES: dict[str, tuple[dict[str, object], Check]] = {
    "no podman": ({"engine_state": "absent", **NO_ENGINE}, bad("podman", "there is no command podman", APT)),
    "no podman on Fedora": (
        {"engine_state": "absent", "fedora": True, **NO_ENGINE},
        bad("podman", "there is no command podman", DNF),
    ),
    "podman without execute permission": (
        {"engine_state": "not-executable", **NO_ENGINE},
        bad("podman", "podman may not be executed", 'sudo chmod 755 "$(type -p podman)"'),
    ),
    "podman hangs": (
        {"engine_state": "hangs", **NO_ENGINE},
        bad("podman", "it does not answer", "ps -C podman -o pid,etime,args  # end the stuck one: kill PID"),
    ),
    "old podman": (
        {"version": "4.0.0"},
        bad(
            "podman",
            "version 4.0.0 is older than 4.3",
            "sudo apt install podman  # from a release that has 4.3 or newer",
        ),
    ),
    "podman fails": (
        {"engine_state": "fails", "engine_problem": "no way", **NO_ENGINE},
        bad("podman", "it fails: no way", "podman info  # after the checks below pass"),
    ),
    "root": (
        {"uid": 0},
        bad(
            "ordinary user",
            "root cannot run rootless containers",
            "sudo useradd --create-home loopat  # and work as that user",
        ),
    ),
    "no lingering below a service of the machine": (
        {"lingering": False, "own_session": False},
        bad(
            "lingering",
            "/run/user/1000 goes when the last login ends, and podman forgets every loop that runs",
            "sudo loginctl enable-linger ada",
        ),
    ),
    "a home without programs": (
        {"noexec_mount": "/my home", "workspace_path": "/my home/ws"},
        bad(
            "noexec",
            "/my home is mounted with noexec, so no program runs from /my home/ws, as the main one of a sandbox has to",
            "sudo mount -o remount,exec '/my home'  # or set LOOPAT_HOME to a folder elsewhere",
        ),
    ),
    "no subordinate ids": (
        {"subordinate_uids": 0, "subordinate_gids": 0, **engine(mapped_ids=1)},
        bad("subordinate ids", "ada has 0 user ids and 0 group ids to give to containers, 65536 are needed", IDS),
    ),
    "group ids alone are missing": (
        {"subordinate_gids": 0, **NO_ENGINE},
        bad("subordinate ids", "ada has 65536 user ids and 0 group ids to give to containers, 65536 are needed", IDS),
    ),
    "newuidmap hidden": (
        {"newuidmap": "absent", **NO_ENGINE},
        bad("newuidmap", "there is no newuidmap", "sudo apt install uidmap"),
    ),
    "both helpers hidden on Fedora": (
        {"newuidmap": "absent", "newgidmap": "absent", "fedora": True},
        bad("newuidmap", "there is no newuidmap and no newgidmap", "sudo dnf install shadow-utils"),
    ),
    "newgidmap lost its privilege": (
        {"newgidmap": "unprivileged"},
        bad(
            "newuidmap",
            "neither setuid nor file capabilities on /usr/bin/newgidmap",
            "sudo chmod u+s /usr/bin/newgidmap",
        ),
    ),
    "no network helper": (
        {"programs": frozenset({"netavark", "aardvark-dns"})},
        bad("network", "there is neither slirp4netns nor pasta", "sudo apt install slirp4netns"),
    ),
    "no netavark": (
        {"programs": frozenset({"pasta"})},
        bad("network", "there is no aardvark-dns and no netavark", "sudo apt install aardvark-dns netavark"),
    ),
    "no tun": ({"tun": "absent"}, bad("/dev/net/tun", "there is no such device", "sudo modprobe tun")),
    "closed tun": ({"tun": "closed"}, bad("/dev/net/tun", "ada may not open it", "sudo chmod 666 /dev/net/tun")),
    "fuse needed and closed": (
        {"fuse": "closed", **engine(native_overlay=False)},
        bad("/dev/fuse", "ada may not open it", "sudo chmod 666 /dev/fuse"),
    ),
    "workspace full": (
        {"workspace_free_bytes": 32 * MIB - 1},
        bad(
            "free space",
            "31 MiB left for /home/ada/.loopat, 32 MiB are needed",
            "du -xsh /home/ada/.loopat/loops/* | sort -h  # archive or remove what is not needed",
        ),
    ),
    "storage full": (
        {"storage_free_bytes": 0},
        bad("image space", "0 MiB left for images in /storage, 64 MiB are needed", "jupyter loopat gc"),
    ),
    "no room for a first image": (
        {"storage_free_bytes": GIB - 1, **engine(has_images=False)},
        bad("image space", "1023 MiB left for images in /storage, 1.0 GiB are needed", "jupyter loopat gc"),
    ),
    "runtime directory of somebody else": (
        {"runtime_problem": "it belongs to somebody else"},
        bad(
            "runtime directory",
            "/run/user/1000/loopat: it belongs to somebody else",
            "sudo rm -r /run/user/1000/loopat",
        ),
    ),
    "runtime directory cannot be made": (
        {"runtime_problem": "it cannot be made in /run/user"},
        bad(
            "runtime directory",
            "/run/user/1000/loopat: it cannot be made in /run/user",
            "sudo install -d -m 0700 -o ada /run/user/1000",
        ),
    ),
    "socket paths": (
        {"socket_paths_fit": False},
        bad(
            "socket paths",
            "sockets below /run/user/1000/loopat would have names that are too long",
            "sudo install -d -m 0700 -o ada /run/user/1000  # a short runtime directory",
        ),
    ),
}


@pytest.mark.fault("F12")
@pytest.mark.parametrize("machine", BAD_MACHINES)
def test_a_bad_machine_fails_exactly_one_check_with_its_fix(machine: str):
    changes, failed = BAD_MACHINES[machine]
    health = judge(msgspec.structs.replace(GOOD, **changes), Config())
    assert [check for check in health.checks if not check.ok] == [failed]
    assert not health.ok


DELEGATE = (
    "sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | "
    "sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload  # then log in again"
)
OVERLAY = (
    "mkdir -p ~/.config/containers && printf '[storage]\\ndriver = \"overlay\"\\n' > "
    "~/.config/containers/storage.conf && podman system reset  # removes all images and containers"
)
POOR_MACHINES: dict[str, tuple[dict[str, object], Check]] = {
    "cgroups v1 without a boot loader of its own": (
        engine(cgroup_version="v1"),
        warn(
            "cgroups",
            "version 1: limits on memory, processors and processes are not enforced",
            "put systemd.unified_cgroup_hierarchy=1 on the kernel's command line, where this machine is booted",
        ),
    ),
    "cgroups v1 on Fedora": (
        {"fedora": True, "programs": GOOD.programs | {"sudo", "grubby"}, **engine(cgroup_version="v1")},
        warn(
            "cgroups",
            "version 1: limits on memory, processors and processes are not enforced",
            "sudo grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1 && sudo reboot",
        ),
    ),
    "no delegation": (
        engine(cgroup_controllers=("memory",)),
        warn("cgroups", "version 2, but limits on processors and processes are not enforced", DELEGATE),
    ),
    "vfs": (
        engine(storage_driver="vfs"),
        warn("storage driver", "vfs copies every file of an image for each container: slow and large", OVERLAY),
    ),
    "no lingering": (
        {"lingering": False},
        warn(
            "lingering",
            "the service manager ends all loops when the last login ends",
            "sudo loginctl enable-linger ada",
        ),
    ),
    "little room for files": (
        {"workspace_free_bytes": 32 * MIB},
        warn(
            "free space",
            "32 MiB left for /home/ada/.loopat, less than 1.0 GiB",
            "du -xsh /home/ada/.loopat/loops/* | sort -h  # archive or remove what is not needed",
        ),
    ),
    "room for containers alone": (
        {"storage_free_bytes": 64 * MIB},
        warn("image space", "64 MiB left for images in /storage, a build may need 5.0 GiB", "jupyter loopat gc"),
    ),
    "two runtime directories": (
        {"other_runtime_path": "/tmp/loopat-1000"},
        warn(
            "runtime directory",
            "/run/user/1000/loopat, and beside it /tmp/loopat-1000: who uses that one shares neither locks nor kernels "
            "with the rest",
            "rm -r /tmp/loopat-1000  # once the servers that use it have ended",
        ),
    ),
    "little room for images": (
        {"storage_free_bytes": 2 * GIB},
        warn("image space", "2.0 GiB left for images in /storage, a build may need 5.0 GiB", "jupyter loopat gc"),
    ),
}


@pytest.mark.parametrize("machine", POOR_MACHINES)
def test_a_poor_machine_is_warned_and_works(machine: str):
    changes, warning = POOR_MACHINES[machine]
    health = judge(msgspec.structs.replace(GOOD, **changes), Config())
    assert [check for check in health.checks if not check.ok] == [warning]
    assert health.ok


def test_without_a_network_its_helpers_are_not_required():
    poor = msgspec.structs.replace(GOOD, programs=frozenset(), tun="absent")
    assert not judge(poor, Config()).ok
    assert judge(poor, Config(network="none")).ok


def test_ids_of_a_directory_service_count():
    assert judge(msgspec.structs.replace(GOOD, subordinate_uids=0, subordinate_gids=0), Config()).ok


def test_lingering_is_not_asked_where_no_service_manager_runs():
    bare = msgspec.structs.replace(GOOD, systemd=False, lingering=False)
    assert "lingering" not in [check.name for check in judge(bare, Config()).checks]


def test_fuse_is_not_needed_by_native_overlay_or_other_drivers():
    assert judge(msgspec.structs.replace(GOOD, fuse="absent"), Config()).ok
    assert judge(msgspec.structs.replace(GOOD, fuse="absent", **engine(storage_driver="btrfs")), Config()).ok


@pytest.mark.parametrize(
    ("version", "ok"),
    [("4.2.9", False), ("4.3.0", True), ("4.10.0", True), ("5.0.0-rc1", True), ("3.4.4", False), ("", True)],
)
def test_versions_compare_as_numbers(version: str, ok: bool):
    assert judge(msgspec.structs.replace(GOOD, version=version), Config()).ok is ok


def test_every_failure_names_a_fix():
    for changes, _ in [*BAD_MACHINES.values(), *POOR_MACHINES.values()]:
        checks = judge(msgspec.structs.replace(GOOD, **changes), Config()).checks
        assert all(check.ok or check.fix for check in checks)


def test_every_check_stands_in_the_troubleshooting_page():
    page = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()
    for check in judge(GOOD, Config()).checks:
        assert f"## {check.name}\n" in page, check.name


def test_a_file_system_from_which_no_program_runs_is_known(tmp_path: Path):
    (tmp_path / "home").mkdir()
    script = 'mount -t tmpfs -o noexec tmpfs "$1" && exec "$2" -c "$3" "$1"'
    ask = (
        "import pathlib, sys; from loopat_jupyter.sandbox.machine import noexec_mount; "
        "print(noexec_mount(pathlib.Path(sys.argv[1], 'a', 'b')))"
    )
    command = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh")
    told = subprocess.check_output([*command, str(tmp_path / "home"), sys.executable, ask], text=True, timeout=60)
    assert told == f"{tmp_path / 'home'}\n"
    assert noexec_mount(tmp_path / "home" / "a") == ""


@pytest.mark.parametrize(
    ("cgroups", "own"),
    [
        ("0::/user.slice/user-1000.slice/session-3.scope\n", True),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/jupyter.service\n", True),
        ("9:pids:/\n1:name=systemd:/user.slice/user-1000.slice/session-3.scope\n0::/\n", True),
        ("0::/user.slice/user-1000.slice\n", True),
        ("0::/user.slice/user-10001.slice/session-3.scope\n", False),
        ("0::/system.slice/jupyterhub.service\n", False),
        ("0::/\n", False),
        ("", False),
    ],
)
def test_a_session_of_the_user_is_told_from_a_service_of_the_machine(cgroups: str, own: bool):
    assert is_of_user(cgroups, 1000) is own


def test_subordinate_ids_add_up_by_name_or_number():
    text = "ada:100000:65536\n# ada:1:1\nbob:1:7\n1000:300000:10\nada:broken\nada:1:x\n"
    assert granted_ids(text, "ada", 1000) == 65546
    assert granted_ids("", "ada", 1000) == 0


def test_distributions_are_told_apart():
    assert is_fedora("NAME=x\nID=fedora\n")
    assert is_fedora('ID="rocky"\nID_LIKE="rhel centos fedora"\n')
    assert not is_fedora("ID=debian\nHOME_URL=https://fedora\n")
    assert not is_fedora("")


def test_id_helpers_need_a_privilege(tmp_path: Path):
    helper = tmp_path / "newuidmap"
    assert id_helper("newuidmap", str(tmp_path)) == "absent"
    helper.write_text("#!/bin/sh\n")
    assert id_helper("newuidmap", str(tmp_path)) == "absent"
    helper.chmod(0o755)
    assert id_helper("newuidmap", str(tmp_path)) == "unprivileged"
    helper.chmod(0o4755)
    assert id_helper("newuidmap", str(tmp_path)) == "usable"


def test_devices_are_opened_for_reading_and_writing(tmp_path: Path):
    assert device("/dev/null") == "usable"
    assert device(str(tmp_path / "none")) == "absent"
    closed = tmp_path / "closed"
    closed.touch(mode=0o000)
    assert device(str(closed)) == "closed"


def test_runtime_directories(tmp_path: Path):
    uid = os.getuid()
    folder = tmp_path / "run"
    assert runtime_problem(folder / "deeper", uid) == ""
    folder.mkdir(mode=0o700)
    assert runtime_problem(folder, uid) == ""
    assert runtime_problem(folder, uid + 1) == "it belongs to somebody else"
    folder.chmod(0o755)
    assert runtime_problem(folder, uid) == "it is open to others"
    (tmp_path / "link").symlink_to(folder)
    assert runtime_problem(tmp_path / "link", uid) == "it is no directory"
    tmp_path.chmod(0o500)
    assert runtime_problem(tmp_path / "new", uid) == f"it cannot be made in {tmp_path}"
    tmp_path.chmod(0o700)


def fake_podman(tmp_path: Path, body: str, mode: int = 0o755) -> Podman:
    path = tmp_path / "podman"
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(mode)
    return Podman(str(path), os.environ)


async def podman_check(engine: Podman, workspace: Workspace) -> Check:
    health = await check_health(engine, workspace, Config(podman_bin=engine.argv()[0]))
    assert not health.ok
    return health.checks[0]


@pytest.mark.fault("F7")
async def test_a_podman_that_is_too_old(tmp_path: Path, workspace: Workspace):
    found = await podman_check(fake_podman(tmp_path, "echo podman version 4.0.0"), workspace)
    assert (found.detail, found.ok) == ("version 4.0.0 is older than 4.3", False)


@pytest.mark.fault("F7")
async def test_a_podman_that_may_not_be_executed(tmp_path: Path, workspace: Workspace):
    found = await podman_check(fake_podman(tmp_path, "true", mode=0o644), workspace)
    assert found == bad("podman", f"{tmp_path}/podman may not be executed", f"sudo chmod 755 {tmp_path}/podman")


@pytest.mark.fault("F7")
async def test_a_podman_that_is_not_there(tmp_path: Path, workspace: Workspace):
    found = await podman_check(Podman(str(tmp_path / "podman"), os.environ), workspace)
    assert found.detail == f"there is no command {tmp_path}/podman"
    assert found.fix.endswith("# or fix podman_bin of config.toml, or unset LOOPAT_PODMAN_BIN")


@pytest.mark.fault("F8")
async def test_a_podman_that_sleeps_forever(tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("loopat_jupyter.sandbox.machine._DEADLINE_S", 0.5)
    found = await podman_check(fake_podman(tmp_path, "exec sleep 600"), workspace)
    assert found.detail == "it does not answer"


@pytest.mark.parametrize("info", ["[]", "{}", '{"host": {}, "store": []}', "nonsense"])
async def test_a_podman_that_answers_nonsense(tmp_path: Path, workspace: Workspace, info: str):
    body = f"case $1 in version) echo 4.9.0;; *) echo '{info}';; esac"
    found = await podman_check(fake_podman(tmp_path, body), workspace)
    assert found.detail == "it fails: it answers in a form that is not known"


async def test_a_podman_whose_info_fails_says_why(tmp_path: Path, workspace: Workspace):
    body = "case $1 in version) echo 4.9.0;; *) echo 'Error: cannot find newuidmap' >&2; exit 125;; esac"
    found = await podman_check(fake_podman(tmp_path, body), workspace)
    assert found.detail == "it fails: Error: cannot find newuidmap"


@pytest.mark.podman
@pytest.mark.lonely
async def test_this_machine_passes(workspace: Workspace):
    podman = Podman("podman", os.environ)
    health = await check_health(podman, workspace, Config())
    assert [check for check in health.checks if check.required and not check.ok] == []
    # What podman said of itself is noted, and so it is.
    facts = await collect_facts(podman, workspace, noted=True)
    assert facts.engine is not None
    assert facts.engine == read_info((await podman.run("info", "--format=json")).stdout)
    assert facts.engine.mapped_ids > 65536
