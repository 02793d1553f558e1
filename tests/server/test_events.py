"""Events of loops, through the server's own event logger and websocket."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from typing import Any, get_args, get_type_hints

import pytest
import yaml

from loopat_jupyter.models import LoopEvent, Progress, State
from loopat_jupyter.server.events import SCHEMA_FILE, SCHEMA_ID, EventStream, event_data

ELSEWHERE = """
import json, sys
from loopat_jupyter.cli import main

for line in sys.stdin:
    sys.argv[1:] = json.loads(line)
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    print(f"\\n{code or 0}", end="\\0", flush=True)
"""
"""A process that runs one command line after the other: most of each would be its imports."""

ACTIONS = get_args(get_type_hints(LoopEvent)["action"])
SCHEMA = yaml.safe_load(SCHEMA_FILE.read_text(encoding="utf-8"))


def test_the_schema_says_the_same_as_the_struct() -> None:
    assert SCHEMA["$id"] == SCHEMA_ID
    assert set(SCHEMA["properties"]) == set(LoopEvent.__struct_fields__)
    assert set(SCHEMA["properties"]["action"]["enum"]) == set(ACTIONS)
    assert set(SCHEMA["properties"]["state"]["enum"]) == set(get_args(State))
    assert set(SCHEMA["properties"]["progress"]["properties"]) == set(Progress.__struct_fields__)
    assert set(SCHEMA["required"]) == {"action", "loop_id"}


async def test_every_event_passes_the_schema_and_arrives(started: Any, next_event: Any) -> None:
    stream: EventStream = started.extension_manager.extension_points["loopat"].app.events
    progress = (None, Progress(label="ü"), Progress(label="a", step=1, steps=2))
    for action, state, step, message in itertools.product(
        ACTIONS, (None, *get_args(State)), progress, (None, "100 % {x} \n")
    ):
        event = LoopEvent(action=action, loop_id="a", state=state, progress=step, message=message)
        stream.publish(event)
        assert await next_event() == event_data(event)


async def test_events_from_threads_arrive_too(started: Any, next_event: Any) -> None:
    stream: EventStream = started.extension_manager.extension_points["loopat"].app.events
    event = LoopEvent(action="updated", loop_id="a")
    await asyncio.to_thread(stream.publish, event)
    assert await next_event() == {"action": "updated", "loop_id": "a"}


async def test_rest_is_followed_by_events(api: Any, next_event: Any) -> None:
    loop = (await api("POST", "loops", send={"title": "secret title", "metadata": {"a": "secret"}})).body["id"]
    assert await next_event() == {"action": "created", "loop_id": loop, "state": "absent"}


async def test_events_before_the_start_are_dropped(jp_serverapp: Any) -> None:
    stream: EventStream = jp_serverapp.extension_manager.extension_points["loopat"].app.events
    stream.publish(LoopEvent(action="updated", loop_id="a"))


@pytest.mark.podman
@pytest.mark.lonely
async def test_what_the_command_line_does_arrives(real_image: str, started: Any, api: Any, next_event: Any) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ELSEWHERE), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None

    async def run(*arguments: str) -> str:
        process.stdin.write(json.dumps(arguments).encode() + b"\n")
        async with asyncio.timeout(100):
            said = await process.stdout.readuntil(b"\0")
        told, _, code = said.decode().removesuffix("\0").rpartition("\n")
        assert code == "0", told
        return told

    async def until(**wanted: Any) -> None:
        while not wanted.items() <= (await next_event()).items():
            pass

    await api("GET", "loops")
    await asyncio.sleep(0)
    loop = json.loads(await run("create", "--json", "elsewhere"))["id"]
    await until(action="created", loop_id=loop)
    await run("start", loop)
    await until(action="state", loop_id=loop, state="running")
    await run("stop", loop)
    await until(action="state", loop_id=loop, state="stopped")
    await run("rm", "--yes", loop)
    await until(action="deleted", loop_id=loop)
    process.stdin.close()
    assert await process.wait() == 0
