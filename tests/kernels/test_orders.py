from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.kernels.orders import Order, encode_connection, format_argv, kernel_environment, passed_on

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace

ARGV = ("/usr/bin/python3", "-m", "ipykernel_launcher", "-f", "{connection_file}")
LOOP_ID = "5e1f36c8-4b2f-4f0e-9a44-0a35a43c64ee"


def test_only_what_was_passed_for_the_kernel_goes_inside(workspace: Workspace) -> None:
    server = {"SECRET": "s", "PATH": "/usr/bin", "SAME": "1"}
    session = str(workspace.workdir(LOOP_ID) / "a b" / "n.ipynb")
    passed = {**server, "ASKED": "yes", "SAME": "2", "HOME": "/root", "PATH": "/venv", "JPY_SESSION_NAME": session}
    assert passed_on(passed, server, workspace, LOOP_ID) == {
        "ASKED": "yes",
        "SAME": "2",
        "JPY_SESSION_NAME": f"/loopat/loop/{LOOP_ID}/workdir/a b/n.ipynb",
    }


@pytest.mark.parametrize("name", ["/etc/n.ipynb", "", "n.ipynb"])
def test_a_session_outside_the_loop_is_not_named_inside(workspace: Workspace, name: str) -> None:
    assert passed_on({"JPY_SESSION_NAME": name}, {}, workspace, LOOP_ID) == {}


def test_variables_of_a_kernelspec_refer_to_what_is_inside() -> None:
    of_spec = {"A": "${HOME}/x", "B": "$ASKED", "C": "${UNKNOWN} $", "D": "plain"}
    assert kernel_environment(of_spec, {"ASKED": "yes"}) == {
        "ASKED": "yes",
        "A": "/loopat/home/loopat/x",
        "B": "yes",
        "C": "${UNKNOWN} $",
        "D": "plain",
    }


def test_the_command_gets_the_connection_file() -> None:
    argv = ("k", "-f={connection_file}", "{connection_file}", "{other}")
    assert format_argv(argv, r"/run/\1.json") == ("k", r"-f=/run/\1.json", r"/run/\1.json", "{other}")


def test_a_connection_file_holds_texts_and_numbers() -> None:
    connection = {"ip": "/loopat/run/k1", "key": b"abc", "shell_port": 1}
    assert json.loads(encode_connection(connection)) == {"ip": "/loopat/run/k1", "key": "abc", "shell_port": 1}


@pytest.mark.parametrize(
    ("argv", "may"),
    [
        (ARGV, True),
        (("python3.13", *ARGV[1:]), True),
        (("python3", "-Xfrozen_modules=off", *ARGV[1:]), True),
        # It would not find the file that waits.
        (("python3", "-I", *ARGV[1:]), False),
        (("python3", "-X", *ARGV[1:]), False),
        (("bash", *ARGV[1:]), False),
        ((*ARGV, "--debug"), False),
        (("python3", "-m", "bash_kernel", "-f", "{connection_file}"), False),
        (("python3",), False),
    ],
)
def test_only_plain_python_kernels_can_be_waited_for(argv: tuple[str, ...], may: bool) -> None:
    assert Order(1, argv, {}, "/").may_be_awaited == may


def test_kernels_are_alike_that_differ_in_folder_and_notebook_alone() -> None:
    order = Order(1, ARGV, {"A": "1", "JPY_SESSION_NAME": "/a.ipynb"}, "/a")
    assert order.alike(Order(1, ARGV, {"A": "1", "JPY_SESSION_NAME": "/b.ipynb"}, "/b"))
    assert order.alike(Order(1, ARGV, {"A": "1"}, "/a"))
    assert not order.alike(order._replace(init_pid=2))
    assert not order.alike(order._replace(argv=("python3", *ARGV[1:])))
    assert not order.alike(order._replace(env={"A": "2", "JPY_SESSION_NAME": "/a.ipynb"}))
    assert order.lasting_env == {"A": "1"}
    assert order.late_env == {"PWD": "/a", "JPY_SESSION_NAME": "/a.ipynb"}
    assert order._replace(env={"PWD": "/of/a/vault"}).late_env == {"PWD": "/of/a/vault"}
