from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.workspace.variables import (
    MAX_VARIABLE_BYTES,
    as_bytes,
    as_text,
    check_variable_name,
    check_variable_value,
    is_variable,
)


@pytest.mark.parametrize("name", ["A", "_", "a1", "API_TOKEN", "A" * 250])
def test_names(name: str):
    assert is_variable(name)
    check_variable_name("variable", name)


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a.age", "A=B", "A\n", "ä", "../A", "UID", "a\0", "A" * 251])
def test_what_is_no_name(name: str):
    assert not is_variable(name)
    with pytest.raises(BadInputError, match=r"^variable: "):
        check_variable_name("variable", name)


@pytest.mark.parametrize("value", [b"canary\0", b"canary" * MAX_VARIABLE_BYTES])
def test_a_refused_value_is_not_repeated(value: bytes):
    with pytest.raises(BadInputError, match=r"^value: ") as refused:
        check_variable_value("value", "A", value)
    assert "canary" not in refused.value.message


@given(st.binary())
def test_any_bytes_survive(value: bytes):
    assert as_bytes(as_text(value)) == value
