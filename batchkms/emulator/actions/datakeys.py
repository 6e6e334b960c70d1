"""GenerateDataKey and GenerateRandom: bytes that nobody could guess."""

from __future__ import annotations

import base64
from typing import Any

from batchkms.emulator.actions.base import Action, Office
from batchkms.emulator.actions.lookup import HSM_CLUSTER, named_key
from batchkms.emulator.actions.symmetric import ENCRYPTION_ALGORITHM, answered, sealed
from batchkms.emulator.apierror import missing_parameter, unsupported
from batchkms.emulator.parameters import ParameterTable, Text, Whole, encryption_context

_NUMBER_OF_BYTES = Whole(low=1, high=1024)
_SPEC_BYTES = {"AES_128": 16, "AES_256": 32}


async def _generate_data_key(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    """NumberOfBytes wins over KeySpec, and one of them must be there."""
    held = await named_key(office, parameters["KeyId"])
    context = encryption_context(parameters)
    count = parameters.get("NumberOfBytes") or _SPEC_BYTES.get(parameters.get("KeySpec", ""))
    if count is None:
        raise missing_parameter("KeySpec")
    if parameters.get("IsHostedByKms"):
        raise unsupported("This emulator does not keep data keys (IsHostedByKms).")
    data_key = office.randomness.draw(count)
    blob = sealed("GenerateDataKey", held, data_key, context)
    return {
        "KeyId": held.key.key_id,
        "Plaintext": answered(office, parameters, data_key),
        "CiphertextBlob": blob,
        "DataKeyId": "",
        "TagCode": 0,
        "TagMsg": "",
    }


async def _generate_random(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    drawn = office.randomness.draw(parameters["NumberOfBytes"])
    return {"Plaintext": base64.b64encode(drawn).decode()}


DATA_KEY_ACTIONS = (
    Action(
        name="GenerateDataKey",
        parameters=ParameterTable(
            required={"KeyId": str},
            optional={
                "KeySpec": Text(one_of=("", *_SPEC_BYTES)),
                "NumberOfBytes": _NUMBER_OF_BYTES,
                "EncryptionContext": str,
                "EncryptionPublicKey": str,
                "EncryptionAlgorithm": ENCRYPTION_ALGORITHM,
                "IsHostedByKms": Whole(low=0, high=1),
                # These say how a data key is kept, and mean nothing where it is not.
                "DataKeyName": str,
                "Description": Text(max_bytes=100),
                "Tags": list,
                "HsmClusterId": HSM_CLUSTER,
            },
        ),
        handle=_generate_data_key,
    ),
    Action(
        name="GenerateRandom",
        parameters=ParameterTable(required={"NumberOfBytes": _NUMBER_OF_BYTES}),
        handle=_generate_random,
    ),
)
