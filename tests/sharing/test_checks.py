from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.sharing.checks import check_alias, check_settings, check_share, no_port_left
from loopat_jupyter.values import Share
from loopat_jupyter.workspace.config import Config, KernelsConfig, ShareConfig


@pytest.mark.abuse("A1")
@pytest.mark.parametrize("alias", ["a", "1", "bicycles", "a-b", "x" * 63, "0123456", "abcdefgh"])
def test_labels_are_aliases(alias: str):
    assert check_alias(alias) == alias


@given(st.text(max_size=70))
def test_whatever_is_taken_is_a_label_of_a_host_name(text: str):
    try:
        check_alias(text)
    except BadInputError:
        return
    assert text.encode("idna").decode() == text == text.lower().strip("-")
    assert 0 < len(text) < 64
    assert text.replace("-", "").isalnum()


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"port_range": "7819-7800"}, "share.port_range"),
        ({"port_range": "80-90"}, "share.port_range"),
        ({"port_range": "65000-70000"}, "share.port_range"),
        ({"port_range": "10000-30000"}, "share.port_range"),
        ({"host": "localhost"}, "share.host"),
        ({"host": "127.0.0.1:80:80 --privileged"}, "share.host"),
        ({"host": ""}, "share.host"),
    ],
)
def test_settings_that_make_no_sense_name_their_key(settings: dict[str, str], key: str):
    with pytest.raises(BadInputError) as caught:
        check_settings(ShareConfig(**settings))
    assert caught.value.field == key


def test_the_range_is_inclusive():
    assert check_settings(ShareConfig(host="::1", port_range="7800-7800")) == (7800, 7800)
    told = no_port_left(ShareConfig(port_range="7800-7803"), 1).message
    assert "loops of this workspace use 1 of them, other workspaces or programs of this machine 3." in told


@pytest.mark.parametrize(
    "share",
    [
        Share(),
        Share(alias="kept"),
        Share(mode="static"),
        Share(mode="port", port=8000, alias="a"),
        Share(mode="direct", port=53, protocol="udp", public_port=7800),
        Share(mode="ephemeral", port=40_000, protocol="udp"),
    ],
)
def test_what_makes_sense_is_taken(share: Share):
    assert check_share(share, Config()) == share


def test_a_kernels_port_is_not_shared():
    with pytest.raises(BadInputError, match="^port: "):
        check_share(Share(mode="ephemeral", port=40_000), Config(kernels=KernelsConfig(transport="tcp")))
