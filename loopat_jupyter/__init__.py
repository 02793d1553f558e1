"""Loops for JupyterLab: real, separate environments that outlive a kernel.

A *loop* is a unit of work with its own checkout, home, toolchain and one long-lived rootless podman container, its
*sandbox*. Notebooks, consoles, terminals and commands of a loop are siblings inside that container.

Each row imports only from the rows above it:

===========================  ==========================================================================
`values`, `deadlines`, `ending`, `wording`  what a loop shares, as frozen values; deadlines that hold in any task; the
                             end of processes; what is wrong with a value, in plain words
`errors`, `models`           the error tree; frozen values that travel between the layers
`workspace`                  files of a workspace: paths, configuration, records, locks, atomic writes
`sandbox`                    `plan` (pure argv and hash), `podman` (the one runner), `images`,
                             `lifecycle`, `process` (pids and signals inside), `activity`, `preflight`
`folders`, `repos`, `profiles`, `project`, `agents`, `sharing`  where in a loop a person wants to be; what it is made
                             with: git repositories, toolchain and agents' settings; what its project asks for;
                             agents; what shows loops to others
`context`                    knowledge, notes and personal files that loops bring along and give back
`kernelspecs`, `listing`     kernels of loops as any Jupyter client knows them; loops page by page
`creation`, `distilling`, `losses`, `starting`  a loop made whole; its sandbox brought up
`cargo`                      what loops carry, ready made
`vaults`                     credentials, and the variables that processes get of them
`household`                  what a workspace consists of, by the settings of now
`upkeep`                     order among all loops
`loops`                      `LoopManager`: the verbs a person knows
`fetching`, `outgoing`, `shares`  repos fetched late; promoted contexts, pushed branches; what is shown to others
`contents`                   files of loops as JupyterLab shows them
`kernels`, `attach`          the kernel provisioner; a person's own terminal, inside
`terminals`                  Jupyter's terminals, inside
`server`, `cli`, `welcome`   thin edges: REST and events, `jupyter loopat`, the first loop
===========================  ==========================================================================
"""

from __future__ import annotations

__version__ = "0.1.0"


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "loopat-jupyter"}]


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    from loopat_jupyter.server.app import LoopatApp  # noqa: PLC0415 - the server alone pays for it

    return [{"module": "loopat_jupyter", "app": LoopatApp}]
