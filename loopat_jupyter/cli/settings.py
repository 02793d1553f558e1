"""Writes docs/configuration.md from the schema: `python -m loopat_jupyter.cli.settings > docs/configuration.md`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import msgspec

from loopat_jupyter.workspace.config import OVERRIDES, SITE_CONFIG, Config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEAD = f"""\
# Configuration: config.toml

<!-- Written by `python -m loopat_jupyter.cli.settings > docs/configuration.md`; a test compares. -->

Settings are TOML. They come from four places; each wins over those before it:

1. the defaults below,
2. the site's file, `{SITE_CONFIG}`, which belongs to whoever runs the machine,
3. the workspace's file, `config.toml` in the workspace's folder (`~/.loopat`, or where `LOOPAT_HOME` says),
4. environment variables, for the keys that name one below.

Tables are merged key by key: a workspace that sets `image.base` keeps the site's `image.suite`. A key with a wrong
name or type is refused with the name of the file and the key; nothing is guessed.

What shapes a container comes from these files alone, so that JupyterLab, the command line and `nbconvert` agree on it.
They count as soon as they are written, also for a Jupyter server that runs; only `podman_bin`, `podman_parallel` and
variables count from its next start. A server to which a file is wrong logs that, and goes on with what it read before.

A running sandbox whose settings changed is marked "recreate needed". It is replaced when the loop is used next, unless
a kernel, terminal or command runs in it; what runs in the background, as with `nohup`, does not count and ends then.
Otherwise it keeps running until `jupyter loopat recreate` applies the settings.

## Keys that a workspace may not change

`fixed`, in the site's file only, lists keys for which neither the workspace's file nor the environment counts, nor what
a loop would choose for itself (its network, isolation, `/tmp`, resources and image):

```toml
# {SITE_CONFIG}
fixed = ["image", "network"]
network = "bridge"

[image]
use = "registry.example.org/sandbox:bookworm"
```

Naming a table (`"image"`) fixes all its keys. A fixed key that the site does not set has its default. The image that a
loop names for itself (`create --image`) is a choice of `image.use`: where only `"image.base"` is fixed, loops still run
any image.

`fixed` is no security boundary. It binds loops, not accounts: a person may call podman directly, with any image,
network and limit. What an account must not be able to do is for the system to prevent, with a firewall, quotas and
limits of its own.

## Where the workspace is

| variable | does | default |
|---|---|---|
| `LOOPAT_HOME` | folder of the workspace, an absolute path | `~/.loopat` |

## Who works there

Vaults, the personal context and the personal tier belong to a *member*, by name. The first of these counts:

1. `c.LoopatApp.member` in the configuration of the Jupyter server, for that server,
2. `JUPYTERHUB_USER`, which a Hub sets,
3. the file `member` in the workspace's folder,
4. the name of the account.

The name under which a loop or a vault is made first is written to that file. So a shell outside the Hub has what was
made in JupyterLab, also where the Hub calls somebody other than their account. To change the name, edit the file; what
was made under the old one stays with it, in `members/`.
"""

_EXAMPLE = """
## Example

```toml
# ~/.loopat/config.toml
idle_timeout_s = 7200
shell = "fish"

[image]
use = "localhost/my-sandbox:latest"

[[mounts]]
source = "~/data"
target = "~/data"
```
"""


def reference() -> str:
    """The whole page."""
    schema = msgspec.json.schema(Config)
    sections = list(_sections(schema["$defs"]))
    return "\n".join((_HEAD, *sections)) + _EXAMPLE


def _sections(definitions: Mapping[str, Any]) -> Iterator[str]:
    tables: dict[str, Any] = {}
    lists: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for key, value in definitions["Config"]["properties"].items():
        kind = tables if "$ref" in value else lists if "$ref" in value.get("items", {}) else plain
        kind[key] = value
    yield f"## Keys outside any table\n\n{_keys((), plain)}"
    for name, value in tables.items():
        table = definitions[value["$ref"].rpartition("/")[2]]
        _, _, about = table["description"].partition(": ")
        yield f"## `[{name}]`\n\n{_capital(about or table['description'])}\n\n{_keys((name,), table['properties'])}"
    for name, value in lists.items():
        entry = definitions[value["items"]["$ref"].rpartition("/")[2]]
        about = f"{_capital(value['description'])} One such table for each."
        yield f"## `[[{name}]]`\n\n{about}\n\n{_keys((name,), entry['properties'])}"


def _keys(path: tuple[str, ...], properties: Mapping[str, Any]) -> str:
    variables = {keys: variable for variable, keys in OVERRIDES.items()}
    rows = ["| key | type | default | does | variable |", "|---|---|---|---|---|"]
    for key, value in properties.items():
        variable = variables.get((*path, key))
        cells = (
            f"`{key}`",
            type_text(value),
            _default(value),
            _capital(value["description"]),
            f"`{variable}`" if variable else "",
        )
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _default(schema: Mapping[str, Any]) -> str:
    if "default" not in schema:
        return "needed"
    return "" if schema["default"] is None else f"`{json.dumps(schema['default'])}`"


def type_text(schema: Mapping[str, Any]) -> str:
    """The type of a key in words.

    Args:
        schema: Its JSON schema.
    """
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "anyOf" in schema:
        return type_text(next(kind for kind in schema["anyOf"] if kind.get("type") != "null"))
    words = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", "string": "text"}
    if "additionalProperties" in schema:
        return f"table of {type_text(schema['additionalProperties'])}"
    if schema["type"] == "array":
        return f"list of {type_text(schema['items'])}"
    text = words[schema["type"]]
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        text += f", more than {schema['exclusiveMinimum']}"
    if low is not None:
        text += f", {low} to {high}" if high is not None else f", {low} or more"
    return text


def _capital(text: str) -> str:
    """A description as a sentence; one that begins with code stays as it is."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
