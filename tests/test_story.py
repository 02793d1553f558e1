"""A person's day in a loop: one real server, one real notebook, one real terminal, one container."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.jupyter_process import LEAN, jupyter_server

if TYPE_CHECKING:
    from loopat_jupyter.loops import LoopManager

pytestmark = [pytest.mark.podman, pytest.mark.timeout(600)]

DATA = Path(__file__).parent / "data" / "bicycles.csv"

ANALYSIS = """
import matplotlib
matplotlib.use("agg")
import pandas as pd
counts = pd.read_csv("bicycles.csv", parse_dates=["date"])
monthly = counts.pivot_table(index=counts["date"].dt.month, columns="counter", values="bicycles", aggfunc="sum")
axes = monthly.plot(kind="bar", title="Bicycles per month")
axes.figure.savefig("monthly.png")
monthly.to_csv("monthly.csv")
print("busiest month:", monthly.sum(axis=1).idxmax(), "rows:", len(counts))
"""

REPORT = """
import os, socket
from pathlib import Path
print(socket.gethostname(), os.getcwd(), "months:", len(Path("monthly.csv").read_text().splitlines()) - 1)
print(os.environ.get("TOKEN"), os.environ.get("CANARY"))
"""


def notebook(*sources: str, kernel: str = "python3") -> dict[str, object]:
    cells = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "source": source,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(sources)
    ]
    spec = {"name": kernel, "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}


async def run(*command: str, cwd: Path, environ: dict[str, str]) -> str:
    env = {name: value for name, value in {**os.environ, **environ, "PYTHONPATH": str(LEAN)}.items() if value}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output


async def test_a_day_in_a_loop(manager: LoopManager, sandbox_image: str, tmp_path: Path):
    workspace = manager.workspace
    environ = {
        "LOOPAT_HOME": str(workspace.home),
        "LOOPAT_SANDBOX_IMAGE": sandbox_image,
        "JUPYTER_DATA_DIR": str(tmp_path / "jupyter-data"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "jupyter-runtime"),
    }
    async with jupyter_server(tmp_path, workspace.loops, environ, faces=True, fresh=True) as server:
        made = await server.api("POST", "loopat/api/loops", {"title": "Bicycles"})
        assert made.status == 201, made.body
        loop = made.body
        kept = await server.api("PUT", "loopat/api/vaults/default/variables/TOKEN", {"value": "of the vault"})
        assert kept.status == 204, kept.body
        workdir = Path(loop["workdir"])
        shutil.copy(DATA, workdir)
        (workdir / "analysis.ipynb").write_text(json.dumps(notebook(ANALYSIS)))

        path = f"{loop['id']}/workdir/analysis.ipynb"
        session = await server.api(
            "POST",
            "api/sessions",
            {"path": path, "name": "analysis", "type": "notebook", "kernel": {"name": "python3"}},
        )
        assert session.status == 201, session.body
        async with server.kernel(session.body["kernel"]["id"]) as kernel:
            installed = await kernel.run("%pip install --quiet pandas matplotlib")
            assert installed.status == "ok", installed.text
            # Most of an installation's time would go into byte code that nobody asks for.
            (kept,) = workspace.loop_home(loop["id"]).glob(".local/lib/*/site-packages/pandas/tests")
            assert not list(kept.glob("**/*.pyc"))
            analysed = await kernel.run(ANALYSIS)
            assert analysed.status == "ok", analysed.text
            assert analysed.text == "busiest month: 7 rows: 730\n"
            where = await kernel.run("import os, socket; print(socket.gethostname(), os.getcwd(), os.getpid())")
            host, folder, pid = where.text.split()
            assert host == f"loop-{loop['id'][:8]}"
            assert folder == f"/loopat/loop/{loop['id']}/workdir"

            terminal = await server.api("POST", "api/terminals", {"cwd": f"{loop['id']}/workdir"})
            assert terminal.status == 200, terminal.body
            async with server.terminal(terminal.body["name"]) as shell:
                assert host in await shell.run("hostname")
                processes = await shell.run("ps -e -o pid= -o args= | cat")
                assert any(
                    line.split()[0] == pid and "ipykernel" in line for line in processes.splitlines() if line.strip()
                )
                assert "pandas 3" in await shell.run("""python3 -c 'import pandas; print("pandas", 3)'""")
                assert "bridge" in await shell.run("head -1 monthly.csv")
                assert "PNG image" in await shell.run("file monthly.png")

        for step in ("stop", "start", "recreate"):
            answer = await server.api("POST", f"loopat/api/loops/{loop['id']}/{step}")
            assert answer.status == 200, answer.body
            assert answer.body["state"] == ("stopped" if step == "stop" else "running")
        session = await server.api(
            "POST", "api/sessions", {"path": path, "name": "again", "type": "notebook", "kernel": {"name": "python3"}}
        )
        async with server.kernel(session.body["kernel"]["id"]) as kernel:
            # What was installed is still there, and so is what was made with it.
            again = await kernel.run('import pandas; print(pandas.read_csv("monthly.csv").shape)')
            assert (again.status, again.text) == ("ok", "(12, 3)\n")

    specs = json.loads(
        await run(sys.executable, "-m", "jupyter", "kernelspec", "list", "--json", cwd=tmp_path, environ=environ)
    )
    (name,) = [name for name in specs["kernelspecs"] if name.endswith(f"-{loop['id'][:8]}-python3")]
    # Outside every loop; only the kernelspec says which workspace it is, and only the vault what is known inside.
    (tmp_path / "report.ipynb").write_text(json.dumps(notebook(REPORT, kernel=name)))
    elsewhere = {**environ, "LOOPAT_HOME": "", "TOKEN": "of the host", "CANARY": "sings"}
    converting = run(
        sys.executable, "-m", "jupyter", "nbconvert", "--execute", "--to", "notebook", "--output", "converted.ipynb",
        "report.ipynb", cwd=tmp_path, environ=elsewhere,
    )  # fmt: skip
    milling = run("papermill", "--kernel", name, "report.ipynb", "milled.ipynb", cwd=tmp_path, environ=elsewhere)
    await asyncio.gather(converting, milling)
    for result in ("converted.ipynb", "milled.ipynb"):
        (cell,) = json.loads((tmp_path / result).read_text())["cells"][-1:]
        told = "".join("".join(output["text"]) for output in cell["outputs"])
        assert told == f"{host} {folder} months: 12\nof the vault None\n", result
