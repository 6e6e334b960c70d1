"""The blob: the service's shape and lengths, and nothing in it can be changed."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchkms.emulator.ciphertext import (
    BadBlob,
    KeyCipher,
    context_fingerprint,
    decode_base64,
    parse_blob,
)
from tests.emulator.calling import Caller, b64

KEY_ID = "00000000-0000-1000-8000-000000000000"
CIPHER = KeyCipher(KEY_ID, bytes(range(32)))
PLAINTEXTS = st.binary(min_size=1, max_size=4096)
CONTEXTS = st.sampled_from(["", "{}", '{"key1":"value1"}', '{"key1": "value1"}', '{"名":"值"}'])


def decrypt(blob: str, context: str = "") -> bytes:
    return CIPHER.decrypt(parse_blob(blob), context)


@pytest.mark.parametrize(
    ("plaintext_bytes", "chars"), [(1, 166), (15, 166), (16, 190), (31, 190), (32, 210)]
)
def test_the_lengths_are_those_of_public_samples(plaintext_bytes: int, chars: int) -> None:
    assert len(CIPHER.encrypt(bytes(plaintext_bytes), "")) == chars


@settings(deadline=None)
@given(PLAINTEXTS, CONTEXTS)
@example(bytes(4096), "")
def test_a_blob_has_three_parts_and_decrypts(plaintext: bytes, context: str) -> None:
    blob = CIPHER.encrypt(plaintext, context)
    parts = [decode_base64(part) for part in blob.split("-k-")]
    lengths = [len(part) for part in parts if part is not None]
    assert lengths == [64, 16, 20 + 16 * (len(plaintext) // 16 + 1)]
    assert decrypt(blob, context) == plaintext


def test_the_longest_plaintext_gives_5630_characters() -> None:
    assert len(CIPHER.encrypt(bytes(4096), "")) == 5630


def test_the_first_part_names_the_key_and_the_second_the_context() -> None:
    other = KeyCipher(KEY_ID.replace("1", "2"), bytes(32))
    mine, again = CIPHER.encrypt(b"a", "{}"), CIPHER.encrypt(b"b", "")
    others = other.encrypt(b"a", "{}")
    assert mine.split("-k-")[0] == again.split("-k-")[0] != others.split("-k-")[0]
    assert mine.split("-k-")[1] == others.split("-k-")[1] != again.split("-k-")[1]


def test_each_encryption_gives_another_blob() -> None:
    assert len({CIPHER.encrypt(b"the same", "") for _ in range(100)}) == 100


@settings(deadline=None)
@given(st.data(), st.binary(min_size=1, max_size=80), CONTEXTS)
def test_no_byte_of_a_blob_can_be_changed(
    data: st.DataObject, plaintext: bytes, context: str
) -> None:
    blob = CIPHER.encrypt(plaintext, context)
    place = data.draw(st.integers(0, len(blob) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != blob[place]))
    with pytest.raises(BadBlob):
        decrypt(blob[:place] + other + blob[place + 1 :], context)


@settings(deadline=None)
@given(st.data(), st.binary(min_size=1, max_size=80))
def test_no_part_of_a_blob_can_be_cut_off_or_added(data: st.DataObject, plaintext: bytes) -> None:
    blob = CIPHER.encrypt(plaintext, "")
    place = data.draw(st.integers(0, len(blob) - 1))
    for changed in (blob[:place], blob[place + 1 :], blob + "=", blob + "-k-", "\n" + blob):
        with pytest.raises(BadBlob):
            decrypt(changed)


@settings(deadline=None)
@given(CONTEXTS, CONTEXTS)
def test_a_context_is_compared_as_text(context: str, other: str) -> None:
    blob = CIPHER.encrypt(b"secret", context)
    if context == other:
        assert decrypt(blob, other) == b"secret"
        return
    with pytest.raises(BadBlob):
        decrypt(blob, other)
    # Nor does it help to put the fingerprint of the other context into the blob.
    handle, _, payload = blob.split("-k-")
    with pytest.raises(BadBlob):
        decrypt("-k-".join((handle, context_fingerprint(other), payload)), other)


def test_parts_of_two_blobs_do_not_go_together() -> None:
    one, two = (CIPHER.encrypt(bytes(20), "").split("-k-") for _ in range(2))
    nonce = b64((decode_base64(one[2]) or b"")[:4] + (decode_base64(two[2]) or b"")[4:])
    with pytest.raises(BadBlob):
        decrypt("-k-".join((one[0], one[1], nonce)))


def test_a_blob_of_another_key_is_refused() -> None:
    other = KeyCipher(KEY_ID, bytes(32))
    handle, fingerprint, _ = CIPHER.encrypt(b"secret", "").split("-k-")
    payload = other.encrypt(b"secret", "").split("-k-")[2]
    with pytest.raises(BadBlob):
        decrypt("-k-".join((handle, fingerprint, payload)))


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_only_canonical_base64_is_decoded(value: bytes) -> None:
    text = b64(value)
    assert decode_base64(text) == value
    if text:
        assert decode_base64(f" {text}") is None
        assert decode_base64(f"{text}\n") is None
        assert decode_base64(f"{text}=") is None
    if text.endswith("="):
        assert decode_base64(text.rstrip("=")) is None


@pytest.mark.parametrize("text", ["YR==", "-_8=", "Ã==", "a", "=", "YQ=A"])
def test_what_is_no_canonical_base64(text: str) -> None:
    assert decode_base64(text) is None


async def test_a_tampered_blob_is_refused_over_the_wire(caller: Caller) -> None:
    context = {"EncryptionContext": '{"app":"billing"}'}
    blob = await caller.encrypt(b"secret", **context)
    assert await caller.code("Decrypt", {"CiphertextBlob": blob, **context}) == "ok"
    for place in range(0, len(blob), 7):
        changed = blob[:place] + ("A" if blob[place] != "A" else "B") + blob[place + 1 :]
        error = await caller.error("Decrypt", {"CiphertextBlob": changed, **context})
        assert error == (
            "InvalidParameterValue.InvalidCiphertext",
            "The ciphertext is in incorrect format.",
        )


@pytest.mark.parametrize("other", [None, "{}", '{"app": "billing"}', '{"app":"Billing"}'])
async def test_another_context_is_refused_over_the_wire(caller: Caller, other: str | None) -> None:
    blob = await caller.encrypt(b"secret", EncryptionContext='{"app":"billing"}')
    given = {} if other is None else {"EncryptionContext": other}
    code = await caller.code("Decrypt", {"CiphertextBlob": blob, **given})
    assert code == "InvalidParameterValue.InvalidCiphertext"
