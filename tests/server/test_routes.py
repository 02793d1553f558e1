"""Every route from the table, against the description and against callers who may not come in."""

from __future__ import annotations

import asyncio
import json
import re
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml
from jupyter_server.auth import Authorizer
from traitlets import List

from loopat_jupyter.contents.handlers import handlers as drive_handlers
from loopat_jupyter.sandbox.podman import DEFAULT_TIMEOUT_S, Podman
from loopat_jupyter.server.handlers.health import OPENAPI_FILE
from loopat_jupyter.server.routes import PREFIX, ROUTES, handlers
from loopat_jupyter.server.schemas import components
from loopat_jupyter.workspace.unmade import forget_unmade
from tests.conftest import add_loop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.workspace.paths import Workspace

VERBS = ("get", "post", "put", "patch", "delete", "head")
LOOP = "8c5a9ba2-6f3e-4c6f-9d5a-0d4f5b6c7d8e"
EXAMPLES = {"kind": "notes"}
"""Values of parameters in paths that are looked at more closely than a name is."""


class Call(NamedTuple):
    """One verb of one path."""

    verb: str
    path: str

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


def calls() -> Iterator[Call]:
    for route in ROUTES:
        for verb in VERBS:
            if verb in vars(route.handler):
                yield Call(verb, route.path)
    for verb in ("get", "post", "put", "patch", "delete"):
        yield Call(verb, "/no/such/path")


CALLS = list(calls())


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return yaml.safe_load(OPENAPI_FILE.read_text(encoding="utf-8"))


def test_the_description_is_valid(described: dict[str, Any]) -> None:
    from openapi_spec_validator import validate

    validate(described)


def test_every_route_and_verb_is_described_and_every_described_one_is_there(described: dict[str, Any]) -> None:
    paths = described["paths"]
    assert {Call(verb, path) for path, item in paths.items() for verb in item if verb in VERBS} == {
        call for call in CALLS if call.path != "/no/such/path"
    }


def test_schemas_are_those_of_the_structs(described: dict[str, Any]) -> None:
    assert described["components"]["schemas"] == components(), (
        "Put the output of `python -m loopat_jupyter.server.schemas` into openapi.yaml."
    )


def test_parameters_in_paths_are_those_of_the_handlers(described: dict[str, Any]) -> None:
    paths = described["paths"]
    parameters = described["components"]["parameters"]
    for path, item in paths.items():
        names = [parameters[found["$ref"].rpartition("/")[2]] for found in item.get("parameters", [])]
        assert {found["name"] for found in names if found["in"] == "path"} == set(re.findall(r"{(\w+)}", path))


def test_the_server_knows_all_handlers(jp_serverapp: Any) -> None:
    groups = jp_serverapp.web_app.default_router.rules
    known = [rule.matcher.regex.pattern for group in groups for rule in getattr(group.target, "rules", ())]
    drive = {pattern for pattern, _ in drive_handlers()}
    ours = [pattern for pattern in known if PREFIX in pattern and not pattern.removesuffix("$").endswith(tuple(drive))]
    assert len(ours) == len(handlers())
    assert all(found.endswith(f"{pattern}$") for found, (pattern, _) in zip(ours, handlers(), strict=True))


async def send(client: Any, base: str, call: Call, *, loop_id: str = LOOP, body: bytes = b"{}", **options: Any) -> Any:
    examples = {**EXAMPLES, "loop_id": loop_id}
    path = base.rstrip("/") + PREFIX + re.sub(r"{(\w+)}", lambda found: examples.get(found[1], "x"), call.path)
    query = options.pop("query", "")
    return await client.fetch(
        path + query,
        method=call.verb.upper(),
        body=body if call.verb in ("post", "put", "patch") else None,
        raise_error=False,
        follow_redirects=False,
        **options,
    )


@pytest.mark.abuse("A7")
async def test_nobody_comes_in_without_credentials(
    jp_serverapp: Any, http_server_client: Any, jp_base_url: str
) -> None:
    attempts: tuple[dict[str, Any], ...] = (
        {},
        {"headers": {"Authorization": "token wrong"}},
        {"query": "?token=wrong"},
        {"headers": {"Cookie": "username-localhost=me; _xsrf=1"}},
    )
    for call in CALLS:
        answers = [await send(http_server_client, jp_base_url, call, **attempt) for attempt in attempts]
        assert [answer.code for answer in answers] == [403] * len(attempts), call
        assert answers[0].headers["Content-Type"].startswith("application/json"), call


async def test_the_token_is_taken_from_header_and_query(
    jp_serverapp: Any, http_server_client: Any, jp_base_url: str, jp_auth_header: dict[str, str]
) -> None:
    token = jp_serverapp.identity_provider.token
    for call in CALLS:
        by_header = await send(http_server_client, jp_base_url, call, headers=jp_auth_header)
        by_query = await send(http_server_client, jp_base_url, call, query=f"?token={token}")
        assert by_header.code == by_query.code, call
        assert by_header.code not in (401, 403, 405, 500), call


@pytest.mark.abuse("A8")
async def test_a_cookie_alone_changes_nothing(jp_serverapp: Any, http_server_client: Any, jp_base_url: str) -> None:
    token = jp_serverapp.identity_provider.token
    login = await http_server_client.fetch(f"{jp_base_url}api/status?token={token}")
    cookie = SimpleCookie()
    for header in login.headers.get_list("Set-Cookie"):
        cookie.load(header)
    jar = {"Cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in cookie.items())}
    foreign = {**jar, "Referer": "http://evil.example/", "Origin": "http://evil.example"}
    for call in CALLS:
        answer = await send(http_server_client, jp_base_url, call, headers=jar)
        elsewhere = await send(http_server_client, jp_base_url, call, headers=foreign)
        assert elsewhere.code in (403, 404), call
        assert (answer.code not in (401, 403)) if call.verb == "get" else (answer.code == 403), call


class Deny(Authorizer):
    """Lets nobody do anything, and remembers what was asked."""

    asked = List()

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        self.asked = [*self.asked, (action, resource)]
        return False


class TestDenied:
    @pytest.fixture
    def jp_server_config(self, jp_server_config: dict[str, Any]) -> dict[str, Any]:
        jp_server_config["ServerApp"]["authorizer_class"] = Deny
        return jp_server_config

    @pytest.mark.abuse("A7")
    async def test_the_authorizer_is_asked(
        self, jp_serverapp: Any, http_server_client: Any, jp_base_url: str, jp_auth_header: dict[str, str]
    ) -> None:
        for call in CALLS:
            jp_serverapp.authorizer.asked = []
            answer = await send(http_server_client, jp_base_url, call, headers=jp_auth_header)
            assert answer.code == 403, call
            action = "read" if call.verb == "get" else "write"
            if call.path.endswith(("/exec", "/terminals", "/promote", "/push")):
                action = "execute"
            assert jp_serverapp.authorizer.asked == [(action, "loopat")], call


class NoTerminals(Authorizer):
    """Lets everybody do everything, but open a terminal."""

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        return resource != "terminals"


class TestNoTerminals:
    @pytest.fixture
    def jp_server_config(self, jp_server_config: dict[str, Any]) -> dict[str, Any]:
        jp_server_config["ServerApp"]["authorizer_class"] = NoTerminals
        return jp_server_config

    async def test_who_may_open_no_terminal_opens_none_in_a_loop(
        self, jp_serverapp: Any, http_server_client: Any, jp_base_url: str, jp_auth_header: dict[str, str]
    ) -> None:
        refused = await send(
            http_server_client, jp_base_url, Call("post", "/loops/{loop_id}/terminals"), headers=jp_auth_header
        )
        assert refused.code == 403
        other = await send(
            http_server_client, jp_base_url, Call("get", "/loops/{loop_id}/kernelspecs"), headers=jp_auth_header
        )
        assert other.code == 404


BODIES = {
    "post /loops": {"title": "a"},
    "patch /loops/{loop_id}": {"title": "b"},
    "post /loops/{loop_id}/exec": {"argv": ["true"]},
    "post /loops/{loop_id}/promote": {"context": "notes"},
    "put /loops/{loop_id}/share": {"mode": "static"},
    "post /proposals/{kind}/{loop_id}/merge": {"commit": "0" * 40},
    "put /repos/{name}": {"url": "/no/such/repo"},
    "put /contexts/{kind}": {"remote": "/no/such/repo"},
    "post /vaults": {"name": "new"},
    "put /vaults/{vault}/variables/{variable}": {"value": "x"},
}
NEED_PODMAN = {
    "get /loops",
    "get /loops/{loop_id}",
    "patch /loops/{loop_id}",
    "delete /loops/{loop_id}",
    "post /loops/{loop_id}/start",
    "post /loops/{loop_id}/stop",
    "post /loops/{loop_id}/recreate",
    "post /loops/{loop_id}/cancel",
    "post /loops/{loop_id}/terminals",
    "post /loops/{loop_id}/exec",
    "put /loops/{loop_id}/share",
}
"""Calls that cannot do without podman; all others work, or are refused for a reason of their own."""

KNOWN_TO_OLD = {"get /loops", "get /loops/{loop_id}", "patch /loops/{loop_id}", "post /loops/{loop_id}/cancel"}
"""What a podman that is too old can do as well."""

STOCK = ("contents", "kernels", "kernelspecs", "sessions", "terminals", "status")
OLD = """case $1 in
version) echo 4.2.0 ;;
ps) echo '[]' ;;
inspect) echo '[{"Id": "1"}]'; echo 'Error: no such object' >&2; exit 125 ;;
image) echo 1 ;;
*) echo 'Error: unknown flag' >&2; exit 125 ;;
esac"""
PODMANS = {
    "missing": (None, 503, "engine_unavailable", "jupyter loopat doctor"),
    "not executable": ("", 503, "engine_unavailable", "jupyter loopat doctor"),
    "too old": (OLD, 503, "engine_unavailable", "version 4.2.0 is older than 4.3. Run `jupyter loopat doctor`"),
    "hanging": ("exec sleep 1000", 504, "engine_timeout", "end it, and try again"),
}
"""What stands in podman's place, and what calls that need podman answer: status, reason and words."""

DEADLINE_S = 0.5
PAUSE_S = 0.05
"""Between questions to the server itself, while podman is waited for."""


@pytest.mark.fault("F7")
@pytest.mark.fault("F8")
class TestBrokenPodman:
    @pytest.fixture(params=PODMANS)
    def kind(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def jp_environ(
        self, jp_environ: None, kind: str, tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        podman, script = tmp_path / "podman", PODMANS[kind][0]
        if script is not None:
            podman.write_text(f"#!/bin/sh\n{script}\n")
            podman.chmod(0o755 if script else 0o644)
        monkeypatch.setenv("LOOPAT_PODMAN_BIN", str(podman))
        monkeypatch.setenv("LOOPAT_SANDBOX_IMAGE", "localhost/image:latest")
        run = Podman.run

        async def run_briefly(self: Podman, *arguments: str, timeout_s: float = DEFAULT_TIMEOUT_S, **rest: Any) -> Any:
            return await run(self, *arguments, timeout_s=min(timeout_s, DEADLINE_S), **rest)

        # Every call has a deadline; here all of them are short.
        monkeypatch.setattr(Podman, "run", run_briefly)

    @pytest.fixture
    def ask(
        self, http_server_client: Any, jp_base_url: str, jp_auth_header: dict[str, str], workspace: Workspace
    ) -> Any:
        """Makes a call, of a loop of its own."""

        async def ask(call: Call) -> Any:
            loop_id, body = add_loop(workspace, "a").id, json.dumps(BODIES.get(str(call), {})).encode()
            # Of one that was never started podman need not be asked.
            forget_unmade(workspace, loop_id)
            return await send(http_server_client, jp_base_url, call, headers=jp_auth_header, loop_id=loop_id, body=body)

        return ask

    async def test_every_route_answers_and_jupyter_works_on(
        self, kind: str, started: Any, ask: Any, jp_fetch: Any
    ) -> None:
        _, status, reason, words = PODMANS[kind]
        asked = asyncio.gather(*map(ask, CALLS))
        while not asked.done():
            for name in STOCK:
                assert (await jp_fetch("api", name)).code == 200
            await asyncio.wait([asked], timeout=PAUSE_S)
        refused = set()
        for call, answer in zip(CALLS, await asked, strict=True):
            if answer.code in (500, 503, 504):
                problem = json.loads(answer.body)
                assert (answer.code, problem["reason"]) == (status, reason), (call, problem)
                assert words in problem["message"]
                refused.add(str(call))
        assert refused == NEED_PODMAN - (KNOWN_TO_OLD if kind == "too old" else set())


def test_the_description_is_in_the_package() -> None:
    assert OPENAPI_FILE.parent == Path(__file__).parents[2] / "loopat_jupyter" / "server"


@pytest.mark.parametrize("path", ["/loops/%ff", "/loops/%ff/start"])
async def test_an_address_that_is_no_text_is_a_problem_like_any_other(
    http_server_client: Any, jp_base_url: str, jp_auth_header: dict[str, str], path: str
) -> None:
    answer = await http_server_client.fetch(
        jp_base_url.rstrip("/") + PREFIX + path, headers=jp_auth_header, raise_error=False
    )
    assert answer.code in (400, 405)
    assert set(json.loads(answer.body)) >= {"message", "reason", "code"}
