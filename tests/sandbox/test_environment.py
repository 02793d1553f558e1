from __future__ import annotations

import asyncio
import os
import pwd

import pytest

from loopat_jupyter.sandbox.environment import podman_environment
from loopat_jupyter.sandbox.podman import Podman

_NOBODY = 123456789
"""A user without an account."""


def test_the_runtime_directory_is_named_where_it_was_forgotten() -> None:
    uid = os.getuid()
    assert podman_environment({"PATH": "/bin"}, uid)["XDG_RUNTIME_DIR"] == f"/run/user/{uid}"
    assert podman_environment({"XDG_RUNTIME_DIR": "/x"}, uid)["XDG_RUNTIME_DIR"] == "/x"
    assert "XDG_RUNTIME_DIR" not in podman_environment({"PATH": "/bin"}, _NOBODY)


def test_short_commands_collect_no_garbage_unless_somebody_wants_it() -> None:
    environ = {"XDG_RUNTIME_DIR": "/x"}
    assert podman_environment(environ, _NOBODY) == {**environ, "GOGC": "400"}
    assert podman_environment({**environ, "GOGC": "100"}, _NOBODY) == {**environ, "GOGC": "100"}


def test_the_account_keeps_its_own_name_whatever_a_hub_calls_its_user() -> None:
    uid, given = os.getuid(), {"USER": "ada", "LOGNAME": "ada"}
    name = pwd.getpwuid(uid).pw_name
    assert podman_environment(given, uid).items() >= {"USER": name, "LOGNAME": name}.items()
    assert podman_environment({}, uid)["USER"] == name
    assert podman_environment(given, _NOBODY).items() >= given.items()


@pytest.mark.podman
def test_podman_finds_the_subordinate_ids_whatever_a_hub_calls_its_user(sandbox_image: str) -> None:
    podman = Podman("podman", {**os.environ, "USER": "ada", "LOGNAME": "ada"})
    arguments = ("run", "--rm", "--network=none", "--userns=keep-id", sandbox_image, "true")
    assert asyncio.run(podman.run(*arguments)).returncode == 0
