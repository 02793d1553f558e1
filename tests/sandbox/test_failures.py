"""What is told of a podman that failed."""

from __future__ import annotations

import os
import resource

import pytest

from loopat_jupyter.errors import StorageFullError
from loopat_jupyter.sandbox.failures import failure, how_killed, lower_limit, too_late, unavailable


def test_the_last_words_are_told_with_what_was_done_and_the_way_out():
    error = failure(("podman", "stop", "box"), 125, "first\nError: no such container", "stop the sandbox")
    assert error.message == (
        "Podman failed to stop the sandbox: Error: no such container. "
        "Run `jupyter loopat doctor` to see what is missing."
    )
    assert (error.argv, error.returncode) == (("podman", "stop", "box"), 125)
    assert error.stderr == "first\nError: no such container"


def test_without_words_the_exit_code_is_told():
    assert failure(("podman", "ps"), 125, "").message.startswith("Podman failed to ps: exit code 125. Run `jupyter")


@pytest.mark.parametrize(
    ("returncode", "told"),
    [
        (-9, "it was killed (signal 9), perhaps for lack of memory. Try again."),
        (-15, "it was killed (signal 15). Try again."),
        # A script around podman tells of a signal in its own way.
        (137, "it was killed (signal 9), perhaps for lack of memory. Try again."),
        (125, ""),
        (0, ""),
    ],
)
def test_a_podman_that_was_killed_is_told_as_that(returncode: int, told: str):
    assert how_killed(returncode) == told
    if told:
        start = failure(("podman", "start", "box"), returncode, "some words", "start the sandbox")
        assert start.message == f"Podman failed to start the sandbox: {told}"


def test_the_exit_code_of_a_command_inside_says_nothing_of_podman():
    assert "some words" in failure(("podman", "exec", "box", "true"), 137, "some words").message
    assert "was killed" in failure(("podman", "exec", "box", "true"), -9, "some words").message


def test_the_loss_of_all_networks_is_told_with_the_way_out():
    lost = "Error: failed to mount runtime directory for rootless netns: x"
    message = failure(("podman", "run"), 126, lost).message
    assert "rootless netns: x. " in message
    assert "Stop every loop that runs (`jupyter loopat stop`)" in message


WAYS_OUT = (
    "than this login may set. Use a login with the same limits, or run `jupyter loopat recreate LOOP`, after which "
    "what was installed with sudo is gone."
)


@pytest.mark.parametrize("command", ["start", "exec"])
@pytest.mark.parametrize(
    ("said", "limit"),
    [
        ("Error: crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: x", "open files (`ulimit -Hn`)"),
        ("Error: runc: error setting rlimit type 7: operation not permitted", "open files (`ulimit -Hn`)"),
        ("Error: crun: setrlimit `RLIMIT_NPROC`: Operation not permitted: x", "processes (`ulimit -Hu`)"),
        ("Error: crun: setrlimit `RLIMIT_CORE`: x", "what processes take (`ulimit -Ha`)"),
    ],
)
def test_a_limit_of_this_login_is_told_with_the_ways_out(command: str, said: str, limit: str):
    message = failure(("podman", command, "box"), 126, said, "do so").message
    assert message == f"Podman failed to do so: the sandbox was made with a higher limit on {limit} {WAYS_OUT}"


def test_a_limit_of_this_login_is_told_where_nobody_heard_podman(monkeypatch: pytest.MonkeyPatch):
    assert lower_limit(os.getpid()) == ""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 1))
    assert lower_limit(os.getpid()).startswith("the sandbox was made with a higher limit on open files")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert lower_limit(os.getpid()) == ""


def test_a_full_storage_is_told_as_that():
    full = failure(("podman", "create"), 125, "Error: write x: no space left on device")
    assert isinstance(full, StorageFullError)
    assert "podman system df" in full.message


def test_a_deadline_is_told_with_what_podman_did():
    assert too_late("stop the sandbox", 0.5).message == (
        "Podman did not stop the sandbox within 0.5 s. "
        "Look for a stuck podman process (`ps -C podman`), end it, and try again."
    )


def test_without_a_podman_the_doctor_is_named():
    told = unavailable("There is no command 'podman'.").message
    assert told == "There is no command 'podman'. Run `jupyter loopat doctor` to see what is missing."
