"""The table of verdicts knows every code there is, and the exception tree is as drawn."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tencentcloud.kms.v20190118 import errorcodes

from batchkms import errors
from batchkms.errors import (
    UNKNOWN,
    VERDICTS,
    BatchKmsError,
    ConfigError,
    CredentialsError,
    InputBroken,
    InputError,
    KmsError,
    NetworkError,
    OutageError,
    OutputError,
    ProtocolError,
    RunStopped,
    Scope,
    ServiceError,
    TooManyFailures,
    verdict_for,
)
from batchkms.records import ErrorClass


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


SDK_CODES = sorted(
    value for name, value in vars(errorcodes).items() if name.isupper() and isinstance(value, str)
)

# The common codes of Tencent Cloud API 3.0.
COMMON_CODES = words("""
ActionOffline AuthFailure.InvalidAuthorization AuthFailure.InvalidSecretId AuthFailure.MFAFailure
AuthFailure.SecretIdNotFound AuthFailure.SignatureExpire AuthFailure.SignatureFailure
AuthFailure.TokenFailure AuthFailure.UnauthorizedOperation DryRunOperation FailedOperation
InternalError InvalidAction InvalidParameter InvalidParameterValue InvalidRequest IpInBlacklist
IpNotInWhitelist LimitExceeded MissingParameter NoSuchProduct NoSuchVersion RequestLimitExceeded
RequestLimitExceeded.GlobalRegionUinLimitExceeded RequestLimitExceeded.IPLimitExceeded
RequestLimitExceeded.UinLimitExceeded RequestSizeLimitExceeded ResponseSizeLimitExceeded
ResourceInUse ResourceInsufficient ResourceNotFound ResourceUnavailable ServiceUnavailable
UnauthorizedOperation UnauthorizedOperation.CamNoAuth UnknownParameter UnsupportedOperation
UnsupportedProtocol UnsupportedRegion
""")

# The codes of the single KMS actions, version 2019-01-18.
ACTION_CODES = words("""
FailedOperation.CmkUsedByCloudProduct FailedOperation.DecryptError FailedOperation.EncryptionError
FailedOperation.RotateTaskRunning FailedOperation.TaggingError
InvalidParameter.InvalidPendingWindowInDays InvalidParameterValue.AliasAlreadyExists
InvalidParameterValue.DataKeyNameAlreadyExists InvalidParameterValue.DuplicatedKeyId
InvalidParameterValue.InvalidAlias InvalidParameterValue.InvalidCiphertext
InvalidParameterValue.InvalidDataKeyName InvalidParameterValue.InvalidHsmClusterId
InvalidParameterValue.InvalidKeyId InvalidParameterValue.InvalidKeyUsage
InvalidParameterValue.InvalidPlaintext InvalidParameterValue.InvalidType
InvalidParameterValue.TagKeysDuplicated InvalidParameterValue.TagsNotExisted
LimitExceeded.CmkLimitExceeded LimitExceeded.DataKeyLimitExceeded
RequestLimitExceeded.RotateRateLimited ResourceUnavailable.CmkArchived
ResourceUnavailable.CmkDisabled ResourceUnavailable.CmkNotFound
ResourceUnavailable.CmkNotPendingDelete ResourceUnavailable.CmkShouldBeDisabled
ResourceUnavailable.CmkStateNotSupport ResourceUnavailable.KeyPendingDelete
UnsupportedOperation.ExternalCmkCanNotRotate UnsupportedOperation.NotRoleOperation
UnsupportedOperation.RotateNotSupported UnsupportedOperation.ServiceTemporaryUnavailable
UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion
""")

# The seven that the Encrypt API's own page lists, and what they must mean.
ENCRYPT_CODES = {
    "InternalError": (ErrorClass.INTERNAL, True, Scope.RECORD),
    "InvalidParameter": (ErrorClass.INVALID_REQUEST, False, Scope.RECORD),
    "InvalidParameterValue.InvalidKeyId": (ErrorClass.KEY_UNAVAILABLE, False, Scope.KEY),
    "InvalidParameterValue.InvalidPlaintext": (ErrorClass.INVALID_REQUEST, False, Scope.RECORD),
    "ResourceUnavailable.CmkDisabled": (ErrorClass.KEY_UNAVAILABLE, False, Scope.KEY),
    "ResourceUnavailable.CmkNotFound": (ErrorClass.KEY_UNAVAILABLE, False, Scope.KEY),
    "UnauthorizedOperation": (ErrorClass.UNAUTHORIZED, False, Scope.KEY),
}


def test_the_sdk_has_codes_to_walk() -> None:
    assert len(SDK_CODES) >= 60


@pytest.mark.parametrize("code", sorted({*SDK_CODES, *COMMON_CODES, *ACTION_CODES}))
def test_every_documented_code_has_a_row(code: str) -> None:
    # Of its own: a load test keeps no other code, as a server could write anything behind a dot.
    assert code in VERDICTS
    assert verdict_for(code) is not UNKNOWN
    assert verdict_for(code).error_class is not ErrorClass.INVALID_RECORD


@pytest.mark.parametrize("code", ENCRYPT_CODES)
def test_the_seven_codes_of_encrypt(code: str) -> None:
    assert code in VERDICTS
    verdict = verdict_for(code)
    assert (verdict.error_class, verdict.retryable, verdict.scope) == ENCRYPT_CODES[code]


@pytest.mark.parametrize(
    ("code", "error_class", "retryable", "scope"),
    [
        ("RequestLimitExceeded", ErrorClass.THROTTLED, True, Scope.RECORD),
        ("RequestLimitExceeded.IPLimitExceeded", ErrorClass.THROTTLED, True, Scope.RECORD),
        ("RequestLimitExceeded.SomethingNew", ErrorClass.THROTTLED, True, Scope.RECORD),
        ("RequestLimitExceeded.RotateRateLimited", ErrorClass.THROTTLED, False, Scope.KEY),
        ("ServiceUnavailable", ErrorClass.INTERNAL, True, Scope.RECORD),
        ("AuthFailure.SignatureExpire", ErrorClass.UNAUTHORIZED, False, Scope.RUN),
        ("AuthFailure.UnauthorizedOperation", ErrorClass.UNAUTHORIZED, False, Scope.RUN),
        ("AuthFailure.SomethingNew", ErrorClass.UNAUTHORIZED, False, Scope.RUN),
        ("UnauthorizedOperation.CamNoAuth", ErrorClass.UNAUTHORIZED, False, Scope.KEY),
        ("ResourceUnavailable.CmkArchived", ErrorClass.KEY_UNAVAILABLE, False, Scope.KEY),
        ("ConnectionReset", ErrorClass.NETWORK, True, Scope.RECORD),
        ("ConnectTimeout", ErrorClass.NETWORK, True, Scope.RECORD),
        ("TlsVerificationFailed", ErrorClass.NETWORK, False, Scope.RUN),
        ("NotJson", ErrorClass.PROTOCOL, True, Scope.RECORD),
        ("WrongKeyId", ErrorClass.PROTOCOL, False, Scope.RECORD),
        ("WrongPlaintext", ErrorClass.PROTOCOL, False, Scope.RECORD),
        ("PlaintextTooLarge", ErrorClass.INVALID_RECORD, False, Scope.RECORD),
    ],
)
def test_what_the_design_says_of_some(
    code: str, error_class: ErrorClass, retryable: bool, scope: Scope
) -> None:
    verdict = verdict_for(code)
    assert (verdict.error_class, verdict.retryable, verdict.scope) == (
        error_class,
        retryable,
        scope,
    )


@pytest.mark.parametrize(
    "code", ["", "Brand.New", "InternalErrors", "Authfailure", "AuthFailureX.Y"]
)
def test_a_code_without_a_row_is_unknown_and_never_retried(code: str) -> None:
    assert verdict_for(code) is UNKNOWN
    assert (UNKNOWN.error_class, UNKNOWN.retryable) == (ErrorClass.UNKNOWN, False)


@pytest.mark.parametrize("code", [*VERDICTS, "unknown to the table"])
def test_every_verdict_has_advice(code: str) -> None:
    advice = verdict_for(code).advice
    assert len(advice) > 20
    assert not advice.endswith("."), "it follows `batchkms: hint:` and has no full stop"


def test_a_family_has_one_class_for_its_members() -> None:
    for code, verdict in VERDICTS.items():
        family = VERDICTS.get(f"{code.partition('.')[0]}.*")
        assert family is None or family.error_class is verdict.error_class


def test_every_class_has_a_code() -> None:
    assert {verdict.error_class for verdict in [*VERDICTS.values(), UNKNOWN]} == set(ErrorClass)


def test_codes_of_ours_that_the_source_uses_have_rows() -> None:
    root = Path(errors.__file__).parent
    used: set[str] = set()
    for path in [*root.glob("kms/*.py"), *root.glob("sources/*.py"), root / "attempts.py"]:
        text = path.read_text(encoding="utf-8")
        pattern = r'(?:NetworkError|ProtocolError|CredentialsError|ServiceError)\(\s*"(\w+)"'
        used |= set(re.findall(pattern, text))
    assert len(used) > 15
    assert used <= set(VERDICTS)


# -- The tree --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        (ConfigError, BatchKmsError),
        (InputError, BatchKmsError),
        (RunStopped, BatchKmsError),
        (KmsError, BatchKmsError),
        (InputBroken, RunStopped),
        (OutputError, RunStopped),
        (OutageError, RunStopped),
        (TooManyFailures, RunStopped),
        (ServiceError, KmsError),
        (NetworkError, KmsError),
        (ProtocolError, KmsError),
        (CredentialsError, KmsError),
    ],
)
def test_the_tree_is_as_drawn(child: type[Exception], parent: type[Exception]) -> None:
    assert child.__bases__ == (parent,)
    drawing = (errors.__doc__ or "").splitlines()
    lines = {
        name: line
        for name in (child.__name__, parent.__name__)
        for line in drawing
        if f" {name} " in line
    }
    assert lines[child.__name__].index(child.__name__) > lines[parent.__name__].index(
        parent.__name__
    )


def test_every_exception_is_drawn() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, BatchKmsError)
    ]
    assert len(kinds) == 13
    assert all(f" {kind.__name__} " in (errors.__doc__ or "") for kind in kinds)


def test_a_kms_error_says_code_message_and_request_id() -> None:
    error = ServiceError("InternalError", "something broke", request_id="r-1")
    assert str(error) == "InternalError: something broke (request id r-1)"
    assert str(ServiceError("InternalError", "m")) == "InternalError: m"
    assert error.verdict is verdict_for("InternalError")


def test_saying_changes_the_message_alone() -> None:
    error = ServiceError("X.Y", "old", request_id="r-1", hint="h", verdict=verdict_for("NotJson"))
    other = error.saying("new")
    assert (other.message, error.message) == ("new", "old")
    assert (other.code, other.request_id, other.hint) == ("X.Y", "r-1", "h")
    assert other.verdict is error.verdict
    assert type(other) is ServiceError
