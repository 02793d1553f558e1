"""JSON schemas of everything that travels over REST, taken from the structs: the components of `openapi.yaml`.

    python -m loopat_jupyter.server.schemas

prints them as the file has them, for whoever changed a struct.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from loopat_jupyter.models import Health, Loop, LoopPage, Promotion, Pushed, Repo, Usage
from loopat_jupyter.server.answers import (
    Agents,
    Contexts,
    Defaults,
    ExitLine,
    Kernelspecs,
    OutputLine,
    Problem,
    ProblemLine,
    Profiles,
    Project,
    Proposals,
    Repos,
    Terminal,
    Vaults,
)
from loopat_jupyter.server.requests import (
    AttachContext,
    ChangeLoop,
    CreateLoop,
    CreateVault,
    MergeProposal,
    OpenTerminal,
    Promote,
    Push,
    RegisterRepo,
    RunCommand,
    SetVariable,
    ShareLoop,
)
from loopat_jupyter.values import Sharing
from loopat_jupyter.vaults import Vault

STRUCTS = (
    Agents,
    AttachContext,
    ChangeLoop,
    Contexts,
    CreateLoop,
    CreateVault,
    Defaults,
    ExitLine,
    Health,
    Kernelspecs,
    Loop,
    LoopPage,
    MergeProposal,
    OpenTerminal,
    OutputLine,
    Problem,
    ProblemLine,
    Profiles,
    Project,
    Promote,
    Promotion,
    Proposals,
    Push,
    Pushed,
    RegisterRepo,
    Repo,
    Repos,
    RunCommand,
    SetVariable,
    ShareLoop,
    Sharing,
    Terminal,
    Usage,
    Vault,
    Vaults,
)


def components() -> dict[str, Any]:
    """The schema of every struct, by name."""
    _, found = msgspec.json.schema_components(
        STRUCTS, schema_hook=_schema_of_path, ref_template="#/components/schemas/{name}"
    )
    return {name: _plain(found[name]) for name in sorted(found)}


def _schema_of_path(kind: type) -> dict[str, Any]:
    if kind is Path:
        return {"type": "string", "format": "path"}
    raise NotImplementedError(kind)


def _plain(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """A schema without the indented prose of docstrings: their first line says what it is."""
    if isinstance(schema, dict):
        plain = {key: _plain(value) for key, value in schema.items()}
        if isinstance(plain.get("description"), str):
            plain["description"] = plain["description"].partition("\n")[0]
        return plain
    return [_plain(entry) for entry in schema] if isinstance(schema, list | tuple) else schema


def main() -> None:
    """Print the components as YAML."""
    from jupyter_events import yaml  # noqa: PLC0415 - a tool of whoever changes the interface

    sys.stdout.write(str(yaml.dumps({"components": {"schemas": components()}})))


if __name__ == "__main__":
    main()
