"""The report: its exit code, its words, and its JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchkms.checks.account import Account, KeyFinding
from batchkms.checks.estimate import Estimate, Pace, price_of
from batchkms.checks.inventory import Batch, take_inventory
from batchkms.checks.report import SHOWN, CheckReport
from batchkms.errors import InputBroken, NetworkError, ServiceError
from batchkms.records import EarlierResult, ErrorClass, Record, Result, rejected
from batchkms.reporting.summary import Exit
from tests.checks.test_inventory import Given, record

ESTIMATE = Estimate(
    calls=3,
    per_second=300,
    pace=Pace(seconds=0.01, per_second=300),
    price=price_of(3),
    output_bytes=1_500,
    free_bytes=2_000_000_000,
)


def _bad(seq: int, row_id: str | None = None, code: str = "EmptyPlaintext") -> Result:
    return rejected(seq, row_id, code, f"line {seq + 1}: the plaintext is empty")


def _key(**changes: Any) -> KeyFinding:
    return KeyFinding(**{"key_id": "k", "rows": 3, "state": "Enabled", **changes})


async def report(
    *rows: Record | Result, account: Account | None = None, **estimate: Any
) -> CheckReport:
    found = await take_inventory(Given(list(rows)))
    changed = {name: getattr(ESTIMATE, name) for name in Estimate.__slots__} | estimate
    return CheckReport(
        inventory=found, account=account or Account(keys=(_key(),)), estimate=Estimate(**changed)
    )


async def test_nothing_speaks_against_a_run() -> None:
    found = await report(record(1), record(2), account=Account(keys=(_key(),), quota=300))
    assert (found.exit_code, found.defects(), found.notes()) == (Exit.OK, [], [])


async def test_an_input_without_rows() -> None:
    assert (await report()).exit_code is Exit.NO_RECORDS


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([record(1), _bad(2)], "1 row would fail: correct the rows"),
        (
            [
                EarlierResult(
                    seq=1,
                    id="a",
                    status="failed",
                    error_class=ErrorClass.INTERNAL,
                    code="InternalError",
                    attempts=8,
                )
            ],
            "1 row would fail: try again later",
        ),
        ([record(1), record(1, "b"), record(1, "c")], "would stop at 2 rows whose seq"),
    ],
)
async def test_rows_that_a_run_could_not_do(rows: Batch, told: str) -> None:
    found = await report(*rows)
    assert found.exit_code is Exit.SOME_FAILED
    assert told in "\n".join(found.defects())


@pytest.mark.parametrize(
    ("account", "told"),
    [
        (Account(keys=(_key(), _key(state="Disabled", rows=5))), "5 rows would fail under 1 CMK"),
        (Account(keys=(_key(usage="SIGN"),)), "cannot encrypt"),
        (
            Account(
                keys=(_key(state=None, error=ServiceError("ResourceUnavailable.CmkNotFound", "")),)
            ),
            "cannot encrypt",
        ),
        (Account(out_of_service="the account is in arrears"), "in arrears: no call can succeed"),
    ],
)
async def test_an_account_that_could_not_do_it(account: Account, told: str) -> None:
    found = await report(record(1), account=account)
    assert found.exit_code is Exit.SOME_FAILED
    assert told in "\n".join(found.defects())


async def test_a_service_that_could_not_be_asked_is_told_once() -> None:
    error = NetworkError("ConnectionRefused", "nobody listens")
    keys = tuple(_key(key_id=f"k{n}", state=None, error=error) for n in range(5))
    found = await report(record(1), account=Account(keys=keys, stopped_by=error))
    assert found.exit_code is Exit.SOME_FAILED
    text = "\n".join(found.as_text())
    assert text.count("nobody listens") == 1
    assert "next: the service could not be asked: ConnectionRefused: nobody listens: check" in text
    assert "  keys" not in text


async def test_a_disk_that_is_too_small() -> None:
    found = await report(record(1), output_bytes=1_500_000, free_bytes=20_000)
    assert found.exit_code is Exit.SOME_FAILED
    assert found.defects() == [
        "the output takes about 1.5 MB and 20.0 kB are free: write it to another disk"
    ]


async def test_an_input_that_breaks_off_is_unreadable() -> None:
    class Broken(Given):
        async def batches(self) -> Any:
            yield [record(1)]
            raise InputBroken("in.csv, line 3: it breaks off", hint="get it whole")

    inventory = await take_inventory(Broken())
    found = CheckReport(inventory=inventory, account=None, estimate=ESTIMATE)
    assert found.exit_code is Exit.USAGE
    assert found.as_text()[-2] == "next: in.csv, line 3: it breaks off: get it whole"
    assert found.as_json()["rows"] == 1


@pytest.mark.parametrize(
    ("account", "told"),
    [
        (
            Account(keys=(_key(state=None, error=ServiceError("UnauthorizedOperation", "no")),)),
            "whether CMKs can encrypt is not known of 1 of them",
        ),
        (Account(not_looked_at=6), "not known of 6"),
        (Account(quota=100), "the rate is 300/s and the quota 100/s"),
        (Account(problems=("GetServiceStatus failed: x",)), "GetServiceStatus failed: x"),
    ],
)
async def test_what_is_worth_a_note_is_no_defect(account: Account, told: str) -> None:
    found = await report(record(1), account=account)
    assert found.exit_code is Exit.OK
    assert told in "\n".join(found.notes())


async def test_duplicate_ids_are_a_note() -> None:
    found = await report(*(record(seq, "a") for seq in range(1, 16)))
    assert found.exit_code is Exit.OK
    assert "14 rows repeat the id of an earlier one" in found.notes()[0]
    text = found.as_text()
    assert "  duplicates  1 id on more than one row" in text
    assert "              rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 5 more" in text


async def test_the_text() -> None:
    error = ServiceError("ResourceUnavailable.CmkNotFound", "no such CMK", request_id="r-1")
    account = Account(
        keys=(_key(rows=2), _key(key_id="gone", rows=1, state=None, error=error)), quota=300
    )
    found = await report(
        record(1, plaintext=b"x" * 20, encryption_context='{"a":"b"}'),
        record(2),
        _bad(3),
        _bad(4, "prod/db"),
        _bad(5, code="PlaintextTooLarge"),
        account=account,
        calls=2,
        pace=Pace(seconds=65.0, per_second=300),
    )
    assert found.as_text() == [
        "check of given: nothing was sent",
        "  rows        5; 2 can be sent",
        "  bytes       0 B read, 21 B plaintext",
        "  would fail  3",
        "              EmptyPlaintext     2",
        "              PlaintextTooLarge  1",
        "              row 3: EmptyPlaintext: line 4: the plaintext is empty",
        "              row 4 prod/db: EmptyPlaintext: line 5: the plaintext is empty",
        "              row 5: PlaintextTooLarge: line 6: the plaintext is empty",
        "  sizes       to 16 B 1, to 64 B 1, over 1",
        "  contexts    1 different, on 1 row",
        "  keys        gone  ResourceUnavailable.CmkNotFound: no such CMK (request id r-1) "
        "(1 row would fail)",
        "              k  Enabled (2 rows)",
        "  quota       300/s",
        "  calls       2",
        "  time        1 min 05 s at 300/s",
        "  price       0.00 to 0.00 USD by the list, by how many of this month's free calls are "
        "left; retries may come on top",
        "  output      about 1.5 kB, 2.0 GB free",
        "next: 3 rows would fail: correct the rows that their messages name, then run those",
        "next: 1 row would fail under 1 CMK that cannot encrypt: check the key ids and the region, "
        "and that the CMKs are enabled",
    ]


async def test_long_lists_are_cut_in_the_text_and_go_on_in_the_json() -> None:
    rows = [_bad(seq, "x" * 1_000) for seq in range(1, SHOWN + 6)]
    keys = tuple(_key(key_id=f"k{n}") for n in range(SHOWN + 2))
    found = await report(*rows, account=Account(keys=keys))
    text = found.as_text()
    assert sum(line.lstrip().startswith("row ") for line in text) == SHOWN
    assert "              and 5 more rows" in text
    assert "              and 2 more keys" in text
    assert max(map(len, text)) < 200
    assert len(found.as_json()["failing_rows"]) == SHOWN + 5


async def test_the_json_is_plain_json() -> None:
    error = ServiceError("UnauthorizedOperation", "no", request_id="r-1")
    account = Account(keys=(_key(), _key(key_id="b", state=None, error=error)), quota=300)
    found = await report(record(1, "a"), record(2, "a"), _bad(3), account=account)
    content = json.loads(json.dumps(found.as_json()))
    assert (content["command"], content["exit_code"]) == ("check", 1)
    assert (content["rows"], content["sendable"], content["failing"]) == (3, 2, 1)
    assert content["codes"] == {"EmptyPlaintext": 1}
    assert content["failing_rows"] == [
        {
            "seq": 3,
            "id": "3",
            "code": "EmptyPlaintext",
            "message": "line 4: the plaintext is empty",
        }
    ]
    assert content["duplicates"] == {
        "ids": 1,
        "surplus_rows": 1,
        "problem": None,
        "named": [{"id": None, "rows": 2, "seqs": [1, 2]}],
    }
    assert content["account"]["keys"][1] == {
        "key_id": "b",
        "rows": 3,
        "usable": None,
        "state": None,
        "usage": None,
        "code": "UnauthorizedOperation",
        "message": "no",
        "request_id": "r-1",
    }
    assert content["price_usd"] == {"least": 0, "most": 0.0001}
    assert content["sizes"][-1] == {"up_to_bytes": None, "rows": 0}


async def test_one_row_repeats() -> None:
    found = await report(record(1, "a"), record(2, "a"))
    assert found.notes()[0].startswith("1 row repeats the id")
