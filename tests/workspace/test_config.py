from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.values import Resources
from loopat_jupyter.workspace.config import Config, ImageConfig, ShareConfig, load_config, merge

if TYPE_CHECKING:
    from pathlib import Path

leaves = st.fixed_dictionaries({}, optional={"a": st.integers(), "b": st.integers()})
tables = st.fixed_dictionaries({}, optional={"a": st.integers(), "inner": leaves, "other": leaves})


def load(tmp_path: Path, workspace: str = "", site: str = "", **environ: str) -> Config:
    (tmp_path / "config.toml").write_text(workspace)
    (tmp_path / "site.toml").write_text(site)
    return load_config(tmp_path / "config.toml", environ, tmp_path / "site.toml")


def test_without_files_everything_is_default(tmp_path: Path):
    assert load_config(tmp_path / "none", {}, tmp_path / "none") == Config()


def test_the_workspace_wins_over_the_site_key_by_key(tmp_path: Path):
    config = load(
        tmp_path,
        workspace='idle_timeout_s = 60\n[image]\nsuite = "trixie"',
        site='idle_timeout_s = 10\nnetwork = "none"\n[image]\nbase = "mirror/debian:12"',
    )
    assert config == Config(
        idle_timeout_s=60, network="none", image=ImageConfig(base="mirror/debian:12", suite="trixie")
    )


def test_the_site_fixes_keys(tmp_path: Path):
    config = load(
        tmp_path,
        workspace='network = "bridge"\nshared_tmp = true\n[image]\nbase = "mine"\nsuite = "trixie"',
        site='fixed = ["network", "image.base", "shared_tmp"]\nnetwork = "none"\n[image]\nbase = "mirror/debian:12"',
    )
    assert config == Config(
        network="none",
        image=ImageConfig(base="mirror/debian:12", suite="trixie"),
        fixed=("network", "image.base", "shared_tmp"),
    )


def test_the_environment_overrides_files(tmp_path: Path):
    config = load(
        tmp_path,
        workspace="idle_timeout_s = 60",
        LOOPAT_IDLE_TIMEOUT_S="5",
        LOOPAT_SANDBOX_IMAGE="localhost/mine",
        LOOPAT_PODMAN_BIN="/opt/podman",
        LOOPAT_SHARE_HOST="0.0.0.0",
        LOOPAT_SHARE_PORT="8000",
        LOOPAT_PORT_RANGE="9000-9100",
    )
    assert config == Config(
        idle_timeout_s=5,
        podman_bin="/opt/podman",
        image=ImageConfig(use="localhost/mine"),
        share=ShareConfig(host="0.0.0.0", port=8000, port_range="9000-9100"),
    )


def test_the_environment_cannot_override_what_the_site_fixed(tmp_path: Path):
    site = 'fixed = ["podman_bin", "image.use"]\npodman_bin = "/opt/podman"'
    config = load(tmp_path, site=site, LOOPAT_PODMAN_BIN="/tmp/mine", LOOPAT_SANDBOX_IMAGE="mine")
    assert config == Config(podman_bin="/opt/podman", fixed=("podman_bin", "image.use"))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("idle_timeout_s = 'soon'", "idle_timeout_s"),
        ("idle_timeout_s = -1", "idle_timeout_s"),
        ("network = 'host'", "network"),
        ("[share]\nport = 70000", "share.port"),
        ("[image]\nbase = 7", "image.base"),
        ("image = 7", "image"),
        ("no_such_key = 1", "config"),
        ("podman_parallel = 0", "podman_parallel"),
        ("[image]\nuse = '--privileged'", "image.use"),
        ("[image]\nbase = '-v/:/host'", "image.base"),
        ("[image]\nbase = ''", "image.base"),
        ('[vault]\nidentity = "/a\\u0000b"', "vault.identity"),
        ("[vault]\nidentity = '/'", "vault.identity"),
        ("[image]\nsuite = '--setup-hook=x'", "image.suite"),
    ],
)
def test_a_wrong_value_is_named_with_key_and_file(tmp_path: Path, text: str, key: str):
    for tier in ("workspace", "site"):
        with pytest.raises(BadInputError) as caught:
            load(tmp_path, **{tier: text})
        assert caught.value.field == key
        line = text.count("\n") + 1
        assert f"{'site.toml' if tier == 'site' else 'config.toml'}, line {line})" in caught.value.message


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("netwrok = 'none'", "network"),
        ("[images]\nuse = 'x'", "image"),
        ("[resources]\nmemory = 1", "memory_bytes"),
        ("[[mounts]]\nsuorce = '/a'\ntarget = '/b'", "source"),
        ("[[agents]]\nname = 'a'\ncomand = ['a']", "command"),
        ("[repos]\nNO = 'x'", None),
        ("something_else = 1", None),
        ("[share]\nzzz = 1", None),
    ],
)
def test_a_mistyped_key_is_told_with_the_one_that_was_meant(tmp_path: Path, text: str, meant: str | None):
    with pytest.raises(BadInputError) as caught:
        load(tmp_path, workspace=text)
    assert (": there is no setting `" in caught.value.message) == ("[repos]" not in text)
    assert caught.value.message.endswith(f"). Did you mean {meant!r}?" if meant else ")")


def test_a_wrong_override_is_named(tmp_path: Path):
    with pytest.raises(BadInputError, match=r"LOOPAT_SHARE_PORT.*environment"):
        load(tmp_path, LOOPAT_SHARE_PORT="many")


@pytest.mark.parametrize("image", ["--privileged", "a b", "x" * 300, "a\nb", "-"])
def test_an_override_that_is_no_image_is_named(tmp_path: Path, image: str):
    with pytest.raises(BadInputError, match="LOOPAT_SANDBOX_IMAGE"):
        load(tmp_path, LOOPAT_SANDBOX_IMAGE=image)


def test_broken_toml_is_named_with_its_line(tmp_path: Path):
    with pytest.raises(BadInputError, match="line 2"):
        load(tmp_path, workspace="network = 'none'\nbroken = = 1\n")


@pytest.mark.parametrize("value", ["[" * 100_000, "9" * 5000, "1979-13-01", "'a\0b'"])
def test_so_is_what_python_cannot_take_in(tmp_path: Path, value: str):
    with pytest.raises(BadInputError, match=r"config\.toml: is not valid TOML: .*Fix the file"):
        load(tmp_path, workspace=f"[agents]\nname = {value}\n")


def test_only_the_site_fixes_keys(tmp_path: Path):
    own = tmp_path / "config.toml"
    own.write_text('fixed = ["network"]\n')
    with pytest.raises(BadInputError, match="Take it out of"):
        load_config(own, {}, tmp_path / "site.toml")


def test_a_wrong_list_of_fixed_keys_is_named(tmp_path: Path):
    with pytest.raises(BadInputError, match=r"^fixed: in .*site\.toml, line 2 must be a list"):
        load(tmp_path, site="\nfixed = 'network'")


def test_a_limit_can_be_fixed(tmp_path: Path):
    config = load(tmp_path, site='fixed = ["resources.pids"]', workspace="[resources]\npids = 100\ncpus = 2")
    assert config.resources == Resources(cpus=2)


@pytest.mark.parametrize("key", ["netwrok", "network.x", "image.bse", "image.use.x", ""])
def test_a_fixed_key_that_is_none_is_named(tmp_path: Path, key: str):
    with pytest.raises(BadInputError, match="line 1 is no key"):
        load(tmp_path, site=f'fixed = ["{key}"]')


def test_a_whole_table_can_be_fixed(tmp_path: Path):
    config = load(tmp_path, site='fixed = ["image"]\n[image]\nsuite = "trixie"', workspace='[image]\nuse = "mine"')
    assert config.image == ImageConfig(suite="trixie")


def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path):
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(BadInputError, match=r"config\.toml: cannot be read: Is a directory"):
        load_config(tmp_path / "config.toml", {}, tmp_path / "site.toml")


@given(tables, tables, tables)
def test_merging_is_associative_and_the_later_tier_wins(low, middle, high):
    assert merge(merge(low, middle), high) == merge(low, merge(middle, high))
    assert merge(low, {}) == low == merge({}, low)
    for key, value in high.items():
        if not isinstance(value, dict):
            assert merge(low, high)[key] == value
