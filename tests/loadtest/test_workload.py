"""The calls of a load test against the real emulator, over real sockets."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from batchkms.emulator import Emulator
from batchkms.errors import ConfigError
from batchkms.kms.credentials import Credentials
from batchkms.kms.endpoint import parse_endpoint
from batchkms.kms.signedrequests import SignatureMethod, signed_requests
from batchkms.kms.transport import Answer
from batchkms.loadtest.contents import Payloads, contents_of
from batchkms.loadtest.judging import Judged
from batchkms.loadtest.mix import parse_mix
from batchkms.loadtest.payload import parse_payload_size
from batchkms.loadtest.rows import Row, Rows
from batchkms.loadtest.workload import Workload
from batchkms.records import Record
from tests.loadtest.carrying import Carrier, answered

CONTEXT = '{"team":"röd +/=&"}'
OTHER_CONTEXT = '{"team":"blue"}'
METHODS: list[SignatureMethod] = ["tc3", "v1"]


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[Emulator]:
    """An emulator without a quota."""
    async with Emulator(data_dir=tmp_path / "data", rate_limit=None) as emulator:
        yield emulator


def workload(
    emulator: Emulator,
    mix: str,
    *,
    rows: list[Row] | None = None,
    size: str = "64",
    key_id: str | None = "demo",
    method: SignatureMethod = "tc3",
    secret_key: str | None = None,
) -> Workload:
    """A workload against an emulator, by default with its demo key."""
    return Workload(
        mix=parse_mix(mix),
        payloads=Payloads(
            size=parse_payload_size(size), rows=None if rows is None else Rows(rows, [])
        ),
        requests=signed_requests(parse_endpoint(emulator.endpoint), emulator.region, method=method),
        key_id=emulator.demo_key_id if key_id == "demo" else key_id,
        credentials=Credentials(emulator.secret_id, secret_key or emulator.secret_key),
        seed=1,
    )


async def judged(emulator: Emulator, work: Workload, calls: int) -> list[tuple[str, Judged]]:
    """What each of the first calls came to, and of which action it was."""
    async with Carrier(emulator.endpoint) as carrier:
        prepared = [work.next() for _ in range(calls)]
        return [
            (each.action, each.judge(await carrier.answer(each.request()))) for each in prepared
        ]


async def sealed(emulator: Emulator, plaintext: str = "aGVsbG8=") -> Row:
    """A row with a ciphertext that the emulator made, bound to a context."""
    parameters = {
        "KeyId": emulator.demo_key_id,
        "Plaintext": plaintext,
        "EncryptionContext": CONTEXT,
    }
    blob = (await answered(emulator, "Encrypt", parameters))["CiphertextBlob"]
    return Row(Record(seq=1, id="1", ciphertext=blob, encryption_context=CONTEXT))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", ["1", "1-40", "1KiB:1,4096:1"])
async def test_all_four_actions(emulator: Emulator, method: SignatureMethod, size: str) -> None:
    rows = [await sealed(emulator), await sealed(emulator, "d29ybGQ=")]
    mix = "encrypt=4,decrypt=2,reencrypt,generate-data-key"
    calls = await judged(emulator, workload(emulator, mix, rows=rows, size=size, method=method), 32)
    assert {(judged.outcome, judged.code, judged.in_step) for _, judged in calls} == {
        ("ok", None, True)
    }
    assert Counter(action for action, _ in calls) == {
        "encrypt": 16,
        "decrypt": 8,
        "reencrypt": 4,
        "generate-data-key": 4,
    }
    assert len({judged.request_id for _, judged in calls}) == 32


@pytest.mark.parametrize("method", METHODS)
async def test_a_wrong_secret_key(emulator: Emulator, method: SignatureMethod) -> None:
    work = workload(emulator, "encrypt", method=method, secret_key="wrong")
    [(_, found)] = await judged(emulator, work, 1)
    assert found.request_id is not None
    assert found == Judged("unauthorized", "AuthFailure.SignatureFailure", found.request_id, True)


@pytest.mark.parametrize("method", METHODS)
async def test_a_cmk_that_is_not_there(emulator: Emulator, method: SignatureMethod) -> None:
    missing = "00000000-0000-0000-0000-000000000000"
    work = workload(emulator, "encrypt,generate-data-key", key_id=missing, method=method)
    for _, found in await judged(emulator, work, 2):
        assert (found.outcome, found.code) == ("key_unavailable", "ResourceUnavailable.CmkNotFound")
        assert found.in_step


@pytest.mark.parametrize("method", METHODS)
async def test_rows_go_round_with_their_own_cmk_and_context(
    emulator: Emulator, method: SignatureMethod
) -> None:
    own = (await answered(emulator, "CreateKey", {"Alias": "own"}))["KeyId"]
    rows = [
        Row(Record(seq=1, id="1", plaintext=b"one", key_id=own, encryption_context=CONTEXT)),
        Row(Record(seq=2, id="2", plaintext="zw\u00f6lf +/=&%".encode())),
    ]
    work = workload(emulator, "encrypt", rows=rows, method=method)
    seen: list[tuple[str, bytes]] = []
    async with Carrier(emulator.endpoint) as carrier:
        for _ in range(4):
            prepared = work.next()
            answer = await carrier.answer(prepared.request())
            assert prepared.judge(answer).outcome == "ok"
            blob = orjson.loads(answer.body)["Response"]["CiphertextBlob"]
            context = {"EncryptionContext": CONTEXT} if len(seen) % 2 == 0 else {}
            opened = await answered(emulator, "Decrypt", {"CiphertextBlob": blob, **context})
            seen.append((opened["KeyId"], base64.b64decode(opened["Plaintext"])))
    assert seen == [(own, b"one"), (emulator.demo_key_id, "zw\u00f6lf +/=&%".encode())] * 2


@pytest.mark.parametrize("method", METHODS)
async def test_reencrypt_moves_to_the_cmk_and_context_of_the_row(
    emulator: Emulator, method: SignatureMethod
) -> None:
    own = (await answered(emulator, "CreateKey", {"Alias": "own"}))["KeyId"]
    row = await sealed(emulator)
    row.key_id, row.destination_context = own, OTHER_CONTEXT
    work = workload(emulator, "reencrypt", rows=[row], method=method)
    prepared = work.next()
    async with Carrier(emulator.endpoint) as carrier:
        answer = await carrier.answer(prepared.request())
    assert prepared.judge(answer).outcome == "ok"
    blob = orjson.loads(answer.body)["Response"]["CiphertextBlob"]
    parameters = {"CiphertextBlob": blob, "EncryptionContext": OTHER_CONTEXT}
    opened = await answered(emulator, "Decrypt", parameters)
    assert (opened["KeyId"], opened["Plaintext"]) == (own, "aGVsbG8=")


async def test_data_keys_are_made_under_each_cmk_of_the_rows(emulator: Emulator) -> None:
    own = (await answered(emulator, "CreateKey", {"Alias": "own"}))["KeyId"]
    rows = [Row(Record(seq=n, id="x", plaintext=b"x", key_id=own)) for n in (1, 2)]
    rows.append(Row(Record(seq=3, id="x", plaintext=b"x")))
    work = workload(emulator, "generate-data-key", rows=rows)
    named = [orjson.loads(work.next().request().partition(b"\r\n\r\n")[2]) for _ in range(3)]
    expected = [{"KeyId": each, "KeySpec": "AES_256"} for each in (own, emulator.demo_key_id)]
    assert named == [*expected, expected[0]]


async def test_rows_with_ciphertexts_leave_encrypt_its_random_plaintexts(
    emulator: Emulator,
) -> None:
    work = workload(emulator, "encrypt,decrypt", rows=[await sealed(emulator)], size="7")
    found = await judged(emulator, work, 4)
    assert [judged.outcome for _, judged in found] == ["ok"] * 4


async def test_credentials_that_are_renewed(emulator: Emulator) -> None:
    work = workload(emulator, "encrypt", secret_key="wrong")
    prepared = work.next()
    async with Carrier(emulator.endpoint) as carrier:
        assert prepared.judge(await carrier.answer(prepared.request())).outcome == "unauthorized"
        work.credentials = Credentials(emulator.secret_id, emulator.secret_key)
        assert prepared.judge(await carrier.answer(prepared.request())).outcome == "ok"


async def test_a_call_is_signed_for_when_it_is_sent(emulator: Emulator) -> None:
    work = workload(emulator, "encrypt")
    prepared = work.next()
    for now_s in (1_700_000_000.9, 1_700_086_400.0):
        work.wall_clock = lambda now_s=now_s: now_s  # type: ignore[misc]  # its default is no parameter
        assert f"X-TC-Timestamp: {int(now_s)}\r\n".encode() in prepared.request()


def test_the_same_seed_gives_the_same_calls() -> None:
    def bodies(seed: int) -> list[bytes]:
        work = Workload(
            mix=parse_mix("encrypt=3,generate-data-key"),
            payloads=Payloads(size=parse_payload_size("1-200")),
            requests=signed_requests(parse_endpoint("http://127.0.0.1:1"), "r"),
            key_id="k",
            credentials=Credentials("EXAMPLE", "key"),
            seed=seed,
        )
        return [work.next().request().partition(b"\r\n\r\n")[2] for _ in range(40)]

    assert bodies(1) == bodies(1)
    assert bodies(1) != bodies(2)


async def test_mixes_that_need_more(emulator: Emulator) -> None:
    plain = [Row(Record(seq=1, id="1", plaintext=b"x"))]
    for mix in ("decrypt", "encrypt=9,reencrypt=1"):
        for rows in (None, plain):
            with pytest.raises(ConfigError, match="needs a file with ciphertexts") as error:
                workload(emulator, mix, rows=rows)
            assert "batchkms encrypt" in str(error.value.hint)
    for mix in ("encrypt", "generate-data-key"):
        for rows in (None, plain):
            with pytest.raises(ConfigError, match="needs a CMK") as error:
                workload(emulator, mix, rows=rows, key_id=None)
            assert "--key-id" in str(error.value.hint)


CANARY = "canary-5Tt8Wb62nR"


async def test_no_plaintext_of_a_row_is_shown(emulator: Emulator) -> None:
    row = Row(Record(seq=1, id="1", plaintext=CANARY.encode(), encryption_context=CONTEXT))
    work = workload(emulator, "encrypt", rows=[row], secret_key=CANARY)
    prepared = work.next()
    prepared.request()
    refused = prepared.judge(Answer(200, b'{"Response":{"RequestId":"%s"}}' % CANARY.encode()))
    payloads = Payloads(rows=Rows([row], []))
    content = next(contents_of("encrypt", payloads, key_id="k", seed=1))
    shown = f"{work!r} {prepared!r} {work.judge!r} {refused!r} {payloads!r} {content!r} {row!r}"
    encoded = base64.b64encode(CANARY.encode()).decode()
    assert CANARY not in shown
    assert encoded not in shown
    with pytest.raises(ConfigError) as error:
        workload(emulator, "encrypt", rows=[row], key_id=None)
    assert CANARY not in f"{error.value!r} {error.value.hint}"
