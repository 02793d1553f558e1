"""The face's sources against the interface that they call."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jupyterlab_server.translation_utils import translator

ROOT = Path(__file__).parents[2]
FACE = ROOT / "labextension"
TIMEOUT_S = 240


def node(*arguments: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["node", *arguments],
        cwd=FACE,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_its_types_are_those_of_the_openapi_file(tmp_path: Path) -> None:
    target = tmp_path / "openapi.ts"
    interface = str(ROOT / "loopat_jupyter" / "server" / "openapi.yaml")
    node("node_modules/openapi-typescript/bin/cli.js", interface, "--output", str(target))
    # Written in the face's own style.
    config = {"singleQuote": True, "trailingComma": "none", "arrowParens": "avoid"}
    (tmp_path / ".prettierrc.json").write_text(json.dumps(config))
    node("node_modules/prettier/bin/prettier.cjs", "--write", str(target))
    assert target.read_text() == (FACE / "src" / "openapi.ts").read_text(), "run `jlpm generate` in labextension/"


def kept(tool: str, *patterns: str) -> tuple[str, ...]:
    """Have a tool keep what it found good, by content, for as long as other files that it looks into stay the same."""
    found = sorted(path for pattern in patterns for path in FACE.glob(pattern))
    key = hashlib.sha256(b"\0".join(path.read_bytes() for path in found)).hexdigest()[:16]
    return ("--cache", "--cache-strategy=content", f"--cache-location={ROOT}/.artefacts/lint/{tool}-{key}")


@pytest.mark.parametrize(
    "arguments",
    [
        ("prettier/bin/prettier.cjs", "--check", ".", *kept("prettier", "yarn.lock")),
        # What it says of a file depends on the types of the others.
        ("eslint/bin/eslint.js", ".", *kept("eslint", "yarn.lock", "*.json", "*.mjs", "src/**/*.ts*", "test/**/*.ts*")),
        ("stylelint/bin/stylelint.mjs", "style/**/*.css", *kept("stylelint", "yarn.lock")),
    ],
    ids=lambda arguments: arguments[0].partition("/")[0],
)
def test_it_is_in_the_projects_style(arguments: tuple[str, ...]) -> None:
    node(f"node_modules/{arguments[0]}", *arguments[1:])


def test_its_settings_are_translated_by_its_own_language_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pack:
        def __init__(self, domain: str) -> None:
            self._domain = domain

        def pgettext(self, _: str, text: str) -> str:
            return f"{self._domain}: {text}"

    monkeypatch.setattr(translator, "_LOCALE", "de_DE")
    monkeypatch.setattr(translator, "load", Pack)
    schema = translator.translate_schema(json.loads((FACE / "schema" / "face.json").read_text()))
    (domain,) = re.findall(r"^const DOMAIN = '(\w+)';$", (FACE / "src" / "index.ts").read_text(), re.MULTILINE)
    assert schema["properties"]["side"]["title"] == f"{domain}: Side of the panel"


def test_its_pure_parts() -> None:
    node("node_modules/vitest/vitest.mjs", "run")
