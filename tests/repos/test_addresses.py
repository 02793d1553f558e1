"""What counts as a repo and as a ref."""

from __future__ import annotations

import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.repos.addresses import (
    check_address,
    check_name,
    check_ref,
    host,
    is_name,
    local_path,
    short_name,
    shown,
)
from loopat_jupyter.repos.mirrors import mirror_name

GOOD = [
    "https://example.org/team/web.git",
    "ssh://ada@example.org/web",
    "http://127.0.0.1:8080/web.git",
    "ssh://git@example.org:2222/team/web.git",
    "git@example.org:team/web.git",
    "example.org:web",
    "git://example.org/web",
    "file:///srv/git/web.git",
    "/srv/git/web.git",
    "https://example.org/münchen.git",
]
BAD = [
    "",
    "-v",
    "--upload-pack=touch x",
    "ext::sh -c touch",
    "ext::sh%20-c",
    "fd::17",
    "https://ada:secret@example.org/web.git",
    "https://secret@example.org/web.git",
    "http://secret@example.org/web.git",
    "https://example.org/web.git?access_token=secret",
    "https://example.org/web.git#secret",
    "ssh://ada:secret@example.org/web.git",
    "https://@example.org/web.git",
    "https://",
    "https:///web",
    "https://-oProxyCommand=x/web",
    "ssh://-oProxyCommand=x/web",
    "ssh://example.org/",
    "-oProxyCommand=x:web",
    "host:-web",
    "ftp://example.org/web",
    "file://example.org/web",
    "file:web",
    "https://example.org/../web",
    "file:///srv/%2e%2e/etc",
    "/srv/../etc",
    "../web",
    "a b",
    "https://example.org/a\nb",
    "https://example.org/a\0b",
    "https://example.org:port/a",
    "https://example.org/" + "a" * 3000,
    "https://example.org/\u202egpj.git",
]


@pytest.mark.parametrize("address", GOOD)
def test_addresses(address: str):
    assert check_address(address) == address


@pytest.mark.parametrize("address", BAD)
def test_no_addresses(address: str):
    with pytest.raises(BadInputError) as caught:
        check_address(address)
    assert caught.value.field == "repo"
    assert "secret" not in caught.value.message


def test_where_a_secret_belongs_instead():
    with pytest.raises(BadInputError, match="put an ssh key into the `.ssh` of a vault"):
        check_address("https://x-access-token@example.org/web.git")


@pytest.mark.parametrize("name", ["web", "web-2", "a.b_c", "0"])
def test_names(name: str):
    assert check_name(name) == name
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "-v", "Web", "../x", "a/b", "a..b", "a\0", "a\n", "\uff41", "x" * 65, ".git"])
def test_no_names(name: str):
    with pytest.raises(BadInputError):
        check_name(name)


@pytest.mark.parametrize("ref", ["main", "feature/x", "v1.2", "a" * 40, "münchen", "x_y", "@x"])
def test_refs(ref: str):
    assert check_ref(ref) == ref


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "-v",
        "a..b",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a@{1}",
        "@",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.lock",
        "a.",
        "a\n",
        "a\x00",
        "*",
        "a?",
        "[a",
        "a\\b",
        "x" * 300,
    ],
)
def test_no_refs(ref: str):
    with pytest.raises(BadInputError) as caught:
        check_ref(ref)
    assert caught.value.field == "ref"


def test_each_address_has_a_mirror_of_its_own_with_a_name_to_read():
    names = {mirror_name(address) for address in GOOD}
    assert len(names) == len(GOOD)
    assert all(name.isascii() and name.endswith(".git") and "/" not in name for name in names)
    assert mirror_name(GOOD[0]).startswith("web-")


@pytest.mark.parametrize(
    ("address", "short"),
    [(GOOD[0], "web"), ("/srv/My Repo.git", "my-repo"), ("h:..", "repo"), ("https://h/.git", "repo")],
)
def test_short_names(address: str, short: str):
    assert short_name(address) == short


def test_what_is_shown_names_no_user():
    assert shown("https://token@example.org/a") == "https://example.org/a"
    assert shown("git@example.org:a") == "git@example.org:a"


def test_repos_on_this_machine():
    assert [local_path(address) for address in ("/a", "file:///a/b", "file://localhost/a", "https://h/a")] == [
        "/a",
        "/a/b",
        "/a",
        None,
    ]


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("https://Example.org/a", ("example.org", None)),
        ("https://token@example.org:8443/a", ("example.org", 8443)),
        ("ssh://git@example.org:22/a", ("example.org", 22)),
        ("git@Example.org:a", ("example.org", None)),
        ("http://example.org/a", None),
        ("git://example.org/a", None),
        ("file:///a", None),
        ("/a", None),
        ("../a", None),
        ("-oProxyCommand=x:a", None),
        ("ext::sh -c x", None),
        ("https://[/a", None),
        ("https://example.org:x/a", None),
        ("", None),
    ],
)
def test_the_host_of_an_address(address: str, found: tuple[str, int | None] | None):
    assert host(address) == found
