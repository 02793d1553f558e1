from __future__ import annotations

import msgspec
import pytest

from loopat_jupyter.errors import EngineError
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sharing.containers import Shown, accepting, list_shown, taken_ports
from loopat_jupyter.sharing.plan import Showing
from tests.fakes import FakeEngine

ENTRY = {
    "Names": ["loopat-work-edge"],
    "Labels": {
        "loopat.share": "edge",
        "loopat.workspace": "work",
        "loopat.config-hash": "abc",
        "loopat.web-port": "7789",
    },
    "State": "exited",
    "Pid": 0,
    "Ports": [
        {"host_ip": "127.0.0.1", "container_port": 7800, "host_port": 7800, "range": 1, "protocol": "tcp"},
        {"host_ip": "127.0.0.1", "container_port": 7800, "host_port": 7800, "range": 2, "protocol": "udp"},
    ],
}


async def test_what_podman_lists_is_understood():
    engine = FakeEngine(lambda _: Completed(0, msgspec.json.encode([ENTRY]), ""))
    showing = Showing(web_port=7789, direct_ports=frozenset((7800, 7801)))
    shown = Shown(name="loopat-work-edge", share="edge", digest="abc", alive=False, showing=showing)
    assert await list_shown(engine, "work") == {"edge": shown}
    assert engine.calls == [
        ("ps", "--all", "--filter=label=loopat.workspace=work", "--filter=label=loopat.share", "--format=json")
    ]


@pytest.mark.parametrize("answer", [b"{", b"[1]", b"[{}]", b'[{"Labels": null}]', b'[{"Names": [], "Labels": {}}]'])
async def test_an_answer_that_makes_no_sense_is_an_error_with_a_way_out(answer: bytes):
    with pytest.raises(EngineError, match="loopat doctor"):
        await list_shown(FakeEngine(lambda _: Completed(0, answer, "")), "work")


@pytest.mark.parametrize(
    ("stderr", "ports"),
    [
        ("Error: rootlessport listen tcp 127.0.0.1:7788: bind: address already in use", {7788}),
        ("Error: rootlessport listen udp [::1]:7801: bind: address already in use", {7801}),
        ("Error: cannot listen on the TCP port: listen tcp4 :7800: bind: address already in use", {7800}),
        ("Error: no such image localhost/x:latest", set()),
        ("", set()),
    ],
)
def test_the_port_that_somebody_has_is_read_from_the_error(stderr: str, ports: set[int]):
    assert taken_ports(stderr) == ports


def test_what_has_ended_accepts_nothing():
    assert accepting(2**22 + 1) == 0
