from __future__ import annotations

import json
from pathlib import Path

import pytest

from loopat_jupyter.errors import ConfigurationError
from loopat_jupyter.sandbox.seccomp import (
    ADDITIONS,
    SeccompProfile,
    additions,
    configured,
    extended,
    find_profile,
    settings_files,
)
from loopat_jupyter.sandbox.template import template_file

ADDED = ("sethostname", "setdomainname")
PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "syscalls": [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["bpf", "sethostname"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["setdomainname"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
    ],
}


def test_rules_that_contradict_the_additions_go_and_all_others_stay():
    assert extended(PROFILE, ADDED) == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["sethostname", "setdomainname"], "action": "SCMP_ACT_ALLOW"},
        ],
    }
    assert extended(PROFILE, ()) == PROFILE


def test_the_template_adds_two_calls_and_says_why():
    assert additions(template_file(ADDITIONS).read_text(encoding="utf-8")) == ADDED


@pytest.mark.parametrize(
    "text",
    ["[[call", '[[call]]\nname = "x"', '[[call]]\nreason = "x"', '[[call]]\nname = ""\nreason = "x"', "call = 1"],
)
def test_a_call_without_its_reason_is_refused(text: str):
    with pytest.raises(ConfigurationError, match="needs a name and a reason"):
        additions(text)


def test_the_engines_profile_is_found_and_extended(tmp_path: Path):
    own, other = tmp_path / "own.json", tmp_path / "other.json"
    own.write_text(json.dumps(PROFILE))
    found = find_profile(tmp_path, (tmp_path / "absent.json", own, other))
    assert json.loads(found.content) == extended(PROFILE, ADDED)
    other.write_text(json.dumps({**PROFILE, "defaultAction": "SCMP_ACT_KILL"}))
    assert find_profile(tmp_path, (own, other)) == found
    assert find_profile(tmp_path, (other, own)).name != found.name


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"syscalls": 1}', '{"syscalls": [{}]}', '{"syscalls": [1]}'])
def test_what_is_no_profile_is_passed_over(tmp_path: Path, content: str):
    broken, own = tmp_path / "broken.json", tmp_path / "own.json"
    broken.write_text(content)
    own.write_text(json.dumps(PROFILE))
    assert find_profile(tmp_path, (broken,)) is None
    assert find_profile(tmp_path, (broken, own)) == find_profile(tmp_path, (own,))


def test_a_profile_that_settings_name_comes_first(tmp_path: Path):
    mine, usual = tmp_path / "mine.json", tmp_path / "usual.json"
    mine.write_text(json.dumps({**PROFILE, "defaultAction": "SCMP_ACT_KILL"}))
    usual.write_text(json.dumps(PROFILE))
    settings = tmp_path / ".config" / "containers" / "containers.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'[containers]\n# seccomp_profile = "/x"\nseccomp_profile = "{mine}"\n')
    assert json.loads(find_profile(tmp_path, (usual,)).content)["defaultAction"] == "SCMP_ACT_KILL"
    dropped = settings.with_name("containers.conf.d") / "10-mine.conf"
    dropped.parent.mkdir()
    dropped.write_text(f'[containers]\nseccomp_profile = "{usual}"\n')
    assert settings_files(tmp_path)[-2:] == (settings, dropped)
    assert configured(settings_files(tmp_path)) == (usual,)
    dropped.write_text('[containers]\nseccomp_profile = "unconfined"\n')
    assert configured((dropped,)) == ()


def test_a_profile_is_written_once(tmp_path: Path):
    profile = SeccompProfile("seccomp-1.json", b"{}")
    profile.install(tmp_path / "seccomp")
    written = tmp_path / "seccomp" / "seccomp-1.json"
    inode = written.stat().st_ino
    profile.install(tmp_path / "seccomp")
    assert (written.read_bytes(), written.stat().st_ino) == (b"{}", inode)


def test_this_machine_has_a_profile_of_its_engine():
    found = find_profile(Path.home())
    rules = json.loads(found.content)["syscalls"]
    assert [rule["action"] for rule in rules if set(ADDED) & set(rule["names"])] == ["SCMP_ACT_ALLOW"]
