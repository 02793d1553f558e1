"""The wheel, installed where no checkout is beside it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import loopat_jupyter

ROOT = Path(__file__).parents[1]
LEAN = str(ROOT / "tests" / "lean")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(Path(sys.executable), "-m", "hatchling", "build", "--target=wheel", f"--directory={folder}", cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with only the wheel in it; its dependencies come from the environment of this test."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    installer = [uv, "pip", "--offline"] if uv.exists() else [sys.executable, "-m", "pip"]
    run(*installer, "install", f"--python={python}", "--no-deps", wheel) if uv.exists() else run(
        *installer, f"--python={python}", "install", "--no-deps", "--no-index", wheel
    )
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def run(program: Path | str, *arguments: Path | str, cwd: Path | None = None, home: Path | None = None) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home or Path.home()), "NO_COLOR": "1", "PYTHONPATH": LEAN}
    argv = [str(part) for part in (program, *arguments)]
    result = subprocess.run(argv, capture_output=True, text=True, cwd=cwd or home, env=environment, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_it_holds_every_file_of_the_package_and_nothing_else(wheel: Path):
    shared = {
        "jupyter-config/server-config": "etc/jupyter/jupyter_server_config.d",
        "loopat_jupyter/labextension": "share/jupyter/labextensions/loopat-jupyter",
        "templates": "share/jupyter/loopat/templates",
    }
    built = ROOT / "loopat_jupyter" / "labextension"
    package = [path for path in files_below(ROOT / "loopat_jupyter") if not path.is_relative_to(built)]
    expected = {path.relative_to(ROOT).as_posix() for path in package}
    for source, target in shared.items():
        expected |= {f"{target}/{path.relative_to(ROOT / source).as_posix()}" for path in files_below(ROOT / source)}
    expected.add("etc/jupyter/jupyter_loopat_config.json")
    expected.add("share/jupyter/labextensions/loopat-jupyter/install.json")
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition(".data/data/")[2] or name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == expected


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]


def test_helpers_that_run_inside_keep_their_executable_bit(installed: Path):
    source = ROOT / "loopat_jupyter" / "sandbox" / "inside"
    executable = {path.name for path in source.iterdir() if os.access(path, os.X_OK)}
    (inside,) = installed.glob("lib/python*/site-packages/loopat_jupyter/sandbox/inside")
    assert {path.name for path in inside.iterdir() if os.access(path, os.X_OK)} == executable
    assert "launch" in executable


def test_the_server_extension_is_enabled_and_loads(installed: Path, tmp_path: Path):
    listed = run(installed / "bin/python", "-m", "jupyter_server.extension.serverextension", "list", home=tmp_path)
    plain = re.sub(r"\x1b\[\d+m", "", listed)
    assert "loopat_jupyter enabled" in plain
    assert f"loopat_jupyter {loopat_jupyter.__version__} OK" in plain


def test_the_command_line_works(installed: Path, tmp_path: Path):
    assert "doctor" in run(installed / "bin/jupyter-loopat", "--help", home=tmp_path)


def test_kernels_are_provisioned_by_the_package(installed: Path, tmp_path: Path):
    code = (
        "from importlib.metadata import entry_points\n"
        "(point,) = entry_points(group='jupyter_client.kernel_provisioners', name='loopat-provisioner')\n"
        "print(point.load().__module__, __import__('loopat_jupyter').__file__)"
    )
    printed = run(installed / "bin/python", "-c", code, home=tmp_path).split()
    assert printed[0].startswith("loopat_jupyter.kernels")
    assert Path(printed[1]).is_relative_to(installed)


def test_templates_are_found_where_the_wheel_put_them(installed: Path, tmp_path: Path):
    code = (
        "from loopat_jupyter.sandbox.template import template_file, template_folder\n"
        "from loopat_jupyter.welcome import welcome_files\n"
        "print(template_folder(), template_file('isolation/seccomp.toml'), *welcome_files(), sep='\\n')"
    )
    printed = [Path(line) for line in run(installed / "bin/python", "-c", code, home=tmp_path).splitlines()]
    assert {path.name for path in printed} == {"sandbox", "seccomp.toml", "welcome.ipynb", "harbour.csv"}
    assert all(path.is_relative_to(installed / "share/jupyter/loopat/templates") for path in printed)


def test_jupyterlab_finds_the_face(installed: Path, tmp_path: Path):
    # JupyterLab would ask node for the settings of yarn, for builds that nobody makes.
    path = f"PATH={LEAN}{os.pathsep}{os.environ['PATH']}"
    listed = run("env", path, installed / "bin/python", "-m", "jupyterlab.labextensions", "list", home=tmp_path)
    plain = re.sub(r"\x1b\[\d+m", "", listed)
    assert re.search(rf"loopat-jupyter v{re.escape(loopat_jupyter.__version__)} enabled OK", plain), plain
