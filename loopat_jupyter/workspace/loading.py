"""`ConfigLoader`: the settings as their files are now, read only when one of the files has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.workspace.config import SITE_CONFIG, load_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loopat_jupyter.workspace.config import Config


class ConfigLoader:
    """Reads the configuration again and again; what it says costs a look at two files while neither has changed.

    Args:
        site_file: The operator's file; may be missing.
    """

    def __init__(self, site_file: Path = SITE_CONFIG) -> None:
        self._site_file = site_file
        self._last: tuple[object, Config | BadInputError] | None = None

    def load(self, workspace_file: Path, environ: Mapping[str, str]) -> Config:
        """As `load_config`; the very same settings as long as the files are the same.

        Raises:
            BadInputError: A file is no TOML or a key has a wrong name or type; names file, line and key.
        """
        stamp = (_stamp(self._site_file), workspace_file, _stamp(workspace_file))
        if self._last is None or self._last[0] != stamp:
            self._last = None
            try:
                found: Config | BadInputError = load_config(workspace_file, environ, self._site_file)
            except BadInputError as error:
                if isinstance(error.__cause__, OSError):
                    # That may end without a change of the file.
                    raise
                found = error
            self._last = stamp, found
        found = self._last[1]
        if isinstance(found, BadInputError):
            raise BadInputError(found.field, found.problem)
        return found


def _stamp(file: Path) -> tuple[int, ...] | None:
    """Changes with a file; None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
