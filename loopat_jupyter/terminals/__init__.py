"""Terminals in a loop: stock Jupyter terminals whose programs run inside a sandbox, and outlive the server there.

===========  ==============================================================================
`flow`       what is written faster than it is read waits where it comes from
`pty`        the terminal that is held inside, over its socket
`terminal`   `LoopTerminal`: one terminal, from before its program runs to the end inside
`opening`    how one opens, with a person who waits for the sandbox
`throttled`  the stock manager, with bounds
`places`     which folder, or which name of a terminal, means which loop
`manager`    `LoopTerminalManager`: opens terminals in loops, and finds those that outlived a server
`handlers`   REST and websockets
===========  ==============================================================================
"""

from __future__ import annotations

from loopat_jupyter.terminals.manager import LoopTerminalManager
from loopat_jupyter.terminals.places import Place
from loopat_jupyter.terminals.terminal import LoopTerminal

__all__ = ["LoopTerminal", "LoopTerminalManager", "Place"]
