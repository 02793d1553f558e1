"""`jupyter loopat`: a thin edge. Each verb parses, calls the manager once, and prints.

==============  =========================================================================================
`app`           the command group, `main`, and the one place where errors become words and exit codes
`session`       what every verb shares: the manager, the consoles
`waiting`       an event loop that ends cleanly on signals
`text`          pure: sizes, times and changes in words
`views`         pure: tables and sheets from values
`progress`      lines where there is no terminal
`bars`          a bar on a terminal
`references`    which loop a person means; completion of loop names
`variables`     variables for a command, from options and files
`machine`       doctor, build, gc
`making`        create, distill
`looking`       list, show
`deleting`      rm
`choices`       options with which a loop decides for itself
`changing`      set
`sandboxes`     start, stop, recreate, kernelspecs
`inside`        shell, exec
`reference`     writes docs/cli.md
`settings`      writes docs/configuration.md
==============  =========================================================================================
"""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """The `jupyter-loopat` program."""
    try:
        from loopat_jupyter.cli.app import main as program  # noqa: PLC0415 - Ctrl-C may come while it is imported

        program()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("Cancelled.\n")
        sys.exit(130)
