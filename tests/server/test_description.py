"""The interface against its own description: what the OpenAPI file allows, and what it forbids, sent to a real server.

A loop that exists is named in half of the requests, so that they get further than "there is no such loop".
"""

from __future__ import annotations

import asyncio
import os
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from loopat_jupyter.server.handlers.health import OPENAPI_FILE
from loopat_jupyter.server.routes import PREFIX
from loopat_jupyter.workspace.paths import Workspace, default_runtime_root
from loopat_jupyter.workspace.records import LoopStore, new_record
from tests.jupyter_process import TOKEN, jupyter_server
from tests.workspace.test_records import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

pytestmark = [pytest.mark.podman, pytest.mark.timeout(600)]

STARTS_SOMETHING = ("start", "recreate", "terminals", "exec", "promote", "push", "fetch", "merge", "cancel", "share")
"""What these do with a loop that exists has tests of its own; here it would take minutes."""


class Served(NamedTuple):
    url: str
    loop_id: str
    session: requests.Session


@pytest.fixture(scope="module")
def description() -> Any:
    import schemathesis

    return schemathesis.openapi.from_path(OPENAPI_FILE)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server from which nothing leaves the machine: its ssh goes nowhere, nor does its proxy."""
    import requests

    folder = tmp_path_factory.mktemp("described")
    nowhere = folder / "bin"
    nowhere.mkdir()
    (nowhere / "ssh").write_text("#!/bin/sh\nexit 255\n")
    (nowhere / "ssh").chmod(0o755)
    workspace = Workspace(folder / "workspace", default_runtime_root(os.getuid()))
    workspace.prepare()
    workspace.config_file.write_text("[context]\nuse = false\n")
    record = new_record(title="There is one", created_by="ada", now=NOW)
    LoopStore(workspace).create(record)
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    environ = {"LOOPAT_HOME": str(workspace.home), "PATH": f"{nowhere}:{os.environ['PATH']}", **proxies}
    with asyncio.Runner() as runner:
        serving = jupyter_server(folder, folder, environ)
        server = runner.run(serving.__aenter__())
        with requests.Session() as session:
            # Nothing is sent but what was thought of: no cookies of the answers before, and through no proxy.
            session.trust_env = False
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            yield Served(server.url, record.id, session)
        runner.run(serving.__aexit__(None, None, None))


def ask_all(request: pytest.FixtureRequest, max_examples: int, methods: str) -> None:
    """Try some operations: the same examples in each run, as many as are worth their time.

    What takes long to import, and what it thinks of, is only where it is tested, not wherever tests are collected.

    Args:
        request: That of the test.
        max_examples: How many are drawn at random for each operation, besides those at its edges.
        methods: A regular expression of the methods of these operations.
    """
    import schemathesis
    from hypothesis import HealthCheck, Phase, settings

    @schemathesis.pytest.from_fixture("description").include(method_regex=methods).parametrize()
    @settings(
        max_examples=max_examples,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def operation(case: Any, served: Served) -> None:
        ask(case, served)

    operation(request=request)


def ask(case: Any, served: Served) -> None:
    """Send what was thought of; the answer is one that the description names."""
    from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

    path = case.operation.path
    if case.path_parameters and "loop_id" in case.path_parameters and not path.endswith(STARTS_SOMETHING):
        names_it = len(str(case.path_parameters["loop_id"])) % 2 == 0
        if names_it and case.method != "DELETE":
            case.path_parameters["loop_id"] = served.loop_id
    case.call_and_validate(
        # What a title or an address means is beyond a schema: 400 may answer what it allows. And that nobody comes in
        # without credentials is shown of every call in test_routes.
        excluded_checks=[positive_data_acceptance, ignored_auth],
        session=served.session,
        base_url=f"{served.url.rstrip('/')}{PREFIX}",
        headers={"Authorization": f"token {TOKEN}"},
        timeout=100,
    )


@pytest.mark.abuse("A13")
def test_questions_are_answered_as_described(request: pytest.FixtureRequest) -> None:
    ask_all(request, 2, "^GET$")


@pytest.mark.abuse("A13")
def test_changes_are_answered_as_described(request: pytest.FixtureRequest) -> None:
    ask_all(request, 4, "^(?!GET$)")
