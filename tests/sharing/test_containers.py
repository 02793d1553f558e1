from __future__ import annotations

import msgspec
import pytest

from loopat_jupyter.errors import EngineError, EngineTimeoutError
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sharing.containers import Shown, accepting, list_shown, remove_shown, taken_ports
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


NAMES = [f"loopat-work-files-{number}" for number in range(20)]


async def test_any_number_of_containers_is_removed():
    engine = FakeEngine(lambda _: Completed(0, b"", ""))
    await remove_shown(engine, NAMES)
    named = [[word for word in call if word in NAMES] for call in engine.calls]
    assert [len(names) for names in named] == [8, 8, 4]
    assert [name for names in named for name in names] == NAMES
    await remove_shown(engine, [])
    assert len(engine.calls) == len(named)


@pytest.mark.parametrize(
    ("error", "calls", "left"),
    [
        # Once more, for podman learns from the first attempt that a container is dead; then the others.
        (EngineError("Podman failed to end sharing."), 4, NAMES[8:16]),
        (EngineTimeoutError("Podman did not end sharing."), 2, NAMES[8:]),
    ],
)
async def test_what_could_not_be_removed_is_told(error: EngineError | EngineTimeoutError, calls: int, left: list[str]):
    def answer(arguments: tuple[str, ...]) -> Completed:
        if NAMES[8] in arguments:
            raise error
        return Completed(0, b"", "")

    engine = FakeEngine(answer)
    with pytest.raises(type(error)) as caught:
        await remove_shown(engine, NAMES)
    assert len(engine.calls) == calls
    assert caught.value.message == (
        f"{error.message} What may be left of it, `jupyter loopat gc --yes` removes: {', '.join(left)}."
    )


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
