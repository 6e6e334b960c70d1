"""Flattened parameters: what texts stand for, and which ones stand for nothing."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tencentcloud.kms.v20190118.kms_client import KmsClient

from batchkms.emulator.apierror import ApiError
from batchkms.emulator.forms import read_form, typed_parameters
from batchkms.emulator.parameters import ParameterTable

TABLE = ParameterTable(
    optional={"Name": str, "Limit": int, "Hosted": bool, "KeyIds": list, "Tags": list, "Who": dict}
)


@pytest.mark.parametrize(
    ("raw", "pairs"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("&a=1&&b=2&", {"a": "1", "b": "2"}),
        ("a=", {"a": ""}),
        ("a=b=c==", {"a": "b=c=="}),
        ("a=x+y%20z%2B%26", {"a": "x y z+&"}),
        ("%61=%E5%80%BC", {"a": "值"}),
        ("a=%ff", {"a": "\ufffd"}),
        ("a=%4", {"a": "%4"}),
    ],
)
def test_a_form_is_read(raw: str, pairs: dict[str, str]) -> None:
    assert read_form(raw) == pairs


@pytest.mark.parametrize("raw", ["a", "a=1&b", "=1", "a=1&a=2", "a=1&%61=1"])
def test_a_form_that_is_none(raw: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_form(raw)
    assert caught.value.code == "InvalidParameter"


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_whatever_is_encoded_is_read_back(pairs: dict[str, str]) -> None:
    assert read_form(urlencode(pairs)) == pairs


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ({"Name": "7"}, {"Name": "7"}),
        ({"Limit": "-7"}, {"Limit": -7}),
        ({"Hosted": "True"}, {"Hosted": True}),
        ({"Hosted": "false"}, {"Hosted": False}),
        ({"KeyIds.1": "b", "KeyIds.0": "a"}, {"KeyIds": ["a", "b"]}),
        (
            {"Tags.0.TagKey": "a", "Tags.0.TagValue": "b", "Tags.1.TagKey": "c"},
            {"Tags": [{"TagKey": "a", "TagValue": "b"}, {"TagKey": "c"}]},
        ),
        ({"Who.MemberUin": "1"}, {"Who": {"MemberUin": "1"}}),
        (
            {f"KeyIds.{number}": str(number) for number in range(12)},
            {"KeyIds": [str(number) for number in range(12)]},
        ),
    ],
)
def test_texts_get_the_types_of_the_table(pairs: dict[str, str], expected: dict[str, Any]) -> None:
    assert typed_parameters(pairs, TABLE) == expected


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"Limit": "x"}, "The value type of parameter `Limit` is not valid."),
        ({"Hosted": "yes"}, "The value type of parameter `Hosted` is not valid."),
        ({"Name.0": "a"}, "The value type of parameter `Name` is not valid."),
        ({"KeyIds": "a"}, "The value type of parameter `KeyIds` is not valid."),
        ({"KeyIds.x": "a"}, "The value type of parameter `KeyIds` is not valid."),
        ({"Other.0": "a"}, "The parameter `Other` is not recognized."),
        ({"Name": "a", "Name.0": "b"}, "Parameter `Name.0` format invalid."),
        ({"Name.0": "b", "Name": "a"}, "Parameter `Name` format invalid."),
        ({"KeyIds.": "a"}, "Parameter `KeyIds.` format invalid."),
        ({".0": "a"}, "Parameter `.0` format invalid."),
        ({".".join("abcdefghi"): "a"}, "Parameter `a.b.c.d.e.f.g.h.i` format invalid."),
    ]
    + [
        (
            pairs,
            f"Parameter `{name}` invalid array format, "
            "array index must be continuous and starts with 0.",
        )
        for name, pairs in (
            ("KeyIds", {"KeyIds.1": "a"}),
            ("KeyIds", {"KeyIds.0": "a", "KeyIds.2": "b"}),
            ("KeyIds", {"KeyIds.00": "a"}),
            ("KeyIds", {"KeyIds.999999999999": "a"}),
            ("Tags.0", {"Tags.0.5": "a"}),
        )
    ],
)
def test_texts_that_stand_for_nothing(pairs: dict[str, str], message: str) -> None:
    with pytest.raises(ApiError) as caught:
        typed_parameters(pairs, TABLE)
    assert caught.value.message == message


NAMES = st.text("ABCabc", min_size=1, max_size=5)
VALUES = st.recursive(
    st.text(max_size=5),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4) | st.dictionaries(NAMES, inner, min_size=1)
    ),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_the_official_sdk_flattens_is_put_together_again(parameters: dict[str, Any]) -> None:
    flat = KmsClient(None, "")._fix_params(parameters)
    table = ParameterTable(optional={name: type(value) for name, value in parameters.items()})
    if all(name.count(".") < 8 for name in flat):
        assert typed_parameters(flat, table) == parameters
