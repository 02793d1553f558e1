"""What is tried inside a sandbox of each level of isolation, and what comes of it.

The table in `docs/isolation.md` is made of these rows. Each is a piece of bash in the sandbox; exit code 0 means that
it works. What they need to know of the world outside is in variables, see `tests/sandbox/test_isolation.py`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

LEVELS = ("nested", "strict", "privileged")
REFUSED = re.compile(
    r"denied|not permitted|[Rr]ead-only|nonexistent|[Rr]efused|timed out|no new privileges|not implemented|must be root"
    r"|No such (file|process)|unreachable|not found on this|Invalid argument"
)
"""How a refusal sounds: a row must not fail because a command is missing."""


class Row(NamedTuple):
    """One attempt.

    Attributes:
        words: What is tried, for the table.
        command: Bash.
        works: In which levels it works: their first letters.
    """

    words: str
    command: str
    works: str

    def mark(self, level: str) -> str:
        """The cell of the table."""
        return "yes" if level[0] in self.works else "no"


def _python(code: str, *, root: bool = False) -> str:
    return f"{'sudo -n --preserve-env=OTHER_PID ' if root else ''}python3 -IS - <<'EOF'\n{code}\nEOF"


def _call(call: str, *, root: bool = False) -> str:
    """A function of the C library that answers with 0 when it works."""
    code = "import ctypes, os\nlibrary = ctypes.CDLL(None, use_errno=True)\n"
    code += f"if library.{call}: raise SystemExit(os.strerror(ctypes.get_errno()))"
    return _python(code, root=root)


def _connect(family: str, addresses: str) -> str:
    return _python(
        "import os, socket\nfor address in " + addresses + ":\n"
        f"    place = socket.socket(socket.{family})\n    place.settimeout(3)\n"
        "    try:\n        place.connect(address)\n        break\n"
        "    except OSError as error:\n        print(address, error)\n"
        "else:\n    raise SystemExit(1)"
    )


_SOCKET = "import socket\nsocket.socket(socket.{}, socket.SOCK_RAW, {})"
_ADDRESS = (
    "import fcntl, socket, struct\n"
    "request = struct.pack('16sHH4s8s', b'eth0:9', socket.AF_INET, 0, socket.inet_aton('192.0.2.9'), b'')\n"
    "fcntl.ioctl(socket.socket(), 0x8916, request)"
)
"""0x8916 is SIOCSIFADDR (netdevice(7))."""
_TINY = """mkdir -p ~/tiny/{bin,dev,etc,proc,sys,tmp}
cp /bin/{sh,cat,hostname} ~/tiny/bin/
for library in $(ldd /bin/{sh,cat,hostname} | grep -o '/[^ :]*so[^ :]*' | sort -u); do
  mkdir -p ~/tiny/"${library%/*}"; cp -L "$library" ~/tiny/"$library"
done
printf 'FROM localhost/tiny\\nRUN hostname >/made\\n' >~/tiny/Containerfile
tar -C ~/tiny -c . | podman import - localhost/tiny"""
"""An image of the sandbox's own files, so that no registry is needed."""

_SOCKETS = """for socket in /run/user/*/podman/podman.sock /run/podman/podman.sock /run/docker.sock; do
  test -S "$socket" && exit 0
done
echo "No such file"; exit 1"""
_LOOPBACKS = "[(name, int(os.environ['HOST_PORT'])) for name in ('127.0.0.1', '10.0.2.2', 'host.containers.internal')]"
_FIND_PROCESS = _python(
    "import glob, os\nfor name in glob.glob('/proc/[0-9]*/cmdline'):\n"
    "    if os.environ['OTHER_MARK'].encode() in open(name, 'rb').read(): break\n"
    "else:\n    raise SystemExit('No such process')"
)
_TRACE = _python(
    "import ctypes, subprocess\nchild = subprocess.Popen(['sleep', '60'])\n"
    "result = ctypes.CDLL(None).ptrace(16, child.pid, 0, 0)\nchild.kill()\nraise SystemExit(result)"
)
"""16 is PTRACE_ATTACH (ptrace.h)."""
_RUN = "podman run --rm --network {} localhost/tiny hostname"
_BUILD = "podman build --no-cache --isolation {0} --tag localhost/{0} ~/tiny"
_RUN_BUILT = " && podman run --rm --network none localhost/rootless cat /made"

LOOP = (
    Row(
        "be `loopat`, number 2000; what it writes is yours", 'touch made && test "$(id -u):$(id -g)" = 2000:2000', "nsp"
    ),
    Row("begin in the loop's folder", 'test "$PWD" = "/loopat/loop/$OWN_ID/workdir"', "nsp"),
    Row(
        "have the processes that nobody waits for reaped",
        'pid=$(sh -c "true >/dev/null & echo \\$!"); while test -e "/proc/$pid"; do sleep 0.01; done',
        "nsp",
    ),
    Row("trace processes of its own, as debuggers do", _TRACE, "nsp"),
    Row("find other loops by name", 'getent hosts "$OTHER_NAME"', "nsp"),
)
"""What every loop can do."""

ROOT = (
    Row("`sudo`", "sudo -n true", "np"),
    Row("change the system inside, as `sudo apt install` does", "sudo -n touch /usr/local/made", "np"),
    Row("mount a file system", "sudo -n mount -t tmpfs none /mnt", "p"),
    Row("mount one in a user namespace of its own", "unshare --map-root-user --mount mount -t tmpfs none /mnt", "nsp"),
    Row(
        "change a copy of what is mounted read-only",
        "sudo -n mount -o remount,rw,bind /loopat/lib && touch /loopat/lib/made",
        "p",
    ),
    Row("change the sandbox's host name", 'sudo -n hostname "$(hostname)"', "p"),
    Row("write network settings below `/proc/sys/net`", "echo 0 | sudo -n tee /proc/sys/net/ipv4/ip_forward", "p"),
    Row("open raw sockets, as `ping` may", _python(_SOCKET.format("AF_INET", 1), root=True), "p"),
    Row("listen to packets", _python(_SOCKET.format("AF_PACKET", "socket.htons(3)"), root=True), "p"),
    Row("take another address in the network that loops share", _python(_ADDRESS, root=True), "p"),
    Row("see the devices of the host", "ls -d /dev/kmsg", "p"),
)
"""What root inside can do, where there is one."""

PODMAN = (
    Row("import an image", _TINY, "np"),
    Row("run a container without a network", _RUN.format("none"), "np"),
    Row("run one with a network of its own", _RUN.format("slirp4netns"), "np"),
    Row("run one with the network of the loop", _RUN.format("host"), "np"),
    Row("build", _BUILD.format("rootless") + _RUN_BUILT, "np"),
    Row("build with `--isolation=chroot`", _BUILD.format("chroot"), "np"),
    Row("give a container a host name", "unshare --map-root-user --uts hostname other", "np"),
)
"""Podman inside."""

HOST = (
    Row("write kernel settings below `/proc/sys`", "printf core | sudo -n tee /proc/sys/kernel/core_pattern", ""),
    Row("the same without `sudo`", "printf core >/proc/sys/kernel/core_pattern", ""),
    Row("use the magic SysRq key", "printf h | sudo -n tee /proc/sysrq-trigger || printf h >/proc/sysrq-trigger", ""),
    Row("load or remove kernel modules", _call("delete_module(b'none', 0)", root=True), ""),
    Row("set the clock", 'sudo -n date --set="$(date)"', ""),
    Row("make device files", "sudo -n mknod /tmp/disk b 8 0", ""),
    Row("read the memory of the kernel", "sudo -n head -c1 /proc/kcore || head -c1 /proc/kcore", ""),
    Row("open raw sockets as an ordinary user", _python(_SOCKET.format("AF_INET", 1)), ""),
    Row("reach podman's or docker's socket", _SOCKETS, ""),
    Row("reach what listens on the host's own 127.0.0.1", _connect("AF_INET", _LOOPBACKS), ""),
)
"""What no loop can do to the host."""

OTHERS = (
    Row(
        "read their files",
        'cat "$OTHER_FILE" || sudo -n cat "$OTHER_FILE" || cat "/loopat/loop/$OTHER_ID/workdir/secret"',
        "",
    ),
    Row("see their processes", _FIND_PROCESS, ""),
    Row("trace their processes", _call("ptrace(16, int(os.environ['OTHER_PID']), 0, 0)", root=True), ""),
    Row("the same without `sudo`", _call("ptrace(16, int(os.environ['OTHER_PID']), 0, 0)"), ""),
    Row("connect to sockets in their files", _connect("AF_UNIX", "[os.environ['OTHER_SOCKET'][:107]]"), ""),
    Row("connect to their abstract sockets", _connect("AF_UNIX", "['\\0loopat-isolation']"), ""),
    Row(
        "reach ports they open on 127.0.0.1",
        _connect("AF_INET", "[(os.environ['OTHER_NAME'], 8124), ('127.0.0.1', 8124)]"),
        "",
    ),
    Row("reach ports they open for everybody", _connect("AF_INET", "[(os.environ['OTHER_NAME'], 8123)]"), "nsp"),
)
"""What loops can do to the other loops of a workspace."""

TABLES = {
    "In a loop": LOOP,
    "As root inside": ROOT,
    "Podman inside": PODMAN,
    "Against the host": HOST,
    "Against other loops": OTHERS,
}


def markdown() -> str:
    """The tables as they stand in the documentation."""
    lines = []
    for title, rows in TABLES.items():
        lines += ["", f"### {title}", "", f"| | {' | '.join(f'`{level}`' for level in LEVELS)} |", "|---|---|---|---|"]
        lines += [f"| {row.words} | {' | '.join(row.mark(level) for level in LEVELS)} |" for row in rows]
    return "\n".join(lines[1:]) + "\n"
