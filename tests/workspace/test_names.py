from __future__ import annotations

import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.workspace.names import check_vault_name

ODD = ["", "-v", "..", ".", "../x", "a/b", "a\0", "a\n", "x" * 300, "Work", "a b", "\u00fc", "_a", "%2e"]
ODD += ["\uff41", "\u0430bc"]  # an a that is wide, and one that is Cyrillic


@pytest.mark.abuse("A1")
@pytest.mark.parametrize("name", ["default", "a", "0", "work-2", "a.b_c", "x" * 64])
def test_names_of_vaults(name: str):
    assert check_vault_name(name) == name


@pytest.mark.abuse("A1")
@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_a_vault_is_refused_with_its_field(name: str):
    with pytest.raises(BadInputError, match=r"^vault: ") as refused:
        check_vault_name(name, field="vault")
    assert len(refused.value.message) < 300
