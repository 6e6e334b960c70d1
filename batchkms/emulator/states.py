"""The state machine of keys: what each action may be asked of, and which code says no.

This is the only place that knows it. Codes are those that the vendor lists for the action; which
one the service chooses where several would fit is not documented. `allow` is called with the key
as it is when the action takes place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from batchkms.emulator.apierror import api_error
from batchkms.emulator.key import ENCRYPT_DECRYPT, ORIGIN_EXTERNAL, RSA_DECRYPT, Key, KeyState

_ARCHIVED = "ResourceUnavailable.CmkArchived"
_DISABLED = "ResourceUnavailable.CmkDisabled"
_NOT_SUPPORTED = "ResourceUnavailable.CmkStateNotSupport"
_PENDING_DELETE = "ResourceUnavailable.KeyPendingDelete"
_NOT_PENDING_DELETE = "ResourceUnavailable.CmkNotPendingDelete"
_SHOULD_BE_DISABLED = "ResourceUnavailable.CmkShouldBeDisabled"
_WRONG_KEY_ID = "InvalidParameterValue.InvalidKeyId"
_WRONG_USAGE = "InvalidParameterValue.InvalidKeyUsage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Whom an action serves: `refused` gives the code for each state that it does not take.

    `usage` is the only usage that it takes, and `other_usage` the code for any other.
    `external` is the code for a key whose material is not the service's own.
    """

    refused: Mapping[KeyState, str]
    usage: str = ""
    other_usage: str = ""
    external: str = ""


def _only(*states: KeyState, code: str) -> dict[KeyState, str]:
    """One code for every state but these."""
    return {state: code for state in KeyState if state not in states}


_DECRYPTING = {
    KeyState.DISABLED: _DISABLED,
    # A key must be disabled before its deletion can be scheduled, and the action's documented
    # codes have no other one for it.
    KeyState.PENDING_DELETE: _DISABLED,
    KeyState.PENDING_IMPORT: _NOT_SUPPORTED,
}
# An archived key still decrypts, but takes nothing new.
_ENCRYPTING = {**_DECRYPTING, KeyState.ARCHIVED: _ARCHIVED}
_CHANGING_WHAT_IT_SAYS = {KeyState.PENDING_DELETE: _NOT_SUPPORTED}

RULES: dict[str, Rule] = {
    "Encrypt": Rule(refused=_ENCRYPTING, usage=ENCRYPT_DECRYPT, other_usage=_WRONG_KEY_ID),
    "Decrypt": Rule(refused=_DECRYPTING),
    "GenerateDataKey": Rule(
        refused={**_ENCRYPTING, KeyState.PENDING_DELETE: _PENDING_DELETE},
        usage=ENCRYPT_DECRYPT,
        other_usage=_WRONG_USAGE,
    ),
    # What is enabled already may be enabled again, and so on: the state is what was asked for.
    "EnableKey": Rule(refused=_only(KeyState.ENABLED, KeyState.DISABLED, code=_NOT_SUPPORTED)),
    "DisableKey": Rule(refused=_only(KeyState.ENABLED, KeyState.DISABLED, code=_NOT_SUPPORTED)),
    "ArchiveKey": Rule(refused=_only(KeyState.ENABLED, KeyState.DISABLED, code=_NOT_SUPPORTED)),
    "CancelKeyArchive": Rule(refused=_only(KeyState.ARCHIVED, code=_NOT_SUPPORTED)),
    "EnableKeyRotation": Rule(
        refused=_only(KeyState.ENABLED, code=_NOT_SUPPORTED),
        usage=ENCRYPT_DECRYPT,
        other_usage="InvalidParameterValue",
        external="UnsupportedOperation.ExternalCmkCanNotRotate",
    ),
    "DisableKeyRotation": Rule(refused={}),
    "RotateKey": Rule(
        refused=_only(KeyState.ENABLED, code=_NOT_SUPPORTED),
        usage=ENCRYPT_DECRYPT,
        other_usage="UnsupportedOperation.RotateNotSupported",
        external="UnsupportedOperation.RotateNotSupported",
    ),
    "ScheduleKeyDeletion": Rule(
        refused={
            KeyState.ENABLED: _SHOULD_BE_DISABLED,
            KeyState.ARCHIVED: _SHOULD_BE_DISABLED,
            KeyState.PENDING_DELETE: _NOT_SUPPORTED,
        }
    ),
    "CancelKeyDeletion": Rule(refused=_only(KeyState.PENDING_DELETE, code=_NOT_PENDING_DELETE)),
    "UpdateAlias": Rule(refused=_CHANGING_WHAT_IT_SAYS),
    "UpdateKeyDescription": Rule(refused=_CHANGING_WHAT_IT_SAYS),
    "GetPublicKey": Rule(
        refused=_only(KeyState.ENABLED, code=_NOT_SUPPORTED),
        usage=RSA_DECRYPT,
        other_usage=_WRONG_KEY_ID,
    ),
    "AsymmetricRsaDecrypt": Rule(
        refused=_only(KeyState.ENABLED, code=_NOT_SUPPORTED),
        usage=RSA_DECRYPT,
        other_usage=_WRONG_USAGE,
    ),
}


def allow(action: str, key: Key) -> None:
    """Returns if the action may be asked of this key. Raises ApiError."""
    rule = RULES[action]
    if rule.usage and key.usage != rule.usage:
        raise api_error(rule.other_usage)
    if rule.external and key.origin == ORIGIN_EXTERNAL:
        raise api_error(rule.external)
    code = rule.refused.get(key.state)
    if code is not None:
        raise api_error(code)


LISTED_STATES = frozenset((KeyState.ENABLED, KeyState.DISABLED, KeyState.PENDING_IMPORT))
"""The states of the keys that ListKeys tells (its own documentation)."""
