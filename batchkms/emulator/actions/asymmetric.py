"""GetPublicKey and AsymmetricRsaDecrypt: keys whose public half leaves the service."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from batchkms.emulator.actions.base import Action, Office
from batchkms.emulator.actions.lookup import named_key
from batchkms.emulator.apierror import bad_format
from batchkms.emulator.ciphertext import decode_base64
from batchkms.emulator.parameters import ParameterTable, Text
from batchkms.emulator.rsa import RSA_ALGORITHMS, public_forms, rsa_decrypt
from batchkms.emulator.states import allow


async def _get_public_key(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    held = await named_key(office, parameters["KeyId"])
    allow("GetPublicKey", held.key)
    der, pem = public_forms(held.key.versions[-1])
    return {
        "KeyId": held.key.key_id,
        "PublicKey": base64.b64encode(der).decode(),
        "PublicKeyPem": pem,
    }


async def _rsa_decrypt(office: Office, parameters: dict[str, Any]) -> dict[str, Any]:
    held = await named_key(office, parameters["KeyId"])
    ciphertext = decode_base64(parameters["Ciphertext"])
    if ciphertext is None:
        raise bad_format("Ciphertext")
    allow("AsymmetricRsaDecrypt", held.key)
    # A millisecond of computing, in which other calls are answered.
    material, algorithm = held.key.versions[-1], parameters["Algorithm"]
    plaintext = await asyncio.to_thread(rsa_decrypt, material, algorithm, ciphertext)
    return {"KeyId": held.key.key_id, "Plaintext": base64.b64encode(plaintext).decode()}


ASYMMETRIC_ACTIONS = (
    Action(
        name="GetPublicKey",
        parameters=ParameterTable(required={"KeyId": str}),
        handle=_get_public_key,
    ),
    Action(
        name="AsymmetricRsaDecrypt",
        parameters=ParameterTable(
            required={"KeyId": str, "Ciphertext": str, "Algorithm": Text(one_of=RSA_ALGORITHMS)}
        ),
        handle=_rsa_decrypt,
    ),
)
