"""Terminals in a loop: stock Jupyter terminals whose programs run inside a sandbox.

==========  ==============================================================================
`terminal`  `LoopTerminal`: one terminal, from its client process to the end inside
`manager`   `LoopTerminalManager`: which terminals belong to a loop, and how they start
==========  ==============================================================================
"""

from __future__ import annotations

from loopat_jupyter.terminals.manager import LoopTerminalManager, Place
from loopat_jupyter.terminals.terminal import LoopTerminal

__all__ = ["LoopTerminal", "LoopTerminalManager", "Place"]
