"""Pure: what a kernel is started with: command, variables, connection file."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from loopat_jupyter.sandbox.plan import SANDBOX_HOME, inside_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopat_jupyter.workspace.paths import Workspace

NOT_PASSED_ON = frozenset(
    (
        *("HOME", "LOGNAME", "SHELL", "USER", "OLDPWD", "PWD", "TMPDIR", "XDG_RUNTIME_DIR"),
        *("LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "VIRTUAL_ENV"),
    )
)
"""Variables that describe the host: inside they would be wrong whoever passed them."""

SESSION_NAME = "JPY_SESSION_NAME"
"""The notebook that a kernel is for: the one variable that differs among the kernels of a loop."""

_CONNECTION_FILE = "{connection_file}"
_PLACEHOLDER = re.compile(r"\{connection_file\}")
_PYTHON = re.compile(r"python[0-9.]*")


class Order(NamedTuple):
    """What a kernel is started with.

    Attributes:
        init_pid: Of the sandbox, on the host.
        argv: Its command, with the placeholder of the kernelspec.
        env: Its variables.
        cwd: Its working directory inside.
    """

    init_pid: int
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str

    @property
    def may_be_awaited(self) -> bool:
        """Whether it is a Python kernel for which `inside/spare` can wait."""
        command, *options = self.argv
        wanted = ["-m", "ipykernel_launcher", "-f", _CONNECTION_FILE]
        of_python, of_kernel = options[: -len(wanted)], options[-len(wanted) :]
        return (
            bool(_PYTHON.fullmatch(PurePosixPath(command).name))
            and of_kernel == wanted
            and all(option.startswith("-X") and option != "-X" for option in of_python)
        )

    def alike(self, other: Order) -> bool:
        """Whether the two kernels differ in nothing but their folder and notebook.

        Args:
            other: The other order.
        """
        same = (self.init_pid, self.argv) == (other.init_pid, other.argv)
        return same and self.lasting_env == other.lasting_env

    @property
    def lasting_env(self) -> dict[str, str]:
        """Its variables without the notebook."""
        return {name: value for name, value in self.env.items() if name != SESSION_NAME}

    @property
    def late_env(self) -> dict[str, str]:
        """What a process that has the lasting variables still lacks."""
        late = {"PWD": self.cwd, **self.env}
        return {name: late[name] for name in ("PWD", SESSION_NAME) if name in late}


def format_argv(argv: tuple[str, ...], connection_file: str) -> tuple[str, ...]:
    """A kernelspec's command with its placeholder filled in.

    Args:
        argv: The command.
        connection_file: Path of the connection file inside.
    """
    return tuple(_PLACEHOLDER.sub(lambda _: connection_file, part) for part in argv)


def kernel_environment(of_spec: Mapping[str, str], passed: Mapping[str, str]) -> dict[str, str]:
    """The variables of a kernel; those of its kernelspec may refer to the others and to `HOME`.

    Args:
        of_spec: Variables of the kernelspec inside.
        passed: Variables that the caller passed for this kernel, as they are inside.
    """
    known = {"HOME": SANDBOX_HOME, **passed}
    return {**passed, **{name: Template(value).safe_substitute(known) for name, value in of_spec.items()}}


def passed_on(
    passed: Mapping[str, str], server: Mapping[str, str], workspace: Workspace, loop_id: str
) -> dict[str, str]:
    """What of the variables that a kernel manager passes belongs to the kernel and not to the server.

    Args:
        passed: What the kernel manager passed.
        server: The server's environment: nothing that is the same in it goes inside.
        workspace: Where the loop's folders are.
        loop_id: The loop.
    """
    own = {name: value for name, value in passed.items() if server.get(name) != value and name not in NOT_PASSED_ON}
    own.pop(SESSION_NAME, None)
    found = workspace.loop_of(Path(passed.get(SESSION_NAME) or "/"))
    if found is not None and found[0] == loop_id:
        own[SESSION_NAME] = inside_path(loop_id, found[1])
    return own


def encode_connection(connection: Mapping[str, Any]) -> bytes:
    """A connection file.

    Args:
        connection: What it says; keys may be bytes.
    """
    texts = {key: value.decode() if isinstance(value, bytes) else value for key, value in connection.items()}
    return msgspec.json.encode(texts)
