"""Shares add up: every row is of exactly one of them, and their rates are the account's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.cli.reload import Reload
from batchkms.engine import Engine
from batchkms.errors import ConfigError
from batchkms.job import JobSpec, job_from
from batchkms.options.values import shard
from batchkms.quota import Group, Quotas, per_second
from batchkms.shard import MOST_SHARES, Shard, divided
from tests.scripted import OK, Scripted, always

_OF = st.integers(1, MOST_SHARES)


def _all(of: int) -> list[Shard]:
    return [Shard(number, of) for number in range(1, of + 1)]


@given(of=_OF, rows=st.integers(0, 10**12))
def test_rows_are_shared_out_evenly(of: int, rows: int) -> None:
    parts = [share.rows_of(rows) for share in _all(of)]
    assert sum(parts) == rows
    assert max(parts) - min(parts) <= 1
    assert parts == sorted(parts, reverse=True)


@given(of=_OF, before=st.integers(0, 10**6))
def test_a_row_is_dealt_to_one_share(of: int, before: int) -> None:
    assert [share.number for share in _all(of) if share.offset(before) == 0] == [before % of + 1]
    assert {share.offset(before) for share in _all(of)} == set(range(of))


@given(of=_OF, limit=st.integers(1, 1_000), rows=st.integers(0, 10**6))
def test_the_first_rows_of_each_share_are_the_first_ones_of_the_input(
    of: int, limit: int, rows: int
) -> None:
    taken = sum(min(limit, share.rows_of(rows)) for share in _all(of))
    assert taken == min(rows, of * limit)


@given(of=_OF, rate=st.integers(1, 10**6))
def test_parts_of_a_rate_add_up_to_it(of: int, rate: int) -> None:
    parts = [share.part(rate) for share in _all(of)]
    assert sum(parts) == rate
    assert max(parts) - min(parts) <= 1


@given(of=st.integers(1, 100), rate=st.integers(100, 10**6))
def test_every_quota_of_a_run_is_divided(of: int, rate: int) -> None:
    whole = per_second((Group.CRYPT, Group.DATA_KEY, Group.SOURCE), rate)
    parts = [share.divided(whole) for share in _all(of)]
    assert {group: sum(part[group] or 0 for part in parts) for group in whole} == whole
    assert all(calls is not None and calls >= 1 for part in parts for calls in part.values())


def test_no_limit_stays_none() -> None:
    whole = per_second((Group.CRYPT, Group.DATA_KEY), None)
    assert Shard(2, 3).divided(whole) == whole
    assert divided({Group.CRYPT: 5}, None) == {Group.CRYPT: 5}


@pytest.mark.parametrize("number", [1, 3])
def test_fewer_calls_than_shares_are_refused(number: int) -> None:
    with pytest.raises(ConfigError, match=r"2 calls/s \(data_key\) cannot be divided") as refused:
        Shard(number, 3).divided({Group.CRYPT: 300, Group.DATA_KEY: 2})
    assert "2 shares at the most" in str(refused.value.hint)


@given(of=_OF, data=st.data())
def test_a_share_is_read_as_it_is_written(of: int, data: st.DataObject) -> None:
    share = Shard(data.draw(st.integers(1, of)), of)
    assert shard(str(share)) == share


async def test_a_job_file_that_is_read_again_is_divided_as_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def job(rate: str) -> JobSpec:
        flags = {"emulator": True, "output": "out.jsonl", "rate": rate, "shard": "1/2"}
        return job_from(command="encrypt", input_path="-", flags=flags, environ={}, config=None)

    operation = Scripted(always(OK))
    quotas = Quotas(dict.fromkeys(operation.groups, 100))
    engine = Engine(operation, quotas=quotas)
    jobs = [job("90"), job("2"), job("auto"), job("off")]
    reload = Reload(
        read=lambda: jobs.pop(0),
        quotas=quotas,
        work=engine,
        manifest=None,
        found=301,
        # Whatever the file says by now.
        shard=Shard(1, 3),
    )
    kept = []
    for _ in range(4):
        reload()
        kept.append(quotas[operation.groups[0]].per_second)
    assert kept == [30, 30, 101, None]
    assert "the job file is not taken: 2 calls/s" in caplog.text
