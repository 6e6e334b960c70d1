"""Every option's values: what is taken, what is refused, and that none is a secret."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.failurerules import MaxFailures
from batchkms.job import JobSpec
from batchkms.options import EVERY, OF_COMMAND, Address, BadValue
from batchkms.options.address import address
from batchkms.options.values import (
    MAX_RATE,
    duration,
    max_failures,
    names,
    percentage,
    rate,
    size,
    switch,
    whole,
)
from batchkms.shard import Shard

BY_NAME = {option.name: option for option in EVERY}

GOOD: list[tuple[str, Any, Any]] = [
    ("output", "-", "-"),
    ("output", "out.jsonl", "out.jsonl"),
    ("overwrite", True, True),
    ("overwrite", "no", False),
    ("resume", True, True),
    ("format", "csv", "csv"),
    ("output-format", "jsonl", "jsonl"),
    ("id-field", "name", "name"),
    ("plaintext-field", "secret", "secret"),
    ("key-field", "cmk", "cmk"),
    ("context-field", "ctx", "ctx"),
    ("encoding", "base64", "base64"),
    ("limit", "1_000", 1000),
    ("ordered", "true", True),
    ("key-id", "23e80852-1e38-11e9-b129-5cb9019b4b01", "23e80852-1e38-11e9-b129-5cb9019b4b01"),
    ("region", "ap-guangzhou", "ap-guangzhou"),
    ("endpoint", "https://kms.example", "https://kms.example"),
    ("emulator", "1", True),
    ("data-dir", "d", "d"),
    ("profile", "p", "p"),
    ("credentials", "c", "c"),
    ("ca-file", "c.pem", "c.pem"),
    ("proxy", "http://p:1", "http://p:1"),
    ("transport", "wire", "wire"),
    ("rate", "auto", "auto"),
    ("rate", "off", "off"),
    ("rate", "30000", 30000),
    ("reserve", "30%", 0.3),
    ("concurrency", 1, 1),
    ("processes", "64", 64),
    ("queue-size", "1000000", 1_000_000),
    ("max-attempts", "1", 1),
    ("timeout", "500ms", 0.5),
    ("connect-timeout", "3s", 3.0),
    ("deadline", "2m", 120.0),
    ("outage-budget", "1h", 3600.0),
    ("max-failures", "5%", MaxFailures(share=0.05)),
    ("fsync-interval", "1s", 1.0),
    ("progress", "always", "always"),
    ("summary", "json", "json"),
    ("duration", "90s", 90.0),
    ("stage", ("30s:100", "1m:100-300.5"), ((30.0, 100.0, 100.0), (60.0, 100.0, 300.5))),
    ("stage", "30s:0-7,1s:7", ((30.0, 0.0, 7.0), (1.0, 7.0, 7.0))),
    ("closed", "yes", True),
    ("max-connections", "32", 32),
    ("warmup", "2s", 2.0),
    ("action", "encrypt=9,decrypt=1", "encrypt=9,decrypt=1"),
    ("payload-size", 64, "64"),
    ("payload-size", "16-4096", "16-4096"),
    ("signature", "v1", "v1"),
    ("slo", ("p99<50ms", "errors<0.1%"), ("p99<50ms", "errors<0.1%")),
    ("slo", "send.p99.9<=1s,throttled==0", ("send.p99.9<=1s", "throttled==0")),
    ("slo-window", "10s", 10.0),
    ("abort-on-fail", True, True),
    ("find-max", True, True),
    ("max-rate", "5_000", 5_000),
    ("lag-limit", "2ms", 0.002),
    ("report", "report.html", "report.html"),
    ("junit", "slo.xml", "slo.xml"),
    ("hgrm", "run.hgrm", "run.hgrm"),
    ("metrics", "127.0.0.1:9464", Address("127.0.0.1", 9464)),
    ("metrics", "[::1]:0", Address("::1", 0)),
    ("log-level", "debug", "debug"),
    ("log-format", "json", "json"),
    ("dry-run", True, True),
    ("input-profile", "dotenv", "dotenv"),
    ("keep", "owner, team", ("owner", "team")),
    ("keep", ["owner"], ("owner",)),
    ("in-place-column", "yes", True),
    ("mode", "envelope", "envelope"),
    ("oversize", "fail", "fail"),
    ("data-key-rows", "500", 500),
    ("data-key-bytes", "64MiB", 64 * 1024**2),
    ("data-key-bytes", 1000, 1000),
    ("ciphertext-field", "blob", "blob"),
    ("destination-context-field", "to", "to"),
    ("source-region", "ap-beijing", "ap-beijing"),
    ("source-endpoint", "http://127.0.0.1:1", "http://127.0.0.1:1"),
    ("source-profile", "old", "old"),
    ("allow-stdout", True, True),
    ("against", "inventory.csv", "inventory.csv"),
    ("all", True, True),
    ("sample", "100", 100),
    ("shard", "2/3", Shard(2, 3)),
    ("shard", "1/1", Shard(1, 1)),
    ("shard", "1000/1000", Shard(1000, 1000)),
    ("seed", "7", 7),
    ("class", "throttled, network", ("throttled", "network")),
    ("no-input", True, True),
]

BAD: dict[str, list[Any]] = {
    "text": ["", 5, None, True, ["a"]],
    "switch": ["maybe", 1, 0, None, "tru"],
    "format": ["xml", "", "CSV", 5, None, ["csv"]],
    "number": [
        "0",
        "-1",
        "1.5",
        "1e3",
        "",
        " 5",
        "5 ",
        "٣",
        True,
        1.0,
        None,
        "1__0",
        "_1",
        "9" * 30,
    ],
    "duration": [
        "",
        "0s",
        "-1s",
        "5",
        5,
        "1 s",
        "s",
        "1d",
        "1.s",
        ".5s",
        None,
        True,
        "1s1s",
        "nan",
    ],
    "rate": ["0", "-5", "1.5", "fast", "", True, None, 0, "AUTO", "1/s", str(MAX_RATE + 1)],
    "size": ["0", "-1", "1.5MiB", "1 MiB", "MiB", "1KB", "", True, None, 1.5],
    "names": ["", "a,,b", "a,a", ",", None, 5, True, [], ["a", 1]],
    "reserve": ["100%", "-1%", "", "%", "x", True, None, "1e1", "30%%"],
    "max-failures": ["-1", "101%", "", "%", "x", None, True, 1.5, "5 %"],
}
BAD["metrics"] = [
    *(*BAD["text"], "9464", 9464, "127.0.0.1", "h:", "h:65536", "h:-1", "h:٣", "::1:9464", "[::1]"),
    *("[h]:1", "[::g]:1", "1.2.3:1", "1.2.3.256:1", "a..b:1", "a b:1", "-h:1", "http://h:1"),
]
BAD["stage"] = [
    *(*BAD["text"][:-1], "30s", "30s:", ":100", "30:100", "30s:-1", "30s:1-", "30s:1-2-3", "0s:1"),
    *("30s:1e3", "30s:1000001", "30s:100;30s:200", ["30s:1", 5], [], "30s:٣", "1s:1,"),
]
BAD["slo"] = [
    *(*BAD["text"][:-1], "p99", "p99<", "<50ms", "p101<1s", "p99<50", "errors<5ms", "latency<1s"),
    *("p99=50ms", "errors<0.1%%", "send.errors<1", "rate>5%", [], ["p99<1s", 5]),
]
BAD["action"] = [*BAD["text"][:-1], "sign", "encrypt=", "encrypt=0", "encrypt,encrypt", "encrypt=x"]
BAD["payload-size"] = ["", "0", "4097", "5-", "9-5", "64:1,32", "64:1,32:0", "x", None, True, 1.5]
BAD["class"] = [*BAD["names"], "slow", "throttled,slow"]
BAD["shard"] = [
    *(*BAD["text"], "0/3", "4/3", "1", "/3", "1/", "1/0", "1/1001", "-1/3", "1/3/4", " 1/3", "1/٣"),
    *("1/3\n", "a/b", 1.5, [1, 3]),
]
BAD["seed"] = [raw for raw in BAD["number"] if raw != "0"]
KINDS = {"rate": "rate", "reserve": "reserve", "max-failures": "max-failures"}


def kind_of(name: str) -> str:
    option = BY_NAME[name]
    if name in KINDS:
        return KINDS[name]
    if option.switch:
        return "switch"
    if option.metavar == "TIME":
        return "duration"
    if option.name in BAD and option.name not in ("format", "number", "duration"):
        return option.name
    if option.metavar == "N":
        return "number"
    if option.metavar in ("SIZE", "FIELD,…", "CLASS,…"):
        return "size" if option.metavar == "SIZE" else "names"
    closed = "|" in option.metavar or name == "log-level"
    return "format" if closed else "text"


def test_every_option_has_a_good_value_here() -> None:
    assert {name for name, _, _ in GOOD} == set(BY_NAME)


@pytest.mark.parametrize(("name", "raw", "value"), GOOD)
def test_good_values(name: str, raw: Any, value: Any) -> None:
    parsed = BY_NAME[name].parse(raw)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "raw"), [(name, raw) for name in BY_NAME for raw in BAD[kind_of(name)]]
)
def test_bad_values(name: str, raw: Any) -> None:
    with pytest.raises(BadValue) as caught:
        BY_NAME[name].parse(raw)
    assert re.match(r"takes|is either|has|knows", str(caught.value)), "it says what to write"


@pytest.mark.parametrize("option", EVERY, ids=lambda option: option.name)
def test_the_default_is_a_value_that_could_be_given(option: Any) -> None:
    if option.default is None or option.default == MaxFailures():
        return
    written = f"{option.default:g}s" if option.metavar == "TIME" else option.default
    assert option.parse(written) == option.default


@given(
    number=st.integers(1, 10**8),
    unit=st.sampled_from([("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)]),
)
def test_durations(number: int, unit: tuple[str, float]) -> None:
    name, factor = unit
    assert duration(f"{number}{name}") == pytest.approx(number * factor)
    assert duration(f"0.5{name}") == pytest.approx(0.5 * factor)


@given(st.integers(1, MAX_RATE))
def test_rates(number: int) -> None:
    assert rate(str(number)) == rate(number) == number


@given(st.floats(0, 99.9))
def test_percentages(share: float) -> None:
    assert percentage(f"{share:.4f}%") == pytest.approx(share / 100, abs=1e-6)
    if share >= 1:
        assert percentage(f"{share:.4f}") == percentage(f"{share:.4f}%")
    assert max_failures(f"{share:.4f}%").share == pytest.approx(share / 100, abs=1e-6)


@pytest.mark.parametrize("raw", [0.3, "0.3", 0.999])
def test_a_share_of_one_is_no_percentage(raw: Any) -> None:
    with pytest.raises(BadValue, match="such as 30%"):
        percentage(raw)


@given(st.text(max_size=40) | st.integers() | st.floats() | st.none() | st.lists(st.integers()))
def test_no_value_ends_in_anything_but_bad_value(raw: Any) -> None:
    for option in EVERY:
        try:
            option.parse(raw)
        except BadValue as error:
            assert str(error)


@given(st.lists(st.integers(0, 999), min_size=1, max_size=12))
def test_whole_numbers_may_be_grouped(groups: list[int]) -> None:
    text = "_".join(str(group) for group in groups)
    number = int("".join(str(group) for group in groups))
    if 1 <= number <= 10**12:
        assert whole(1, 10**12)(text) == number
    else:
        with pytest.raises(BadValue):
            whole(1, 10**12)(text)


def test_leading_zeros_change_nothing() -> None:
    assert whole(1, 9)("0" * 40 + "7") == 7


@pytest.mark.parametrize("word", ["1", "TRUE", "yes", "on"])
def test_words_for_on(word: str) -> None:
    assert switch(word) is True


def test_no_option_is_a_secret() -> None:
    for option in EVERY:
        assert not re.search("secret|token|password|access", option.name)
    names = {field.name for field in dataclasses.fields(JobSpec)}
    assert not names & {"secret_id", "secret_key", "token"}


def test_the_job_has_one_field_for_every_option() -> None:
    fields = {field.name for field in dataclasses.fields(JobSpec)}
    assert fields - {"command", "input", "given"} == {option.field for option in EVERY}


def test_every_command_has_each_option_once() -> None:
    for options in OF_COMMAND.values():
        assert len({option.name for option in options}) == len(options)


def test_metrics_are_for_commands_that_call() -> None:
    having = {name for name, options in OF_COMMAND.items() if BY_NAME["metrics"] in options}
    assert having == {"encrypt", "reencrypt", "decrypt", "retry", "verify", "loadtest"}


def test_a_rate_is_that_of_the_quota_by_default() -> None:
    rates = {
        command: option.default
        for command, options in OF_COMMAND.items()
        for option in options
        if option.name == "rate"
    }
    assert rates["encrypt"] == rates["decrypt"] == rates["verify"] == 300
    assert rates["reencrypt"] == 100


def test_stages_are_written_as_they_are_read() -> None:
    option = BY_NAME["stage"]
    value = option.parse("30s:100,90s:0.5-300")
    assert option.parse(option.write(value)) == value


@pytest.mark.parametrize("raw", ["auto", "off", "0.5"])
def test_a_load_test_takes_only_a_number_for_a_rate(raw: str) -> None:
    (option,) = [each for each in OF_COMMAND["loadtest"] if each.name == "rate"]
    assert option.parse("250") == 250
    with pytest.raises(BadValue):
        option.parse(raw)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (":9464", "127.0.0.1:9464"),
        ("localhost:0", "127.0.0.1:0"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("[0:0::1]:65535", "[::1]:65535"),
        ("metrics.example:09464", "metrics.example:9464"),
    ],
)
def test_addresses(text: str, written: str) -> None:
    assert str(address(text)) == written
    assert address(written) == address(text)


@given(st.integers(1, 10**9), st.sampled_from(["KiB", "MiB", "GiB"]))
def test_sizes(number: int, unit: str) -> None:
    assert size(f"{number}{unit}") == number * 1024 ** (1 + ["KiB", "MiB", "GiB"].index(unit))
    assert size(str(number)) == size(number) == number


@given(st.lists(st.from_regex("[a-z]{1,5}", fullmatch=True), min_size=1, unique=True))
def test_lists_of_names(given: list[str]) -> None:
    assert names(",".join(given)) == names(given) == tuple(given)


def test_names_and_variables() -> None:
    assert len(BY_NAME) == len(EVERY)
    option = BY_NAME["max-failures"]
    assert (option.field, option.variable) == ("max_failures", "BATCHKMS_MAX_FAILURES")
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", option.name) for option in EVERY)
    assert all(option.help.endswith(".") for option in EVERY)
