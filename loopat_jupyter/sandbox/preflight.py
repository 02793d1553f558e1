"""What the machine must offer, each failure with the command that fixes it. Judging is pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from loopat_jupyter.models import Check, Health
from loopat_jupyter.sandbox.failures import no_program_runs
from loopat_jupyter.sandbox.machine import collect_facts
from loopat_jupyter.sandbox.resources import LIMITS
from loopat_jupyter.sandbox.versions import OLDEST_PODMAN, too_old
from loopat_jupyter.wording import listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.sandbox.engine_facts import EngineFacts
    from loopat_jupyter.sandbox.machine import DeviceState, MachineFacts
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.paths import Workspace

NEEDED_IDS = 65536
"""What distributions give out; images hold owners up to 65534 (nobody)."""

LEAST_WORKSPACE_BYTES = 32 * 1024**2
"""A loop with its contexts, and records that are written whole."""
LITTLE_WORKSPACE_BYTES = 1024**3

LEAST_STORAGE_BYTES = 64 * 1024**2
"""A container of an image that is there, and what is installed in it."""
LEAST_IMAGE_BYTES = 1024**3
"""Any image at all, where there is none yet."""
BUILD_BYTES = 5 * 1024**3
"""The image, its copy with shifted owners and the steps of its build."""


async def check_health(engine: Engine, workspace: Workspace, config: Config, *, noted: bool = False) -> Health:
    """Check the machine. A missing, old or hanging podman is a failed check, never an error.

    Args:
        engine: Runs podman.
        workspace: The workspace that is to work here.
        config: Its settings.
        noted: What podman said of itself before will do, as long as nothing that is needed is missing.
    """
    health = judge(await collect_facts(engine, workspace, noted=noted), config)
    if noted and not health.ok:
        return await check_health(engine, workspace, config)
    return health


def judge(facts: MachineFacts, config: Config) -> Health:
    """Judge a machine.

    What only podman knows is not judged while podman does not work.

    Args:
        facts: The machine.
        config: The workspace's settings.
    """
    checks = (
        _podman(facts, config.podman_bin),
        _user(facts),
        _subordinate_ids(facts),
        _id_helpers(facts),
        *(_engine_checks(facts, facts.engine) if facts.engine else ()),
        _network(facts, needed=config.network == "bridge"),
        _tun(facts, needed=config.network == "bridge"),
        _fuse(facts),
        *((_lingering(facts),) if facts.systemd else ()),
        _workspace_space(facts),
        _noexec(facts),
        _runtime(facts),
        _sockets(facts),
    )
    return Health(ok=all(check.ok or not check.required for check in checks), checks=checks)


def _install(facts: MachineFacts, debian: str, fedora: str) -> str:
    return f"sudo dnf install {fedora}" if facts.fedora else f"sudo apt install {debian}"


def _podman(facts: MachineFacts, binary: str) -> Check:
    packages = (
        "podman crun uidmap slirp4netns netavark aardvark-dns catatonit dbus-user-session",
        "podman crun shadow-utils slirp4netns netavark aardvark-dns catatonit",
    )
    match facts.engine_state:
        case "absent":
            elsewhere = "" if binary == "podman" else "  # or fix podman_bin of config.toml, or unset LOOPAT_PODMAN_BIN"
            return _bad("podman", f"there is no command {binary}", _install(facts, *packages) + elsewhere)
        case "not-executable":
            command = f"sudo chmod 755 {binary}" if "/" in binary else f'sudo chmod 755 "$(type -p {binary})"'
            return _bad("podman", f"{binary} may not be executed", command)
        case "hangs":
            return _bad("podman", "it does not answer", "ps -C podman -o pid,etime,args  # end the stuck one: kill PID")
    if problem := too_old(facts.version):
        oldest = ".".join(map(str, OLDEST_PODMAN))
        fix = _install(facts, "podman", "podman") + f"  # from a release that has {oldest} or newer"
        return _bad("podman", problem, fix)
    if facts.engine_state == "fails":
        return _bad("podman", f"it fails: {facts.engine_problem}", "podman info  # after the checks below pass")
    return _good("podman", f"version {facts.version or 'not known'}")


def _user(facts: MachineFacts) -> Check:
    if facts.uid == 0:
        fix = "sudo useradd --create-home loopat  # and work as that user"
        return _bad("ordinary user", "root cannot run rootless containers", fix)
    return _good("ordinary user", facts.user)


def _subordinate_ids(facts: MachineFacts) -> Check:
    # A directory service may grant ids that stand in no file: what podman maps counts as well.
    mapped = facts.engine.mapped_ids - 1 if facts.engine else 0
    uids, gids = max(facts.subordinate_uids, mapped), max(facts.subordinate_gids, mapped)
    if min(uids, gids) >= NEEDED_IDS:
        return _good("subordinate ids", f"{min(uids, gids)} ids")
    return _bad(
        "subordinate ids",
        f"{facts.user} has {uids} user ids and {gids} group ids to give to containers, {NEEDED_IDS} are needed",
        f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {facts.user} && podman system migrate",
    )


def _id_helpers(facts: MachineFacts) -> Check:
    states = {"newuidmap": facts.newuidmap, "newgidmap": facts.newgidmap}
    absent = [name for name, state in states.items() if state == "absent"]
    if absent:
        fix = _install(facts, "uidmap", "shadow-utils")
        return _bad("newuidmap", f"there is no {' and no '.join(absent)}", fix)
    powerless = [name for name, state in states.items() if state == "unprivileged"]
    if powerless:
        paths = " ".join(f"/usr/bin/{name}" for name in powerless)
        return _bad("newuidmap", f"neither setuid nor file capabilities on {paths}", f"sudo chmod u+s {paths}")
    return _good("newuidmap", "newuidmap and newgidmap work")


def _engine_checks(facts: MachineFacts, engine: EngineFacts) -> Iterator[Check]:
    yield _cgroups(facts, engine)
    yield _storage(engine)
    yield _storage_space(facts, engine)


def _cgroups(facts: MachineFacts, engine: EngineFacts) -> Check:
    if engine.cgroup_version != "v2":
        if facts.programs >= {"sudo", "grubby"}:
            boot = "sudo grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1 && sudo reboot"
        elif facts.programs >= {"sudo", "update-grub"}:
            boot = (
                "sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&systemd.unified_cgroup_hierarchy=1 /' /etc/default/grub "
                "&& sudo update-grub && sudo reboot"
            )
        else:
            boot = "put systemd.unified_cgroup_hierarchy=1 on the kernel's command line, where this machine is booted"
        return _warn("cgroups", "version 1: limits on memory, processors and processes are not enforced", boot)
    missing = [words for name, words in LIMITS.items() if name not in engine.cgroup_controllers]
    if missing:
        fix = (
            "sudo mkdir -p /etc/systemd/system/user@.service.d && "
            "printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | "
            "sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload"
            "  # then log in again"
        )
        return _warn("cgroups", f"version 2, but limits on {listing(missing)} are not enforced", fix)
    return _good("cgroups", "version 2, limits are enforced", required=False)


def _storage(engine: EngineFacts) -> Check:
    if engine.storage_driver != "vfs":
        return _good("storage driver", engine.storage_driver, required=False)
    fix = (
        "mkdir -p ~/.config/containers && printf '[storage]\\ndriver = \"overlay\"\\n' > "
        "~/.config/containers/storage.conf && podman system reset  # removes all images and containers"
    )
    return _warn("storage driver", "vfs copies every file of an image for each container: slow and large", fix)


def _network(facts: MachineFacts, *, needed: bool) -> Check:
    backend = facts.engine.network_backend if facts.engine else "netavark"
    if not facts.programs & {"slirp4netns", "pasta"}:
        fix = _install(facts, "slirp4netns", "slirp4netns")
        return _bad("network", "there is neither slirp4netns nor pasta", fix, required=needed)
    missing = sorted({"netavark", "aardvark-dns"} - facts.programs) if backend == "netavark" else []
    if missing:
        fix = _install(facts, " ".join(missing), " ".join(missing))
        return _bad("network", f"there is no {' and no '.join(missing)}", fix, required=needed)
    used = sorted(facts.programs & {"slirp4netns", "pasta"})
    return _good("network", " and ".join([backend, *used]), required=needed)


def _tun(facts: MachineFacts, *, needed: bool) -> Check:
    name = "/dev/net/tun"
    match facts.tun:
        case "absent":
            return _bad(name, "there is no such device", "sudo modprobe tun", required=needed)
        case "closed":
            return _bad(name, f"{facts.user} may not open it", f"sudo chmod 666 {name}", required=needed)
    return _good(name, "usable", required=needed)


def _fuse(facts: MachineFacts) -> Check:
    name = "/dev/fuse"
    state: DeviceState = facts.fuse
    if state == "usable":
        return _good(name, "usable", required=False)
    if facts.engine and (facts.engine.storage_driver != "overlay" or facts.engine.native_overlay):
        return _good(name, "not needed by this storage", required=False)
    detail, fix = {
        "absent": ("there is no such device", "sudo modprobe fuse"),
        "closed": (f"{facts.user} may not open it", f"sudo chmod 666 {name}"),
    }[state]
    return _bad(name, detail, fix, required=facts.engine is not None)


def _lingering(facts: MachineFacts) -> Check:
    # What is not of the user goes on after their last login, and loops with it: that must not take podman's notes away.
    required = not facts.own_session
    if facts.lingering:
        return _good("lingering", "loops outlive the login", required=required)
    fix = f"sudo loginctl enable-linger {facts.user}"
    if required:
        gone = f"/run/user/{facts.uid} goes when the last login ends, and podman forgets every loop that runs"
        return _bad("lingering", gone, fix)
    return _warn("lingering", "the service manager ends all loops when the last login ends", fix)


def _workspace_space(facts: MachineFacts) -> Check:
    free, path = facts.workspace_free_bytes, facts.workspace_path
    where = f"{_size(free)} left for {path}"
    fix = f"du -xsh {path}/loops/* | sort -h  # archive or remove what is not needed"
    if free < LEAST_WORKSPACE_BYTES:
        return _bad("free space", f"{where}, {_size(LEAST_WORKSPACE_BYTES)} are needed", fix)
    if free < LITTLE_WORKSPACE_BYTES:
        return _warn("free space", f"{where}, less than {_size(LITTLE_WORKSPACE_BYTES)}", fix)
    return _good("free space", where)


def _noexec(facts: MachineFacts) -> Check:
    if not facts.noexec_mount:
        return _good("noexec", "programs can run from the workspace")
    fix = f"sudo mount -o remount,exec {shlex.quote(facts.noexec_mount)}  # or set LOOPAT_HOME to a folder elsewhere"
    return _bad("noexec", no_program_runs(facts.workspace_path, facts.noexec_mount), fix)


def _storage_space(facts: MachineFacts, engine: EngineFacts) -> Check:
    free = facts.storage_free_bytes or 0
    where = f"{_size(free)} left for images in {engine.storage_path}"
    least = LEAST_STORAGE_BYTES if engine.has_images else LEAST_IMAGE_BYTES
    if free < least:
        return _bad("image space", f"{where}, {_size(least)} are needed", "jupyter loopat gc")
    if free < BUILD_BYTES:
        return _warn("image space", f"{where}, a build may need {_size(BUILD_BYTES)}", "jupyter loopat gc")
    return _good("image space", where)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1024**3:.1f} GiB" if size_bytes >= 1024**3 else f"{size_bytes // 1024**2} MiB"


def _runtime(facts: MachineFacts) -> Check:
    path = facts.runtime_path
    if not facts.runtime_problem and (other := facts.other_runtime_path):
        detail = f"{path}, and beside it {other}: who uses that one shares neither locks nor kernels with the rest"
        fix = f"rm -r {other}  # once the servers that use it have ended"
        return _warn("runtime directory", detail, fix)
    if not facts.runtime_problem:
        return _good("runtime directory", path)
    fix = (
        f"sudo rm -r {path}"
        if "cannot be made" not in facts.runtime_problem
        else (f"sudo install -d -m 0700 -o {facts.user} /run/user/{facts.uid}")
    )
    return _bad("runtime directory", f"{path}: {facts.runtime_problem}", fix)


def _sockets(facts: MachineFacts) -> Check:
    if facts.socket_paths_fit:
        return _good("socket paths", "short enough")
    fix = f"sudo install -d -m 0700 -o {facts.user} /run/user/{facts.uid}  # a short runtime directory"
    return _bad("socket paths", f"sockets below {facts.runtime_path} would have names that are too long", fix)


def _good(name: str, detail: str, *, required: bool = True) -> Check:
    return Check(name=name, ok=True, detail=detail, required=required)


def _bad(name: str, detail: str, fix: str, *, required: bool = True) -> Check:
    return Check(name=name, ok=False, detail=detail, fix=fix, required=required)


def _warn(name: str, detail: str, fix: str) -> Check:
    return _bad(name, detail, fix, required=False)
