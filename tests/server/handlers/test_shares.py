"""Sharing over REST."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.sharing.conftest import fetch

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace

SLOW = {"request_timeout": 100}


@pytest.fixture
async def loop(api: Any) -> str:
    return (await api("POST", "loops", send={"title": "shown"})).body["id"]


async def test_nothing_is_shared_at_first(api: Any, loop: str) -> None:
    shown = await api("GET", "loops", loop, "share")
    assert (shown.status, shown.body) == (
        200,
        {
            "mode": "off", "port": None, "alias": None, "protocol": "tcp", "public_port": None, "url": None,
            "jupyter_path": None, "state": "off", "listening": [],
        },
    )  # fmt: skip
    assert (await api("GET", "loops", loop)).body["share"] == {
        "mode": "off", "port": None, "alias": None, "protocol": "tcp", "public_port": None,
    }  # fmt: skip


SENSELESS: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "mode"),
    ({"mode": "public"}, "mode"),
    ({"mode": "port"}, "port"),
    ({"mode": "port", "port": 0}, "port"),
    ({"mode": "port", "port": 65536}, "port"),
    ({"mode": "port", "port": "80"}, "port"),
    ({"mode": "port", "port": True}, "port"),
    ({"mode": "static", "port": 80}, "port"),
    ({"mode": "off", "port": 80}, "port"),
    ({"mode": "port", "port": 80, "protocol": "udp"}, "protocol"),
    ({"mode": "port", "port": 80, "protocol": "icmp"}, "protocol"),
    ({"mode": "port", "port": 80, "public_port": 7800}, "public_port"),
    ({"mode": "direct", "port": 80, "public_port": 22}, "public_port"),
    ({"mode": "direct", "port": 80, "alias": "x"}, "alias"),
    ({"mode": "static", "alias": "01234567"}, "alias"),
    ({"mode": "static", "host": "example.org"}, "host"),
    *(
        ({"mode": "static", "alias": alias}, "alias")
        for alias in (
            "", "-v", "x-", "../x", "a/b", "a.b", "a b", "A", "\u0430", "x\n", "x\0",
            "x" * 64, "xn--80ak6aa92e",
            "@host", "[::1]", "a;b", "{x}", "$x",
        )
    ),
)  # fmt: skip


async def test_what_makes_no_sense_names_its_field(api: Any, loop: str) -> None:
    for send, field in SENSELESS:
        refused = await api("PUT", "loops", loop, "share", send=send)
        assert (refused.status, refused.body.get("field")) == (400, field), send
    assert (await api("GET", "loops", loop)).body["share"]["mode"] == "off"


async def test_a_loop_that_is_not_there_has_nothing_to_share(api: Any) -> None:
    nowhere = "8c5a9ba2-6f3e-4c6f-9d5a-0d4f5b6c7d8e"
    assert (await api("GET", "loops", nowhere, "share")).status == 404
    assert (await api("PUT", "loops", nowhere, "share", send={"mode": "static"})).status == 404


async def test_a_loop_without_a_network_has_no_ports(api: Any, loop: str) -> None:
    await api("PATCH", "loops", loop, send={"config": {"network": "none"}})
    refused = await api("PUT", "loops", loop, "share", send={"mode": "port", "port": 80})
    assert (refused.status, refused.body["field"]) == (400, "mode")


@pytest.mark.podman
async def test_files_are_shared_and_unshared(api: Any, real_image: str, loop: str, workspace: Workspace) -> None:
    workspace.workdir(loop).joinpath("index.html").write_text("hello")
    shown = await api("PUT", "loops", loop, "share", send={"mode": "static", "alias": "bikes"}, **SLOW)
    assert (shown.status, shown.body["state"], shown.body["listening"]) == (200, "ready", [])
    assert shown.body["url"].startswith("http://bikes.localhost:")
    assert (await fetch(shown.body["url"])).body == b"hello"
    assert (await api("GET", "loops", loop, "share")).body == shown.body
    other = (await api("POST", "loops", send={"title": "other"})).body["id"]
    taken = await api("PUT", "loops", other, "share", send={"mode": "static", "alias": "bikes"})
    assert (taken.status, taken.body["reason"]) == (409, "conflict")
    assert (await api("PUT", "loops", loop, "share", send={"mode": "off"}, **SLOW)).body["state"] == "off"
    # Nobody listens there, or by now the edge of another workspace, which knows no such name.
    with contextlib.suppress(ConnectionRefusedError):
        assert (await fetch(shown.body["url"])).code == 404
