"""Fault rules: how they are written, what is refused and how, and which calls they hit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.emulator.faults import Faults, Rule, read_rules, rules_of
from batchkms.emulator.faults.rule import parse_flag, parse_rule
from batchkms.errors import ConfigError


def rule(**written: Any) -> Rule:
    return parse_rule({"code": "InternalError", **written}, "rule")


async def no_keys() -> Sequence[str]:
    raise AssertionError("no rule asks for keys")


def hits(faults: Faults, calls: int, *, action: str = "Encrypt") -> list[int]:
    """The numbers of the calls, from 1, that something goes wrong with."""

    async def ask() -> list[int]:
        answers = [
            await faults.for_call(action=action, secret_id="id", key_ids=no_keys)
            for _ in range(calls)
        ]
        return [number for number, fault in enumerate(answers, 1) if fault is not None]

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"calls": 3}, [3]),
        ({"calls": "3"}, [3]),
        ({"calls": "4-6"}, [4, 5, 6]),
        ({"calls": "7-"}, [7, 8, 9]),
        ({"every": 4}, [4, 8]),
        ({"times": 2}, [1, 2]),
        ({"calls": "3-", "every": 2, "times": 2}, [4, 6]),
        ({"probability": 1}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"action": "Encrypt", "credential": ["id", "other"]}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"action": ["Decrypt", "ListKeys"]}, []),
        ({"credential": "other"}, []),
    ],
    ids=str,
)
def test_conditions_choose_the_calls(written: dict[str, Any], expected: list[int]) -> None:
    assert hits(Faults([rule(**written)]), 9) == expected


def test_calls_are_numbered_for_each_rule_among_those_it_is_about() -> None:
    faults = Faults([rule(action="Encrypt", calls=2), rule(action="Decrypt", calls=1)])
    assert hits(faults, 1) == []
    assert hits(faults, 1, action="Decrypt") == [1]
    assert hits(faults, 1) == [1]


def test_a_seed_makes_probabilities_the_same_and_close_to_what_they_say() -> None:
    first = hits(Faults([rule(probability="0.05")], seed=1), 4000)
    assert first == hits(Faults([rule(probability=0.05)], seed=1), 4000)
    assert first != hits(Faults([rule(probability=0.05)], seed=2), 4000)
    assert 130 < len(first) < 270


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 10), st.integers(1, 10))
def test_all_conditions_that_are_given_must_hold(
    first: int, more: int, every: int, times: int
) -> None:
    written = {"calls": f"{first}-{first + more}", "every": every, "times": times}
    chosen = [n for n in range(1, 121) if first <= n <= first + more and n % every == 0]
    assert hits(Faults([rule(**written)]), 120) == chosen[:times]


async def test_a_key_is_looked_for_only_where_a_rule_asks() -> None:
    faults = Faults([rule(key="key-1")])

    async def named(*ids: str) -> Sequence[str]:
        return ids

    async def struck(*ids: str) -> bool:
        found = await faults.for_call(action="Encrypt", secret_id="id", key_ids=lambda: named(*ids))
        return found is not None

    assert [await struck("key-2"), await struck("key-2", "key-1"), await struck()] == [
        False,
        True,
        False,
    ]


async def test_latencies_add_up_and_the_first_outcome_decides() -> None:
    faults = Faults(
        [
            parse_rule({"latency": "100ms"}, "rule"),
            parse_rule({"latency": "1s", "http": 503}, "rule"),
            parse_rule({"effect": "hang"}, "rule"),
            parse_rule({"quota": "none", "for": "2s"}, "rule"),
        ]
    )
    fault = await faults.for_call(action="Encrypt", secret_id="id", key_ids=no_keys)
    assert fault is not None
    assert fault.outcome is not None
    assert (fault.delay_s, fault.outcome.http) == (1.1, 503)
    assert [(change.limit, change.for_s) for change in fault.quota_changes] == [(None, 2.0)]
    assert [shown["hits"] for shown in faults.rules()] == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("written", "least_s", "most_s", "mean_s"),
    [
        ("100ms", 0.1, 0.1, 0.1),
        ("uniform:50ms-150ms", 0.05, 0.15, 0.1),
        ("exponential:100ms", 0.0, 3.0, 0.1),
    ],
)
async def test_a_latency_has_its_distribution(
    written: str, least_s: float, most_s: float, mean_s: float
) -> None:
    faults = Faults([parse_rule({"latency": written}, "rule")], seed=1)
    drawn = []
    for _ in range(2000):
        fault = await faults.for_call(action="Encrypt", secret_id="id", key_ids=no_keys)
        drawn.append(fault.delay_s if fault else 0.0)
    assert least_s <= min(drawn) <= max(drawn) <= most_s
    assert sum(drawn) / len(drawn) == pytest.approx(mean_s, rel=0.1)


def test_rules_come_and_go_while_it_runs() -> None:
    faults = Faults([rule(calls=1)])
    assert faults.active
    assert hits(faults, 2) == [1]
    faults.add({"http": 500, "calls": 1})
    assert hits(faults, 2) == [1]
    assert faults.as_json() == {
        "faults": [
            {"code": "InternalError", "calls": 1, "seen": 4, "hits": 1},
            {"http": 500, "calls": 1, "seen": 2, "hits": 1},
        ]
    }
    faults.clear()
    assert (faults.active, faults.rules(), hits(faults, 2)) == (False, [], [])
    faults.reset()
    assert hits(faults, 2) == [1]


def test_of_several_rules_all_are_added_or_none() -> None:
    faults = Faults()
    with pytest.raises(ConfigError, match="^rule 2: there is no field 'cod'$"):
        faults.add_json([{"http": 500}, {"cod": "InternalError"}])
    assert faults.rules() == []
    faults.add_json([{"http": 500}, {"http": 502}])
    faults.add_json({"effect": "hang"})
    assert len(faults.rules()) == 3
    for body in ([], None, "x", [1]):
        with pytest.raises(ConfigError, match="is no fault rule"):
            faults.add_json(body)
    with pytest.raises(ConfigError, match="can be 256"):
        faults.add_json([{"http": 500}] * 254)


WRONG = [
    ({"cod": "x"}, "there is no field 'cod'", "the nearest is 'code'"),
    ({"action": "Encypt", "http": 500}, "action cannot be 'Encypt'", "'Encrypt'"),
    ({"action": [], "http": 500}, "action cannot be []", "takes a text or a list of texts"),
    ({"calls": "0", "http": 500}, "calls cannot be '0'", "such as 10-20 or 10-"),
    ({"calls": "9-3", "http": 500}, "calls cannot be '9-3'", "such as 10-20"),
    ({"calls": True, "http": 500}, "calls cannot be True", "such as 10-20"),
    ({"every": 0, "http": 500}, "every cannot be 0", "a whole number from 1"),
    ({"times": 1.5, "http": 500}, "times cannot be 1.5", "a whole number from 1"),
    ({"probability": 0, "http": 500}, "probability cannot be 0", "over 0 and up to 1"),
    ({"probability": "nan", "http": 500}, "probability cannot be 'nan'", "over 0 and up to 1"),
    ({"http": 200}, "http cannot be 200", "from 400 to 599"),
    ({"code": ""}, "code cannot be ''", "a text that is not empty"),
    ({"effect": "explode"}, "effect cannot be 'explode'", "one of refuse, reset-before"),
    ({"latency": "100"}, "latency cannot be '100'", "exponential:100ms"),
    ({"latency": "uniform:2s-1s"}, "latency cannot be 'uniform:2s-1s'", "uniform:50ms-200ms"),
    ({"quota": 0}, "quota cannot be 0", "or none"),
    ({"effect": "hang", "for": "0s"}, "for cannot be '0s'", "100ms, 1s or 2m"),
    ({"action": "Encrypt"}, "nothing goes wrong in it", "add code="),
    ({"code": "x", "http": 500}, "code and http exclude each other", "write two rules"),
    ({"effect": "hang", "quota": 3}, "effect and quota exclude each other", "write two rules"),
    ({"message": "x", "http": 500}, "message goes with code only", "add code="),
    ({"code": "x", "for": "1s"}, "for goes with effect=refuse", "latency="),
    (
        {"code": "x", "message": "y", "effect": "echo"},
        "message and effect=echo exclude each other",
        "leave one out",
    ),
]


@pytest.mark.parametrize(("written", "problem", "hint"), WRONG, ids=lambda part: str(part))
def test_a_wrong_rule_is_told_with_the_field_and_what_to_write(
    written: dict[str, Any], problem: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rule(written, "rule 7")
    assert str(caught.value).startswith("rule 7: ")
    assert problem in str(caught.value)
    assert hint in str(caught.value.hint)


def test_a_flag_says_the_same_as_a_table() -> None:
    flag = "action=Encrypt,code=InternalError,probability=0.05,latency=uniform:10ms-20ms"
    table = {"action": "Encrypt", "code": "InternalError", "probability": 0.05}
    from_flag, from_table = parse_flag(flag), parse_rule(table, "rule")
    assert (from_flag.actions, from_flag.code, from_flag.probability) == (
        from_table.actions,
        from_table.code,
        from_table.probability,
    )
    assert from_flag.latency is not None


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("code", "'code' is no field=value"),
        ("", "'' is no field=value"),
        ("http=500,http=502", "http is given twice"),
        ("http=500,cals=3", "there is no field 'cals'"),
    ],
)
def test_a_wrong_flag_is_told_as_it_was_written(flag: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_flag(flag)
    assert str(caught.value) == f"--fault {flag}: {problem}"


def test_a_file_holds_rules_that_come_before_those_of_flags(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\nhttp = 503\ncalls = "1-3"\n\n[[fault]]\nlatency = "1s"\n')
    assert [dict(rule.written) for rule in rules_of(["effect=hang"], path)] == [
        {"http": 503, "calls": "1-3"},
        {"latency": "1s"},
        {"effect": "hang"},
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[[fault]]\nhttp = 503\n[[fault]]\nhttp = 3\n", "fault 2: http cannot be 3"),
        (b"[[faults]]\nhttp = 503\n", "there is no 'faults' here"),
        (b"fault = 3\n", "fault is no list of tables"),
        (b"fault\n", "Expected '='"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_wrong_file_is_told_with_its_name(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "faults.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_rules(path)
    assert str(caught.value).startswith(f"{path}: {problem}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_rules(tmp_path / "none.toml")


def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 2_000)
    with pytest.raises(ConfigError, match="deep.toml"):
        read_rules(path)
