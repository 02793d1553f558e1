from __future__ import annotations

import os

from loopat_jupyter.sandbox.environment import podman_environment


def test_the_runtime_directory_is_named_where_it_was_forgotten() -> None:
    uid = os.getuid()
    assert podman_environment({"PATH": "/bin"}, uid)["XDG_RUNTIME_DIR"] == f"/run/user/{uid}"
    assert podman_environment({"XDG_RUNTIME_DIR": "/x"}, uid)["XDG_RUNTIME_DIR"] == "/x"
    assert "XDG_RUNTIME_DIR" not in podman_environment({"PATH": "/bin"}, 123456789)


def test_short_commands_collect_no_garbage_unless_somebody_wants_it() -> None:
    environ = {"XDG_RUNTIME_DIR": "/x"}
    assert podman_environment(environ, 0) == {**environ, "GOGC": "400"}
    assert podman_environment({**environ, "GOGC": "100"}, 0) == {**environ, "GOGC": "100"}
