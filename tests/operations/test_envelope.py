"""Envelope encryption and decryption as a run does it: lots, keys, failures and outages."""

from __future__ import annotations

import logging
from base64 import b64decode
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.engine import EngineOptions
from batchkms.errors import OutageError, RunStopped
from batchkms.operations.decrypt import Decrypt
from batchkms.operations.envelope import Envelope
from batchkms.operations.reencrypt import Reencrypt
from batchkms.records import ErrorClass, Record, Result
from batchkms.retry import RetryPolicy
from tests.operations.scripted_kms import ScriptedKms, engine_of
from tests.scripted import OK, now_s, other_tasks, outcome_of, record, records, results_of
from tests.virtual_time import run_virtual

BY_KEY = EngineOptions(key_per_record=True)


def envelope(kms: ScriptedKms, *, rows: int = 1_000, only_oversize: bool = False) -> Envelope:
    return Envelope(kms, key_id="k", data_key_rows=rows, only_oversize=only_oversize)


def sealed(result: Result) -> Record:
    """The row that a result is when it is read again."""
    return Record(
        seq=result.seq,
        id=result.id,
        ciphertext=result.ciphertext,
        data_key=result.data_key,
        encryption_context=result.encryption_context,
        destination_context=result.encryption_context,
    )


async def encrypted(kms: ScriptedKms, items: list[Record], *, rows: int = 1_000) -> list[Result]:
    return await results_of(engine_of(envelope(kms, rows=rows)), items)


# -- There and back --------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    plaintexts=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20),
    context=st.none() | st.just('{"a":"b"}'),
    rows=st.integers(1, 5),
)
def test_what_was_encrypted_decrypts(
    plaintexts: list[bytes], context: str | None, rows: int
) -> None:
    async def main() -> None:
        kms = ScriptedKms()
        items = [
            Record(seq=seq, id=f"=id {seq}", plaintext=plaintext, encryption_context=context)
            for seq, plaintext in enumerate(plaintexts, 1)
        ]
        results = await encrypted(kms, items, rows=rows)
        assert kms.data_keys() == -(-len(items) // rows)
        opened = await results_of(engine_of(Decrypt(kms)), [sealed(result) for result in results])
        texts = {r.seq: (r.plaintext, r.encoding) for r in opened}
        for item in items:
            text, encoding = texts[item.seq]
            assert text is not None
            assert (b64decode(text) if encoding == "base64" else text.encode()) == item.plaintext
        assert {r.key_id for r in opened} == {"k"}

    run_virtual(main())


@pytest.mark.parametrize(("size", "local"), [(1, False), (4_096, False), (4_097, True)])
def test_only_long_plaintexts_are_encrypted_here_where_that_is_asked(
    size: int, local: bool
) -> None:
    async def main() -> None:
        kms = ScriptedKms()
        operation = envelope(kms, only_oversize=True)
        (result,) = await results_of(engine_of(operation), [record(1, size_bytes=size)])
        assert (result.mode, result.attempts) == ("envelope" if local else None, 1)
        assert [action for action, _ in kms.calls] == ["GenerateDataKey" if local else "Encrypt"]

    run_virtual(main())


def test_every_changed_byte_of_a_row_fails_and_shows_no_plaintext() -> None:
    async def main() -> None:
        kms = ScriptedKms()
        row = Record(seq=1, id="id", plaintext=b"a secret", encryption_context='{"a":"b"}')
        whole = sealed((await encrypted(kms, [row]))[0])
        changed: list[Record] = []
        for field in ("ciphertext", "data_key", "id", "encryption_context"):
            text = getattr(whole, field)
            for at in range(len(text)):
                other = chr(ord(text[at]) ^ 1)
                values = {field: text[:at] + other + text[at + 1 :]}
                changed.append(msgspec.structs.replace(whole, seq=len(changed) + 1, **values))
        # So many failures at the beginning would stop a run.
        whole = msgspec.structs.replace(whole, seq=10**6)
        results = await results_of(engine_of(Decrypt(kms)), [whole, *changed])
        failed = [result for result in results if result.seq != 10**6]
        assert len(failed) == len(changed)
        for result in failed:
            assert (result.status, result.plaintext) == ("failed", None)
            assert result.code in ("InvalidEnvelope", "InvalidParameterValue.InvalidCiphertext")
            assert "secret" not in str(msgspec.to_builtins(result))
        codes = Counter(result.code for result in failed)
        assert codes["InvalidParameterValue.InvalidCiphertext"] == len(whole.data_key or "")
        wrong = {r.error_class for r in failed if r.code == "InvalidEnvelope"}
        assert wrong == {ErrorClass.INVALID_RECORD}

    run_virtual(main())


def test_a_data_key_in_the_place_of_a_ciphertext_is_not_decrypted() -> None:
    async def main() -> None:
        kms = ScriptedKms()
        (result,) = await encrypted(kms, records(1))
        for context in (None, '{"a":"b"}'):
            row = Record(seq=1, id="x", ciphertext=result.data_key, encryption_context=context)
            (opened,) = await results_of(engine_of(Decrypt(kms)), [row])
            assert (opened.ok, opened.plaintext) == (False, None)

    run_virtual(main())


def test_reencrypt_moves_data_keys_alone_each_once() -> None:
    async def main() -> None:
        kms = ScriptedKms()
        results = await encrypted(kms, records(500), rows=100)
        engine = engine_of(Reencrypt(kms, key_id="new"))
        moved = await results_of(engine, [sealed(result) for result in results])
        assert Counter(action for action, _ in kms.calls)["ReEncrypt"] == 5
        assert {result.key_id for result in moved} == {"new"}
        assert {r.seq: r.ciphertext for r in moved} == {r.seq: r.ciphertext for r in results}
        opened = await results_of(engine_of(Decrypt(kms)), [sealed(result) for result in moved])
        assert all(r.plaintext == "p" * 8 and r.key_id == "new" for r in opened)

    run_virtual(main())


# -- How many calls --------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 64])
def test_one_data_key_for_so_many_rows_and_one_call_at_a_time(concurrency: int) -> None:
    async def main() -> None:
        kms = ScriptedKms(took_s=0.5)
        options = EngineOptions(concurrency=concurrency)
        engine = engine_of(envelope(kms, rows=100), options=options)
        results = await results_of(engine, records(10_050))
        assert all(result.ok for result in results)
        rows = Counter(result.data_key for result in results)
        assert sorted(rows.values()) == [50] + [100] * 100
        assert kms.data_keys() == engine.tally.calls == 101
        assert kms.most_under_way == {"GenerateDataKey": 1}
        assert sum(result.attempts for result in results) == 101

    run_virtual(main())


def test_no_nonce_is_used_twice() -> None:
    async def main() -> None:
        results = await encrypted(ScriptedKms(), records(100_000), rows=10_000)
        used = {(r.data_key, b64decode(r.ciphertext or "")[1:13]) for r in results}
        assert len(used) == 100_000

    run_virtual(main())


def test_records_with_cmks_of_their_own_do_not_share_data_keys() -> None:
    async def main() -> None:
        kms = ScriptedKms()
        items = [record(seq, key_id=f"key-{seq % 7}") for seq in range(1, 1_001)]
        results = await results_of(engine_of(envelope(kms, rows=50), options=BY_KEY), items)
        for result in results:
            assert result.key_id == f"key-{result.seq % 7}"
            assert (result.data_key or "").startswith(f"key-{result.seq % 7}-k-")
        for number in range(7):
            of_one = sum(item.key_id == f"key-{number}" for item in items)
            assert kms.data_keys(f"key-{number}") == -(-of_one // 50)

    run_virtual(main())


# -- What goes wrong -------------------------------------------------------------------------

UNUSABLE = "ResourceUnavailable.CmkDisabled"


def test_a_cmk_that_becomes_unusable_stops_a_run_that_has_no_other() -> None:
    async def main() -> None:
        kms = ScriptedKms(lambda about, number: OK if number < 3 else UNUSABLE)
        results, error = await outcome_of(engine_of(envelope(kms, rows=100)), records(2_000))
        assert isinstance(error, RunStopped)
        assert "the CMK k cannot be used" in error.message
        assert kms.data_keys() == 4, "those that wait do not ask again"
        assert all(result.ok for result in results)
        assert len(results) <= 300
        assert not other_tasks()

    run_virtual(main())


@pytest.mark.parametrize("size_bytes", [8, 4_096])
def test_a_cmk_that_becomes_unusable_fails_only_its_own_rows(size_bytes: int) -> None:
    async def main() -> None:
        kms = ScriptedKms(lambda about, number: UNUSABLE if about == "bad" and number else OK)
        items = [
            record(seq, key_id="bad" if seq % 3 == 0 else f"good-{seq % 40}", size_bytes=size_bytes)
            for seq in range(1, 3_001)
        ]
        results = await results_of(engine_of(envelope(kms, rows=100), options=BY_KEY), items)
        assert sorted(result.seq for result in results) == list(range(1, 3_001))
        failed = [result for result in results if not result.ok]
        assert {result.key_id for result in failed} == {"bad"}
        assert {result.code for result in failed} == {UNUSABLE}
        assert len(failed) == 900
        assert kms.data_keys("bad") == 2, "it is not asked for again"

    run_virtual(main())


def test_a_data_key_whose_cmk_is_gone_does_not_condemn_the_new_one() -> None:
    async def main() -> None:
        kms = ScriptedKms()
        results = await encrypted(kms, records(200), rows=50)
        lost = results[150].data_key
        kms._answers = lambda about, number: UNUSABLE if about == lost else OK
        engine = engine_of(Reencrypt(kms, key_id="new"))
        moved = await results_of(engine, [sealed(result) for result in results])
        assert Counter(result.ok for result in moved) == {True: 150, False: 50}
        assert {result.code for result in moved if not result.ok} == {UNUSABLE}

    run_virtual(main())


def test_a_call_that_fails_is_tried_again_and_fails_no_row() -> None:
    async def main() -> None:
        answers = ["InternalError", "RequestLimitExceeded", OK]
        kms = ScriptedKms(lambda about, number: answers[number % 3])
        engine = engine_of(envelope(kms, rows=100))
        results = await results_of(engine, records(300))
        assert all(result.ok for result in results)
        assert (engine.tally.calls, engine.tally.retries, engine.tally.throttled) == (9, 6, 3)

    run_virtual(main())


@pytest.mark.parametrize("code", ["InternalError", "ConnectTimeout", "Http503"])
@pytest.mark.parametrize("since_s", [0.0, 1.0])
def test_no_row_is_burnt_by_an_outage(
    code: str, since_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        began = now_s()
        kms = ScriptedKms(
            lambda about, number: code if since_s <= now_s() - began < 100 else OK, took_s=0.1
        )
        engine = engine_of(envelope(kms, rows=100))
        results = await results_of(engine, records(5_000))
        assert len(results) == 5_000
        assert all(result.ok for result in results)
        assert kms.most_under_way == {"GenerateDataKey": 1}

    with caplog.at_level(logging.WARNING):
        run_virtual(main())
    assert "nothing succeeds" in caplog.text


def test_no_envelope_is_burnt_by_a_lost_network() -> None:
    async def main() -> None:
        kms = ScriptedKms()
        rows = [sealed(result) for result in await encrypted(kms, records(3_000))]
        began = now_s()
        kms._answers = lambda about, number: "ConnectTimeout" if now_s() - began < 60 else OK
        for operation in (Decrypt(kms), Reencrypt(kms, key_id="new")):
            assert all(result.ok for result in await results_of(engine_of(operation), rows))
            began = now_s()

    run_virtual(main())


def test_an_outage_that_outlasts_its_budget_stops_the_run_and_fails_no_row() -> None:
    async def main() -> None:
        kms = ScriptedKms(lambda about, number: OK if number < 2 else "InternalError")
        results, error = await outcome_of(engine_of(envelope(kms, rows=100)), records(5_000))
        assert isinstance(error, OutageError)
        assert len(results) <= 200
        assert all(result.ok for result in results)

    run_virtual(main())


def test_one_data_key_that_always_fails_is_no_outage() -> None:
    async def main() -> None:
        kms = ScriptedKms()
        rows = [sealed(result) for result in await encrypted(kms, records(1_000), rows=100)]
        broken = rows[300].data_key
        kms._answers = lambda about, number: "InternalError" if about == broken else OK
        results = await results_of(engine_of(Decrypt(kms)), rows)
        assert Counter(result.ok for result in results) == {True: 900, False: 100}
        assert {result.code for result in results if not result.ok} == {"InternalError"}

    run_virtual(main())


def test_each_call_of_a_lot_has_a_deadline_of_its_own() -> None:
    async def main() -> None:
        kms = ScriptedKms()
        rows = [sealed(result) for result in await encrypted(kms, records(600), rows=1)]
        # At two calls a second the last row of a lot is tried minutes after its first.
        engine = engine_of(Decrypt(kms), per_second=2, retry=RetryPolicy(deadline_s=20))
        results = await results_of(engine, rows)
        assert all(result.ok for result in results)
        await engine._attempts.quotas.aclose()

    run_virtual(main())


def test_a_call_that_is_given_up_leaves_the_next_one_all_its_attempts() -> None:
    async def main() -> None:
        kms = ScriptedKms()
        rows = [sealed(result) for result in await encrypted(kms, records(3), rows=1)]
        first, second = rows[0].data_key, rows[1].data_key
        kms._answers = lambda about, number: (
            "InternalError" if about == first or (about == second and number < 5) else OK
        )
        results = {r.seq: r for r in await results_of(engine_of(Decrypt(kms)), rows)}
        assert [results[seq].ok for seq in (1, 2, 3)] == [False, True, True]
        assert kms.calls.count(("Decrypt", second or "")) == 6

    run_virtual(main())
