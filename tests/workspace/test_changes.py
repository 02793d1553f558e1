"""What is told of changes, between processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

from loopat_jupyter.workspace.changes import LARGEST_BYTES, changes_file, tell, told_since

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace

WRITER = """
import sys
from pathlib import Path
from loopat_jupyter.workspace.changes import tell
from loopat_jupyter.workspace.paths import Workspace
workspace = Workspace(Path(sys.argv[1]), Path(sys.argv[2]))
for loop_id in sys.argv[3:]:
    tell(workspace, loop_id)
"""


def test_what_several_processes_tell_is_read_once_and_whole(workspace: Workspace):
    workspace.prepare()
    tell(workspace, str(uuid.uuid4()))
    position, unknown = told_since(workspace, None)
    assert unknown is None
    ids = [[str(uuid.uuid4()) for _ in range(200)] for _ in range(4)]
    where = (str(workspace.home), str(workspace.runtime_root))
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, *where, *each]) for each in ids]
    seen: set[str] = set()
    while [writer for writer in writers if writer.poll() is None]:
        position, told = told_since(workspace, position)
        assert told is not None
        assert not seen & told
        seen |= told
    position, told = told_since(workspace, position)
    assert told is not None
    assert seen | told == {loop_id for each in ids for loop_id in each}
    assert told_since(workspace, position) == (position, frozenset())


def test_a_line_that_is_half_written_is_read_when_it_is_whole(workspace: Workspace):
    workspace.prepare()
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    tell(workspace, first)
    position, _ = told_since(workspace, None)
    with changes_file(workspace).open("ab", buffering=0) as file:
        file.write(f"{first} 1\n{second[:20]}".encode())
        position, told = told_since(workspace, position)
        assert told == {first}
        assert told_since(workspace, position) == (position, frozenset())
        file.write(f"{second[20:]} 2\n".encode())
    assert told_since(workspace, position)[1] == {second}


def test_without_a_runtime_directory_nothing_is_said_and_nothing_fails(workspace: Workspace):
    shutil.rmtree(workspace.runtime)
    tell(workspace, str(uuid.uuid4()))
    assert told_since(workspace, None) == (None, None)
    workspace.prepare()
    position, _ = told_since(workspace, None)
    shutil.rmtree(workspace.runtime)
    assert told_since(workspace, position) == (None, None)


def test_another_file_is_told_from_the_one_that_was_read(workspace: Workspace):
    workspace.prepare()
    loop_id = str(uuid.uuid4())
    position, told = told_since(workspace, None)
    for _ in range(3):
        # The same lines in a file that may well have the number of the old one.
        tell(workspace, loop_id)
        position, told = told_since(workspace, position)
        assert told is None
        tell(workspace, loop_id)
        position, told = told_since(workspace, position)
        assert told == {loop_id}
        changes_file(workspace).unlink()
        tell(workspace, loop_id)
        tell(workspace, loop_id)
        os.truncate(changes_file(workspace), 0)


def test_the_file_stays_small(workspace: Workspace):
    workspace.prepare()
    loop_id = str(uuid.uuid4())
    tell(workspace, loop_id)
    position, _ = told_since(workspace, None)
    with changes_file(workspace).open("ab") as file:
        file.write(b"\n" * LARGEST_BYTES)
    tell(workspace, loop_id)
    tell(workspace, loop_id)
    assert changes_file(workspace).stat().st_size < 100
    # Who reads now looks at everything, and from then on at what is told.
    position, told = told_since(workspace, position)
    assert told is None
    tell(workspace, loop_id)
    assert told_since(workspace, position)[1] == {loop_id}
