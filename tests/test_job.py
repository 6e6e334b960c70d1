"""A job from flags, environment, file and defaults: who wins, and what is refused and how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.engine import EngineOptions
from batchkms.errors import ConfigError
from batchkms.failurerules import MaxFailures
from batchkms.job import JobSpec, job_from
from batchkms.jobrules import EMULATOR_REGION
from batchkms.options import COMMON, Option
from batchkms.options.values import (
    duration,
    max_failures,
    percentage,
    written_duration,
    written_max_failures,
    written_percentage,
)

FLAGS = {"output": "out.jsonl", "key_id": "k", "region": "ap-beijing"}


def job(config: str | None = None, environ: dict[str, str] | None = None, **flags: Any) -> JobSpec:
    return job_from(
        command="encrypt",
        input_path="in.jsonl",
        flags={**FLAGS, **flags},
        environ=environ or {},
        config=config,
    )


def refused(config: str | None = None, environ: dict[str, str] | None = None, **flags: Any) -> str:
    """The message and hint of a job that is refused."""
    with pytest.raises(ConfigError) as caught:
        job(config, environ, **flags)
    assert caught.value.hint, "what to write instead"
    return f"{caught.value} ({caught.value.hint})"


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "job.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_defaults() -> None:
    spec = job()
    assert (spec.rate, spec.concurrency, spec.queue_size, spec.max_attempts) == (300, 64, 1000, 8)
    assert (spec.timeout, spec.connect_timeout, spec.deadline) == (10.0, 3.0, 120.0)
    assert (spec.outage_budget, spec.fsync_interval, spec.reserve) == (300.0, 1.0, 0.0)
    assert spec.max_failures == MaxFailures()
    assert (spec.progress, spec.summary, spec.log_level) == ("auto", "text", "info")
    assert not (spec.ordered or spec.overwrite or spec.emulator)
    assert spec.engine_options() == EngineOptions()


def test_flags_beat_environment_beats_file_beats_default(tmp_path: Path) -> None:
    config = write(tmp_path, 'rate = 10\nconcurrency = 11\ntimeout = "12s"\n')
    environ = {"BATCHKMS_RATE": "20", "BATCHKMS_CONCURRENCY": "21"}
    spec = job(config, environ, rate="30")
    assert (spec.rate, spec.concurrency, spec.timeout, spec.queue_size) == (30, 21, 12.0, 1000)


@pytest.mark.parametrize("option", COMMON, ids=lambda option: option.name)
def test_every_option_may_be_written_in_all_three_places(tmp_path: Path, option: Any) -> None:
    given = {
        "output": "x",
        "format": "csv",
        "output-format": "csv",
        "encoding": "hex",
        "limit": "7",
        "rate": "off",
        "reserve": "30%",
        "concurrency": "5",
        "processes": "5",
        "queue-size": "5",
        "max-attempts": "5",
        "timeout": "5s",
        "connect-timeout": "5s",
        "deadline": "5s",
        "outage-budget": "5s",
        "max-failures": "5%",
        "fsync-interval": "5s",
        "progress": "never",
        "transport": "wire",
        "metrics": "[::1]:9464",
        "summary": "json",
        "log-level": "debug",
        "log-format": "json",
    }.get(option.name, "true" if option.switch else "some-text")
    flags: dict[str, Any] = dict(FLAGS)
    if option.name in ("emulator", "data-dir"):
        flags["emulator"] = True
    expected = option.parse(given)
    assert expected != option.default

    def value(**sources: Any) -> Any:
        rest = {name: flag for name, flag in flags.items() if name != option.field}
        arguments: dict[str, Any] = {"flags": rest, "environ": {}, "config": None, **sources}
        return getattr(job_from(command="encrypt", input_path="in", **arguments), option.field)

    flag = {name: given if name == option.field else flags[name] for name in [*flags, option.field]}
    assert value(flags=flag) == expected
    assert value(environ={option.variable: given}) == expected
    assert value(config=write(tmp_path, f'{option.name} = "{given}"\n')) == expected
    assert value(config=write(tmp_path, f'{option.field} = "{given}"\n')) == expected


def test_a_false_switch_of_a_flag_beats_a_true_one_of_the_file(tmp_path: Path) -> None:
    config = write(tmp_path, "ordered = true\n")
    assert job(config).ordered
    assert not job(config, ordered=False).ordered


def test_the_input_of_a_file_gives_way_to_that_of_the_command_line(tmp_path: Path) -> None:
    config = write(tmp_path, 'input = "from-file.csv"\n')
    assert job(config).input == "in.jsonl"
    spec = job_from(command="encrypt", input_path=None, flags=FLAGS, environ={}, config=config)
    assert spec.input == "from-file.csv"


def test_regions_of_the_environment() -> None:
    flags = {"region": None}
    assert job(environ={"TENCENTCLOUD_REGION": "a"}, **flags).region == "a"
    both = {"TENCENTCLOUD_REGION": "a", "BATCHKMS_REGION": "b"}
    assert job(environ=both, **flags).region == "b"
    assert job(environ=both, region="c").region == "c"


def test_empty_variables_count_as_unset() -> None:
    assert job(environ={"BATCHKMS_RATE": "", "BATCHKMS_ORDERED": ""}).rate == 300


# -- What is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("ratee", "rate"),
        ("key_idd", "key-id"),
        ("conncurrency", "concurrency"),
        ("inputs", "input"),
        ("Rate", "rate"),
        ("max-failure", "max-failures"),
    ],
)
def test_an_unknown_key_names_file_key_and_nearest_name(
    tmp_path: Path, key: str, near: str
) -> None:
    config = write(tmp_path, f"{key} = 1\n")
    said = refused(config)
    assert config in said
    assert repr(key) in said
    assert f"the nearest name is {near!r}" in said


@pytest.mark.parametrize("text", ["[encrypt]\nrate = 1\n", '"" = 1\n', '"!?" = 1\n'])
def test_keys_that_resemble_nothing(tmp_path: Path, text: str) -> None:
    assert "there is no option" in refused(write(tmp_path, text))


@pytest.mark.parametrize(
    "text", ["rate = \n", "rate 300\n", "rate = 1\nrate = 2\n", "a = " + "[" * 2_000]
)
def test_a_file_that_is_no_toml(tmp_path: Path, text: str) -> None:
    config = write(tmp_path, text)
    assert f"{config} is no valid TOML" in refused(config)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refused(str(tmp_path / "none.toml"))
    assert "cannot be read: Is a directory" in refused(str(tmp_path))
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    assert "is no valid TOML" in refused(str(tmp_path / "latin.toml"))


def test_a_wrong_value_names_where_it_was_written(tmp_path: Path) -> None:
    assert refused(rate="fast").startswith("--rate takes a whole number of calls per second")
    assert "(given: 'fast')" in refused(rate="fast")
    assert refused(environ={"BATCHKMS_RATE": "0"}).startswith("BATCHKMS_RATE takes")
    config = write(tmp_path, "timeout = 10\n")
    said = refused(config)
    assert said.startswith(f"{config}: timeout takes a time such as 100ms, 1s, 2m or 1h")
    assert "(given: 10)" in said
    assert "takes a path" in refused(write(tmp_path, "input = 5\n"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"output": None}, "no output was given"),
        ({"key_id": None}, "no CMK was given"),
        ({"region": None}, "no region was given"),
        ({"data_dir": "d"}, "--data-dir goes with --emulator"),
        ({"emulator": True, "endpoint": "https://e"}, "--emulator and --endpoint"),
        ({"emulator": True, "profile": "p"}, "--emulator and --profile"),
        ({"emulator": True, "credentials": "c"}, "--emulator and --credentials"),
        ({"emulator": True, "proxy": "http://p"}, "--emulator and --proxy"),
        ({"emulator": True, "ca_file": "c"}, "--emulator and --ca-file"),
        ({"output": "-", "summary": "json"}, "cannot both go to stdout"),
    ],
)
def test_combinations_that_make_no_sense(flags: dict[str, Any], said: str) -> None:
    assert said in refused(**flags)


def test_no_input() -> None:
    with pytest.raises(ConfigError, match="no input was given"):
        job_from(command="encrypt", input_path=None, flags=FLAGS, environ={}, config=None)


# -- What follows from the options -----------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:9", "http://[::1]", "127.0.0.1"],
)
def test_on_loopback_any_region_will_do(endpoint: str) -> None:
    assert job(endpoint=endpoint, region=None).region == EMULATOR_REGION
    assert job(endpoint=endpoint).region == "ap-beijing"


def test_elsewhere_a_region_is_needed() -> None:
    assert "no region was given" in refused(endpoint="https://kms.example", region=None)


def test_the_emulator_needs_neither_key_nor_region() -> None:
    spec = job(emulator=True, key_id=None, region=None)
    assert (spec.key_id, spec.region) == (None, EMULATOR_REGION)


def test_names_of_fields_that_were_given_are_required() -> None:
    assert job().fields().required == frozenset()
    fields = job(id_field="name", key_field="cmk").fields()
    assert (fields.id, fields.plaintext, fields.key) == ("name", "plaintext", "cmk")
    assert fields.required == {"name", "cmk"}


def test_engine_and_retry_take_the_options() -> None:
    spec = job(
        concurrency="3",
        queue_size="4",
        ordered=True,
        outage_budget="5s",
        max_failures="6",
        key_field="cmk",
        max_attempts="7",
        deadline="8s",
        timeout="900ms",
    )
    options, retry = spec.engine_options(), spec.retry_policy()
    assert (options.concurrency, options.queue_records, options.ordered) == (3, 4, True)
    assert (options.outage_budget_s, options.max_failures.rows) == (5.0, 6)
    assert options.key_per_record
    assert (retry.max_attempts, retry.deadline_s, retry.attempt_timeout_s) == (7, 8.0, 0.9)


def test_several_processes_are_refused_where_they_cannot_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert job(processes="2").processes == 2
    monkeypatch.setattr("batchkms.jobrules.sys.platform", "win32")
    assert job(processes="1").processes == 1
    with pytest.raises(ConfigError, match="POSIX") as raised:
        job(processes="2")
    assert "leave --processes out" in (raised.value.hint or "")


def test_settings_are_json_and_hold_no_password() -> None:
    spec = job(max_failures="5%", proxy="http://user:pass-word@proxy.example:3128")
    text = json.dumps(spec.settings())
    assert json.loads(text)["max_failures"] == "5%"
    assert "pass-word" not in text
    assert "proxy.example:3128" in text
    assert json.loads(json.dumps(job(max_failures="7").settings()))["max_failures"] == 7
    assert "max_failures" not in job().settings()
    assert "metrics" not in job(metrics=":9464").settings()


@pytest.mark.parametrize("option", COMMON, ids=lambda option: option.name)
def test_what_is_written_is_read_as_the_same(option: Option) -> None:
    if option.default is None:
        return
    written = option.write(option.default)
    assert written is None or option.parse(written) == option.default


@given(st.floats(0.001, 1e6), st.floats(0.01, 0.99))
def test_times_and_shares_are_written_as_they_are_read(seconds: float, share: float) -> None:
    assert duration(written_duration(seconds)) == pytest.approx(seconds, abs=1e-8)
    assert percentage(written_percentage(share)) == pytest.approx(share, abs=1e-8)
    cap = MaxFailures(share=share)
    assert max_failures(written_max_failures(cap)).share == pytest.approx(share, abs=1e-8)


def test_the_settings_name_the_fields_that_are_in_force() -> None:
    settings = job().settings()
    assert (settings["id_field"], settings["plaintext_field"]) == ("id", "plaintext")
    assert settings["context_field"] == "encryption_context"
    assert job(plaintext_field="secret").settings()["plaintext_field"] == "secret"
