"""Writes `docs/rest.md` from the OpenAPI file.

python -m loopat_jupyter.server.rest_docs > docs/rest.md
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from jupyter_events import yaml

from loopat_jupyter.server.handlers.health import OPENAPI_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

VERBS = ("get", "post", "put", "patch", "delete")

_INTRODUCTION = """\
# REST: loops over HTTP

<!-- Made by `python -m loopat_jupyter.server.rest_docs > docs/rest.md`; change openapi.yaml, not this file. -->

{description}
The same as a file for machines, OpenAPI 3.1: `GET /openapi.yaml`, or
`loopat_jupyter/server/openapi.yaml` in the package.

The examples assume:

```sh
API=http://localhost:8888/loopat/api
AUTH="Authorization: token $TOKEN"      # `jupyter server list` shows the token
LOOP=…                                  # the id of a loop
```
"""


def render(description: Mapping[str, Any]) -> str:
    """The page.

    Args:
        description: The OpenAPI description.
    """
    parts = [_INTRODUCTION.format(description=description["info"]["description"])]
    for tag in description["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}\n")
        parts += [
            _operation(description, verb, path, item)
            for path, item in description["paths"].items()
            for verb in VERBS
            if verb in item and tag["name"] in item[verb]["tags"]
        ]
    parts.append("## Objects\n")
    parts += [_schema(name, schema) for name, schema in sorted(description["components"]["schemas"].items())]
    parts.append(f"## Errors\n\n{description['components']['responses']['Problem']['description']}")
    return "\n".join(parts)


def _operation(description: Mapping[str, Any], verb: str, path: str, item: Mapping[str, Any]) -> str:
    operation = item[verb]
    lines = [f"### {operation['summary']}", "", f"`{verb.upper()} {path}`", ""]
    if "description" in operation:
        lines += [operation["description"].strip(), ""]
    parameters = [
        _resolve(description, entry) for entry in (*item.get("parameters", ()), *operation.get("parameters", ()))
    ]
    queries = [entry for entry in parameters if entry["in"] == "query"]
    if queries:
        rows = ((f"`{entry['name']}`", _kind(entry["schema"]), entry["description"]) for entry in queries)
        lines += [*_table(("query", "type", "meaning"), rows), ""]
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        lines += [f"Body: {_kind(schema)}", ""]
    lines += ["| answer | |", "|---|---|"]
    lines += [_response(status, answer) for status, answer in operation["responses"].items() if status != "default"]
    return "\n".join([*lines, "", "```sh", f"curl {operation['x-curl']}", "```", ""])


def _response(status: str, answer: Mapping[str, Any]) -> str:
    kinds = [_kind(content["schema"]) for content in answer.get("content", {}).values()]
    kind = f"{kinds[0]}: " if kinds and kinds[0] != "string" else ""
    return f"| {status} | {kind}{_cell(answer['description'])} |"


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = (
        (f"`{field}`", _kind(found), "" if field in required else _default(found), found.get("description", ""))
        for field, found in schema["properties"].items()
    )
    table = _table(("field", "type", "default", "meaning"), rows)
    return "\n".join([f"### {name}", "", schema.get("description", ""), "", *table, ""])


def _default(schema: Mapping[str, Any]) -> str:
    if "default" not in schema:
        return "left out"
    value = schema["default"]
    return "`null`" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value!r}`"


def _kind(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    for combination in ("anyOf", "oneOf"):
        if combination in schema:
            return " or ".join(_kind(option) for option in schema[combination])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    kind = str(schema.get("type", "anything"))
    bounds = [f"{sign} {schema[key]}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join([kind, *bounds])


_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    heads = tuple(heads)
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _resolve(description: Mapping[str, Any], entry: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in entry:
        return entry
    found: Any = description
    for key in entry["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return dict(found)


def main() -> None:
    """Print the page."""
    sys.stdout.write(render(yaml.load(OPENAPI_FILE)))


if __name__ == "__main__":
    main()
