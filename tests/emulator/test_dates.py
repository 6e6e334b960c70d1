"""What happens by itself when its date has come, by the emulator's clock: deletion, rotation."""

from __future__ import annotations

from pathlib import Path

from batchkms.emulator import Emulator
from batchkms.emulator.store import Store
from tests.emulator.calling import NOW_S, Caller, Clock, calling

DAY_S = 86_400
NOT_FOUND = "ResourceUnavailable.CmkNotFound"


async def scheduled(caller: Caller, days: int = 7) -> tuple[str, str]:
    """A key that is to be deleted in so many days, and a blob of it."""
    key_id = (await caller.call("CreateKey", {"Alias": "doomed"}))["KeyId"]
    blob = await caller.encrypt(b"secret", KeyId=key_id)
    await caller.call("DisableKey", {"KeyId": key_id})
    answer = await caller.call(
        "ScheduleKeyDeletion", {"KeyId": key_id, "PendingWindowInDays": days}
    )
    assert answer["DeletionDate"] == caller.clock.now_s + days * DAY_S
    return key_id, blob


async def test_a_key_is_gone_when_its_date_has_come(caller: Caller) -> None:
    key_id, blob = await scheduled(caller)
    caller.clock.now_s += 7 * DAY_S - 1
    assert await caller.code("DescribeKey", {"KeyId": key_id}) == "ok"
    caller.clock.now_s += 1
    assert await caller.code("DescribeKey", {"KeyId": key_id}) == NOT_FOUND
    assert await caller.code("CancelKeyDeletion", {"KeyId": key_id}) == NOT_FOUND
    # Its blobs are known as what they were: blobs of a key that is no more.
    assert await caller.code("Decrypt", {"CiphertextBlob": blob}) == NOT_FOUND
    assert await caller.code("CreateKey", {"Alias": "doomed"}) == "ok"


async def test_a_date_that_comes_while_a_call_is_the_first_to_notice(caller: Caller) -> None:
    key_id, _ = await scheduled(caller)
    caller.clock.now_s += 7 * DAY_S
    assert await caller.code("CancelKeyDeletion", {"KeyId": key_id}) == NOT_FOUND
    assert (await caller.call("GetServiceStatus"))["CmkUserCount"] == 1


def on_disk(data_dir: Path, material: bytes) -> bool:
    return any(material in path.read_bytes() for path in data_dir.iterdir())


async def test_a_date_that_comes_while_nothing_runs(tmp_path: Path) -> None:
    clock = Clock()
    first = Emulator(data_dir=tmp_path, clock=clock)
    async with first, calling(first, clock) as caller:
        key_id, blob = await scheduled(caller)
    store = Store(tmp_path)
    keys = store.snapshot("ap-guangzhou").keys
    store.close()
    material = next(key.versions[0] for key in keys if key.key_id == key_id)
    assert on_disk(tmp_path, material)
    clock.now_s += 8 * DAY_S
    later = Emulator(data_dir=tmp_path, clock=clock)
    async with later, calling(later, clock) as caller:
        assert await caller.code("DescribeKey", {"KeyId": key_id}) == NOT_FOUND
        assert await caller.code("Decrypt", {"CiphertextBlob": blob}) == NOT_FOUND
    assert not on_disk(tmp_path, material)


async def test_a_canceled_deletion_does_not_come(caller: Caller) -> None:
    key_id, blob = await scheduled(caller)
    await caller.call("CancelKeyDeletion", {"KeyId": key_id})
    caller.clock.now_s += 30 * DAY_S
    await caller.call("EnableKey", {"KeyId": key_id})
    assert (await caller.call("Decrypt", {"CiphertextBlob": blob}))["Plaintext"] == "c2VjcmV0"


async def test_a_key_rotates_when_its_date_has_come(caller: Caller) -> None:
    key_id = caller.emulator.demo_key_id
    blob = await caller.encrypt(b"secret")
    await caller.call("EnableKeyRotation", {"KeyId": key_id, "RotateDays": 7})
    caller.clock.now_s += 7 * DAY_S - 1
    assert (await caller.encrypt(b"a"))[:88] == blob[:88]
    caller.clock.now_s += 1
    fresh = await caller.encrypt(b"a")
    assert fresh[:88] != blob[:88]
    shown = (await caller.call("DescribeKey", {"KeyId": key_id}))["KeyMetadata"]
    assert shown["LastRotateTime"] == NOW_S + 7 * DAY_S
    assert shown["NextRotateTime"] == NOW_S + 14 * DAY_S
    assert (await caller.call("Decrypt", {"CiphertextBlob": blob}))["Plaintext"] == "c2VjcmV0"
    caller.clock.now_s += 7 * DAY_S
    assert (await caller.encrypt(b"a"))[:88] not in (blob[:88], fresh[:88])


async def test_a_disabled_key_rotates_once_it_is_enabled(caller: Caller) -> None:
    key_id = caller.emulator.demo_key_id
    before = await caller.encrypt(b"secret")
    await caller.call("EnableKeyRotation", {"KeyId": key_id, "RotateDays": 7})
    await caller.call("DisableKey", {"KeyId": key_id})
    caller.clock.now_s += 20 * DAY_S
    shown = (await caller.call("DescribeKey", {"KeyId": key_id}))["KeyMetadata"]
    assert shown["LastRotateTime"] == 0
    await caller.call("EnableKey", {"KeyId": key_id})
    assert (await caller.encrypt(b"secret"))[:88] != before[:88]


async def test_a_key_is_rotated_on_demand_once_a_day(caller: Caller) -> None:
    key_id = {"KeyId": caller.emulator.demo_key_id}
    await caller.call("EnableKeyRotation", key_id)
    assert await caller.code("RotateKey", key_id) == "ok"
    caller.clock.now_s += DAY_S - 1
    assert await caller.code("RotateKey", key_id) == "RequestLimitExceeded.RotateRateLimited"
    caller.clock.now_s += 1
    assert await caller.code("RotateKey", key_id) == "ok"


async def test_processes_that_notice_a_date_at_once_rotate_once(tmp_path: Path) -> None:
    clock = Clock()
    one, two = (Emulator(data_dir=tmp_path, clock=clock) for _ in range(2))
    async with one, two, calling(one, clock) as first, calling(two, clock) as second:
        await first.call("EnableKeyRotation", {"KeyId": one.demo_key_id, "RotateDays": 7})
        clock.now_s += 7 * DAY_S
        blobs = [await caller.encrypt(b"a") for caller in (first, second)]
        assert blobs[0][:88] == blobs[1][:88]


async def test_a_change_by_one_process_is_seen_by_the_next_call_of_another(tmp_path: Path) -> None:
    clock = Clock()
    one, two = (Emulator(data_dir=tmp_path, clock=clock) for _ in range(2))
    async with one, two, calling(one, clock) as first, calling(two, clock) as second:
        key_id = {"KeyId": one.demo_key_id}
        for action, code in (
            ("DisableKey", "ResourceUnavailable.CmkDisabled"),
            ("EnableKey", "ok"),
        ):
            await first.call(action, key_id)
            assert await second.code("Encrypt", {**key_id, "Plaintext": "YQ=="}) == code
        blob = await first.encrypt(b"secret")
        await second.call("EnableKeyRotation", key_id)
        await second.call("RotateKey", key_id)
        assert (await first.encrypt(b"secret"))[:88] != blob[:88]
