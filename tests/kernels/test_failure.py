from __future__ import annotations

from loopat_jupyter.errors import ConflictError
from loopat_jupyter.kernels.failure import KernelNotStarted


def test_the_dialog_of_jupyterlab_has_room_for_every_line_and_a_terminal_gets_the_message_as_it_is() -> None:
    message = (
        "'Sales in May' is archived. To use it, choose Unarchive in its menu, below Archived in the Loops panel of "
        "JupyterLab, or run `jupyter loopat unarchive 0b347d59`.\n  two spaces\n\n" + "x" * 100
    )
    told = KernelNotStarted(ConflictError(message))
    lines = (told.log_message or "").split("\n")
    assert lines[-3:] == ["  two spaces", "", "x" * 100]
    assert max(map(len, lines[:-1])) <= 72
    assert " ".join(lines[:3]) == message.split("\n", maxsplit=1)[0]
    assert (told.status_code, str(told)) == (409, message)
