"""What holds for the repository as a whole and no linter checks."""

from __future__ import annotations

import ast
import dataclasses
import fnmatch
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "loopat_jupyter"
MODULES = sorted(PACKAGE.rglob("*.py"))

ROWS = (
    {"values", "deadlines", "ending", "wording"},
    {"errors", "models"},
    {"workspace"},
    {"sandbox"},
    {"folders", "repos", "profiles", "project", "agents", "sharing"},
    {"context"},
    {"kernelspecs", "listing"},
    {"creation", "distilling", "losses", "starting"},
    {"cargo"},
    {"vaults"},
    {"household"},
    {"upkeep"},
    {"loops"},
    {"fetching", "outgoing", "shares"},
    {"contents"},
    {"kernels", "attach"},
    {"terminals"},
    {"server", "cli", "welcome"},
)
"""Each row imports only from the rows above it; members of one row do not know each other."""

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50

MAKES_PROCESSES = {
    "sandbox/podman.py": "the one runner of podman",
    "repos/git.py": "git, in folders that no sandbox can write",
    "sandbox/base_image.py": "mmdebstrap, where no image registry is reached",
}
"""Modules that may start a process, and why."""

STARTS_A_PROCESS = re.compile(
    r"\b(subprocess\.(run|Popen|call|check_call|check_output)|create_subprocess_\w+"
    r"|os\.(fork\w*|exec\w+|spawn\w+|posix_spawn\w*|system|popen)|pty\.(fork|spawn)|PtyProcess\w*\.spawn)\b"
)


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@dataclasses.dataclass
class Said:
    """What is looked at of a module."""

    imports: list[ast.Import | ast.ImportFrom]
    functions: list[ast.FunctionDef | ast.AsyncFunctionDef]
    calls: list[str]


@pytest.fixture(scope="module")
def said() -> dict[Path, Said]:
    """Each module of the package is parsed once."""
    found = {}
    for path in MODULES:
        nodes = list(ast.walk(tree(path)))
        found[path] = Said(
            [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)],
            [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)],
            [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)],
        )
    return found


def imported(path: Path, said: Said) -> set[str]:
    """Top-level names inside the package that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in said.imports:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, f"{path} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("loopat_jupyter.")} - {"__version__"}


def row_of(name: str) -> int:
    for number, row in enumerate(ROWS):
        if name in row:
            return number
    pytest.fail(f"loopat_jupyter.{name} has no place in the rows of imports: give it one")


def test_imports_point_upwards(said: dict[Path, Said]):
    upside_down = []
    for path in MODULES:
        own = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if own != "__init__":
            wrong = sorted(name for name in imported(path, said[path]) if name != own and row_of(name) >= row_of(own))
            upside_down += [f"{relative(path)} imports {name} from beside or below" for name in wrong]
    assert upside_down == []


def test_the_order_is_what_the_package_says():
    documented = re.findall(
        r"^((?:`\w+`(?:, )?)+)  ", (PACKAGE / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [set(re.findall(r"\w+", row)) for row in documented] == list(ROWS)


def test_modules_stay_small():
    lines = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MAX_MODULE_LINES} == {}, "two things: split them"


def test_functions_stay_small(said: dict[Path, Said]):
    large = []
    for path in MODULES:
        for node in said[path].functions:
            lines = (node.end_lineno or 0) - node.lineno + 1 - docstring_lines(node)
            if lines > MAX_FUNCTION_LINES:
                large.append(f"{relative(path)}: {node.name}: {lines} lines")
    assert large == []


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    return first.end_lineno - first.lineno + 1 if ast.get_docstring(node) and first.end_lineno else 0


def test_processes_start_in_one_place(said: dict[Path, Said]):
    starts = [relative(path) for path in MODULES if any(map(STARTS_A_PROCESS.search, said[path].calls))]
    assert sorted(starts) == sorted(MAKES_PROCESSES)


def ours() -> list[Path]:
    """Every file of the checkout that git would not ignore."""
    patterns = [".git", ".copied", *(ROOT / ".gitignore").read_text(encoding="utf-8").split()]

    def ignored(name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern.strip("/")) for pattern in patterns)

    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if not ignored(name))
        found += [Path(folder, name) for name in sorted(files) if not ignored(name)]
    return found


THIS_MACHINE = re.compile(r"(?<![\w.$}])/(?:root|work|home/loopat)/")
REGISTRY = re.compile(
    r"registry\.(?:npmjs|yarnpkg)|pypi\.org|pythonhosted\.org|pkg\.dev|deb\.debian\.org|quay\.io|ghcr\.io"
)


def test_nothing_points_to_one_machine_or_one_mirror():
    hits = []
    for path in ours():
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if THIS_MACHINE.search(line) or REGISTRY.search(line):
                hits.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert hits == []


def test_links_between_documents_lead_somewhere():
    broken = []
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = document.read_text(encoding="utf-8")
        targets = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'(?:src|srcset|href)="([^"#]+)"', text)
        local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
        broken += [f"{document.name}: {target}" for target in local if not (document.parent / target).exists()]
    assert broken == []


NUMBERS = [*(f"F{number}" for number in range(1, 21)), *(f"A{number}" for number in range(1, 14))]


def marked() -> dict[str, set[str]]:
    """Tests by the fault or abuse that they show."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("*.py"):
        if not re.search(r"\.(fault|abuse)\(", path.read_text(encoding="utf-8")):
            continue
        for node in ast.walk(tree(path)):
            for mark in getattr(node, "decorator_list", ()):
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) in ("pytest.mark.fault", "pytest.mark.abuse"):
                    (number,) = map(ast.literal_eval, mark.args)
                    assert number[0] == ast.unparse(mark.func)[12].upper(), f"{path}: {number} has the other mark"
                    found.setdefault(number, set()).add(f"{path.relative_to(ROOT).as_posix()}::{node.name}")
    return found


def test_every_fault_and_abuse_has_its_tests_and_they_are_documented():
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([FA]\d+) \|.*\| ([^|]*) \|$", page, re.MULTILINE))
    assert list(rows) == NUMBERS
    documented = {number: set(re.findall(r"`(tests/[^`]+)`", where)) for number, where in rows.items()}
    assert documented == marked()
    assert all(documented.values())
