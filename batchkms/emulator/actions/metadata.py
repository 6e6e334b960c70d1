"""How a key is shown."""

from __future__ import annotations

from typing import Any

from batchkms.emulator.key import Key

CREATOR_UIN = 100000000001
"""The account that owns every key; obviously made up."""

_TYPE_FIPS = 2


def key_metadata(key: Key) -> dict[str, Any]:
    """A key as KeyMetadata shows it. NextRotateTime is there though rotation is off: it is so
    in the service's own examples. Fields of replicas and of other accounts' keys are left out,
    as there are none."""
    return {
        "KeyId": key.key_id,
        "Alias": key.alias,
        "CreateTime": key.created_s,
        "Description": key.description,
        "KeyState": key.state,
        "KeyUsage": key.usage,
        "Type": _TYPE_FIPS,
        "CreatorUin": CREATOR_UIN,
        "KeyRotationEnabled": key.rotates,
        "Owner": "user",
        "NextRotateTime": key.next_rotation_s,
        "DeletionDate": key.deletion_s,
        "Origin": key.origin,
        "ValidTo": 0,
        "ResourceId": f"creatorUin/{CREATOR_UIN}/{key.key_id}",
        "HsmClusterId": "",
        "RotateDays": key.rotate_days,
        "LastRotateTime": key.last_rotation_s,
        "IsSyncReplica": 0,
        "CreatorUinString": str(CREATOR_UIN),
    }
