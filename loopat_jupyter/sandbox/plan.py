"""Pure planning: what container a loop needs, how to make it, and how to run something in it.

Nothing here reads a file, the environment or the clock. Secrets never enter a plan: variables of a process travel
in a file (see `loopat_jupyter.sandbox.process`).
"""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from loopat_jupyter.errors import ConflictError
from loopat_jupyter.models import SANDBOX_UID, SANDBOX_USER, Mount, SandboxSpec
from loopat_jupyter.sandbox.copies import own_copy
from loopat_jupyter.sandbox.helpers import MAIN_HELPER, file_name, skill_folder
from loopat_jupyter.sandbox.isolation import Nesting, allowed, fence, may_remount, wanted_isolation
from loopat_jupyter.sandbox.resources import enforced, resource_arguments, wanted_resources
from loopat_jupyter.workspace.paths import SANDBOX_CONTEXT, context_mirror, sandbox_mirror
from loopat_jupyter.workspace.plugins import PLUGIN_LIST, SKILL_FOLDER, pinned_list

if TYPE_CHECKING:
    from loopat_jupyter.models import ExecSpec, LoopRecord, MountMode
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.paths import Workspace

LABEL_LOOP = "loopat.loop-id"
LABEL_WORKSPACE = "loopat.workspace"
LABEL_HASH = "loopat.config-hash"
LABEL_REFERENCE = "loopat.reference"
"""What the image is called that a container was made from."""

SANDBOX_HOME = f"/loopat/home/{SANDBOX_USER}"
"""Never the host's home path: bind targets below it would leave folders that the host user cannot delete."""
SANDBOX_RUN = "/loopat/run"
SANDBOX_LIB = "/loopat/lib"
SANDBOX_LOOPS = "/loopat/loops"
"""Where a loop that may see all loops sees them."""
SANDBOX_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
MAIN = f"{SANDBOX_LIB}/{MAIN_HELPER}"
LAUNCHER = f"{SANDBOX_LIB}/{file_name('launch')}"
HOLDER_PYTHON = "/usr/bin/python3"
HOLDER = (HOLDER_PYTHON, "-IS", f"{SANDBOX_LIB}/{file_name('hold')}")
"""Holds the terminal of a program inside, see `inside/hold`; without what a Python loads for convenience."""
UNMASK = f"{SANDBOX_LIB}/{file_name('unmask')}"
ATTACH = (
    *("/bin/bash", "-p", "-c", 'exec -a loopat "$0" "$@"'),
    *(HOLDER_PYTHON, "-IS", f"{SANDBOX_LIB}/{file_name('attach')}"),
)
"""Waits for a command inside, see `inside/attach`; under a name that nobody looks for who looks for a Python."""
SPARE_FOLDER = f"{SANDBOX_LIB}/{file_name('waiting')}"
"""Where a spare kernel waits, see `inside/spare`."""

SANDBOX_PLUGINS = f"{SANDBOX_HOME}/.claude/plugins"

FIRST_KERNEL_PORT = 40_000
PORTS_PER_KERNEL = 5
STOP_GRACE_S = 5
MOST_OPEN_FILES = 65_536
"""How many files a process of a sandbox may have open, where the host allows as many."""

PLAN_VERSION = 1
"""Raised when `run_argv` changes in a way that existing containers must follow."""


class HostFacts(NamedTuple):
    """What a plan must know of the host.

    Attributes:
        ca_bundle: The certificate bundle to mount; None mounts none.
        limits: What of processors, memory and processes it can limit.
        plugins: Where the person keeps plugins of agents; None where there are none.
        nesting: What podman inside a sandbox finds.
        open_files: How many files a process of a new sandbox may have open. Logins differ in what they may have, so
            it is no part of what a container should be.
    """

    ca_bundle: Path | None
    limits: frozenset[str] = frozenset()
    plugins: Path | None = None
    nesting: Nesting = Nesting()
    open_files: int = MOST_OPEN_FILES


def container_name(workspace: str, loop_id: str) -> str:
    """Name of a loop's container."""
    return f"loopat-{workspace}-{loop_id}"


def network_name(workspace: str) -> str:
    """Name of the bridge network that all sandboxes of a workspace share."""
    return f"loopat-{workspace}"


def sandbox_workdir(loop_id: str) -> str:
    """The loop's files as seen inside."""
    return f"/loopat/loop/{loop_id}/workdir"


def sandbox_agent_config(loop_id: str) -> str:
    """The configuration folder of agents as seen inside."""
    return f"/loopat/loop/{loop_id}/.claude"


def sandbox_skill(loop_id: str) -> str:
    """Where agents find what they should know of loops, as seen inside."""
    return f"{sandbox_agent_config(loop_id)}/{SKILL_FOLDER}"


def inside_path(loop_id: str, relative: Path) -> str:
    """A path of the workdir as seen inside.

    Args:
        loop_id: The loop.
        relative: Path relative to the workdir.
    """
    return str(PurePosixPath(sandbox_workdir(loop_id)) / relative)


def plan_sandbox(
    record: LoopRecord, config: Config, workspace: Workspace, host: HostFacts, extra: tuple[Mount, ...] = ()
) -> SandboxSpec:
    """The container that a loop needs.

    Args:
        record: The loop.
        config: The workspace's settings.
        workspace: Where the loop's folders are.
        host: What the host offers.
        extra: What is mounted beside the loop's own folders.
    """
    network = wanted_network(record, config)
    isolation = wanted_isolation(record, config)
    return SandboxSpec(
        loop_id=record.id,
        owner=record.created_by,
        workspace=workspace.name,
        name=container_name(workspace.name, record.id),
        hostname=f"loop-{record.id[:8]}",
        mounts=tuple(sorted((*plan_mounts(record, config, workspace, host), *extra))),
        network="none" if network == "none" else network_name(workspace.name),
        workdir=sandbox_workdir(record.id),
        home=SANDBOX_HOME,
        resources=allowed(enforced(wanted_resources(record, config), host.limits), isolation),
        fence=fence(isolation, host.nesting, seccomp_folder(workspace)),
        env=record.config.env,
        publish=() if network == "none" else kernel_ports(config),
        shared=None if network == "none" else shared_port(record, config),
    )


def wanted_network(record: LoopRecord, config: Config) -> str:
    """What network a loop has: its own word, else the workspace's.

    Args:
        record: The loop.
        config: The workspace's settings.
    """
    return record.config.network or config.network


def seccomp_folder(workspace: Workspace) -> Path:
    """Where filters of system calls lie; no sandbox sees it.

    Args:
        workspace: Whose.
    """
    return workspace.cache / "seccomp"


def shared_port(record: LoopRecord, config: Config) -> str | None:
    """The port that a loop shares by itself, as `podman run --publish` takes it; the host chooses the number.

    Args:
        record: The loop.
        config: The workspace's settings.
    """
    if record.share.mode != "ephemeral":
        return None
    return f"{publishing_host(config.share.host)}::{record.share.port}/{record.share.protocol}"


def publishing_host(host: str) -> str:
    """An address as `podman run --publish` takes it.

    Args:
        host: IPv4 or IPv6 address.
    """
    return f"[{host}]" if ":" in host else host


def kernel_ports(config: Config) -> tuple[int, ...]:
    """Ports inside that are published for kernels: none where sockets in a shared folder do."""
    if config.kernels.transport == "ipc":
        return ()
    return tuple(range(FIRST_KERNEL_PORT, FIRST_KERNEL_PORT + PORTS_PER_KERNEL * config.kernels.tcp_kernels))


def plan_mounts(record: LoopRecord, config: Config, workspace: Workspace, host: HostFacts) -> tuple[Mount, ...]:
    """The bind mounts of a loop, sorted by target."""
    shared_tmp = config.shared_tmp if record.config.shared_tmp is None else record.config.shared_tmp
    mounts = [
        Mount(source=str(workspace.workdir(record.id)), target=sandbox_workdir(record.id)),
        Mount(source=str(workspace.agent_config(record.id)), target=sandbox_agent_config(record.id)),
        Mount(source=str(workspace.loop_home(record.id)), target=SANDBOX_HOME),
        Mount(source=str(workspace.run(record.id)), target=SANDBOX_RUN),
        Mount(source=str(workspace.helpers), target=SANDBOX_LIB, mode="ro"),
        Mount(source=str(skill_folder(workspace.helpers)), target=sandbox_skill(record.id), mode="ro"),
    ]
    if record.mirror is not None:
        source = workspace.mirrors / record.mirror
        mounts.append(Mount(source=str(source), target=sandbox_mirror(record.mirror), mode="ro"))
    mounts += context_mounts(record, workspace)
    if host.ca_bundle is not None:
        mounts.append(Mount(source=str(host.ca_bundle), target=SANDBOX_CA_BUNDLE, mode="ro", file=True))
    if record.plugins and host.plugins is not None:
        mounts += plugin_mounts(host.plugins, pinned_list(workspace, record.id), record.id)
    if record.config.all_loops and config.all_loops:
        mounts.append(Mount(source=str(workspace.loops), target=SANDBOX_LOOPS, mode="ro"))
    if shared_tmp:
        mounts.append(Mount(source="/tmp", target="/tmp"))  # noqa: S108 - asked for by the configuration
    return tuple(sorted(mounts))


def context_mounts(record: LoopRecord, workspace: Workspace) -> list[Mount]:
    """The loop's own checkouts of the contexts, and the mirrors that they borrow objects from."""
    mounts = []
    for start in record.contexts:
        mode: MountMode = "ro" if start.kind == "knowledge" and not record.config.knowledge_rw else "rw"
        checkout = workspace.context(record.id, start.kind)
        mirror = context_mirror(start.kind, record.created_by)
        mounts += [
            Mount(source=str(checkout), target=f"{SANDBOX_CONTEXT}/{start.kind}", mode=mode),
            Mount(source=str(workspace.mirrors / mirror), target=sandbox_mirror(mirror), mode="ro"),
        ]
    return mounts


def plugin_mounts(plugins: Path, pinned: Path, loop_id: str) -> list[Mount]:
    """The person's agent plugins, at both places where an agent may look, with the loop's own list of them on top.

    Args:
        plugins: The folder on the host.
        pinned: The list as it was when the loop was made.
        loop_id: The loop.
    """
    folders = (SANDBOX_PLUGINS, f"{sandbox_agent_config(loop_id)}/plugins")
    return [
        Mount(source=str(source), target=f"{folder}{file}", mode="ro", file=bool(file))
        for folder in folders
        for source, file in ((plugins, ""), (pinned, f"/{PLUGIN_LIST}"))
    ]


def config_hash(spec: SandboxSpec) -> str:
    """Hash over everything that would need a new container, 16 hexadecimal digits.

    The environment of processes is left out on purpose: a kernel and a terminal may differ in it.
    """
    return hashlib.sha256(msgspec.json.encode((PLAN_VERSION, spec))).hexdigest()[:16]


def run_argv(spec: SandboxSpec, image: str, *, pidfile: Path, copies: Path, open_files: int) -> tuple[str, ...]:
    """Arguments of `podman run` that make and start the container in one go.

    Args:
        spec: The container.
        image: Reference of an image that is already there.
        pidfile: Where podman writes the init process's id at every start; no sandbox sees it.
        copies: Where copies of single files lie, for a sandbox that must not be given the files themselves.
        open_files: How many files a process inside may have open.
    """
    labels = {
        LABEL_LOOP: spec.loop_id,
        LABEL_WORKSPACE: spec.workspace,
        LABEL_HASH: config_hash(spec),
        LABEL_REFERENCE: image,
    }
    return (
        "run",
        "--detach",
        "--pull=never",
        f"--pidfile={pidfile}",
        f"--name={spec.name}",
        f"--hostname={spec.hostname}",
        *(f"--label={key}={value}" for key, value in labels.items()),
        f"--userns=keep-id:uid={SANDBOX_UID},gid={SANDBOX_UID}",
        f"--user={SANDBOX_UID}:{SANDBOX_UID}",
        "--init",
        # Podman would write the proxies of whoever makes the container into it, passwords included, for all to see.
        "--http-proxy=false",
        f"--network={spec.network}",
        *(f"--publish=127.0.0.1::{port}" for port in spec.publish),
        *((f"--publish={spec.shared}",) if spec.shared else ()),
        # Where SELinux separates containers, mounts of a home directory would be denied.
        "--security-opt=label=disable",
        *spec.fence,
        f"--stop-timeout={STOP_GRACE_S}",
        "--log-driver=none",
        # Podman would note all that this login may have, and a login that may have less could not start it again.
        f"--ulimit=nofile={open_files}:{open_files}",
        f"--workdir={spec.workdir}",
        *resource_arguments(spec.resources),
        *(f"--env={name}={value}" for name, value in spec.env.items()),
        f"--env=HOME={spec.home}",
        *(mount_argument(mount, copies if may_remount(spec.fence) else None) for mount in spec.mounts),
        f"--entrypoint={MAIN}",
        image,
    )


def mount_argument(mount: Mount, copies: Path | None) -> str:
    """One mount as an argument of `podman run`.

    Args:
        mount: The mount.
        copies: Given where root inside could make what is read-only writable. So it gets a folder in which its changes
            go to the container, and never to the source (an overlay); of a single file, for which podman has none, it
            gets the copy that lies here.

    Raises:
        ConflictError: The path is one of which podman makes no overlay.
    """
    if copies is None or mount.mode != "ro":
        return f"--mount={mount_option(mount)}"
    if mount.file:
        return f"--mount={mount_option(msgspec.structs.replace(mount, source=str(own_copy(copies, mount.source))))}"
    if {*mount.source, *mount.target} & {*':,\\"'}:
        raise ConflictError(
            f"A privileged loop cannot mount {mount.source}, because of a colon, comma, quote or backslash in it. "
            "Rename the folder, or choose another isolation."
        )
    return f"--volume={mount.source}:{mount.target}:O"


def mount_option(mount: Mount) -> str:
    """One mount as `podman create --mount` wants it: a CSV record, so that any character may stand in a path."""
    text = io.StringIO()
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
    csv.writer(text, lineterminator="").writerow([*fields, "ro=true"] if mount.mode == "ro" else fields)
    return text.getvalue()


def exec_argv(name: str, spec: ExecSpec, stem: str) -> tuple[str, ...]:
    """Arguments of `podman exec` for one process.

    Args:
        name: Container name.
        spec: The process.
        stem: Name of its files in the runtime directory; see `inside/launch`.
    """
    flags = [
        flag
        for flag, wanted in (
            ("--detach", spec.detach),
            ("--interactive", spec.interactive and not spec.detach),
            ("--tty", spec.tty and not spec.detach),
            # Podman would hold every Ctrl-P back until the next key, waiting for a Ctrl-Q.
            ("--detach-keys=", spec.tty and not spec.detach),
            # What waits there is no use of the sandbox, from its first instruction on.
            (f"--workdir={SPARE_FOLDER}", spec.cwd == SPARE_FOLDER),
        )
        if wanted
    ]
    return ("exec", *flags, name, *started_command(spec, stem))


def started_command(spec: ExecSpec, stem: str) -> tuple[str, ...]:
    """What starts a process inside.

    Args:
        spec: The process.
        stem: Name of its files in the runtime directory; see `inside/launch`.
    """
    starter = HOLDER if spec.detach and spec.tty else (LAUNCHER,)
    # It goes to the folder: podman's own words for one that is not there help nobody.
    return (*starter, stem, spec.cwd or "", *spec.argv)
