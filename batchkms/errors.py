"""What can go wrong: the exception tree, and one table from error code to verdict.

    BatchKmsError                    every error of ours; carries a hint that says what to try
    ├── ConfigError                  a wrong option, job file or combination       (exit 2)
    ├── InputError                   the input cannot be opened or used at all     (exit 2)
    ├── RunStopped                   the run cannot go on; what is done is kept    (exit 3)
    │   ├── InputBroken              the input broke off, or no row can be trusted
    │   ├── OutputError              the results cannot be written
    │   ├── OutageError              nothing succeeded for the whole outage budget
    │   └── TooManyFailures          a stop condition on the number of failures
    └── KmsError                     one call failed; `code` and `verdict` say how
        ├── ServiceError             the service answered with an error
        ├── NetworkError             no answer came back
        ├── ProtocolError            an answer came back that is no valid answer
        └── CredentialsError         no credentials could be had to sign with

BadValue stands beside them: what reads the value of an option raises it, and whoever knows where
the value was written makes a ConfigError of it.

A record that fails is a Result, not an exception: these are for what stops a run, and for
direct users of `batchkms.kms`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from batchkms.records import ErrorClass


class Scope(StrEnum):
    """How much an error condemns: this record, every record of its key, or the whole run."""

    RECORD = "record"
    KEY = "key"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an error code means: its class, whether trying again can help, and its scope.

    `advice` says what the user can do about it.
    """

    error_class: ErrorClass
    retryable: bool = False
    scope: Scope = Scope.RECORD
    advice: str = "look the code up in the KMS documentation, with the request id at hand"


_RECORD = Verdict(
    ErrorClass.INVALID_RECORD, advice="correct the rows that their messages name, then run those"
)
_REFUSED = Verdict(
    ErrorClass.INVALID_REQUEST, advice="correct what the service refused in these rows"
)
_NO_SUCH_API = Verdict(
    ErrorClass.INVALID_REQUEST,
    scope=Scope.RUN,
    advice="check --endpoint and --region, and that KMS is bought and active for the account",
)
_KEY = Verdict(
    ErrorClass.KEY_UNAVAILABLE,
    scope=Scope.KEY,
    advice="check the key id and the region, and that the CMK is enabled",
)
_CREDENTIALS = Verdict(
    ErrorClass.UNAUTHORIZED,
    scope=Scope.RUN,
    advice="check the secret id, secret key and token, their permissions and this machine's clock",
)
_DENIED = Verdict(
    ErrorClass.UNAUTHORIZED,
    scope=Scope.KEY,
    advice="grant the CAM user the action of this command (kms:Encrypt, kms:Decrypt, …) on this "
    "CMK, or use other credentials",
)
_THROTTLED = Verdict(
    ErrorClass.THROTTLED,
    retryable=True,
    advice="lower --rate or raise --reserve: others use the same quota",
)
_INTERNAL = Verdict(
    ErrorClass.INTERNAL, retryable=True, advice="try again later: the fault is the service's own"
)
_NETWORK = Verdict(
    ErrorClass.NETWORK,
    retryable=True,
    advice="check --endpoint, --proxy and the network, then try again",
)
_TLS = Verdict(
    ErrorClass.NETWORK,
    scope=Scope.RUN,
    advice="check the endpoint's name, or name the CA of its certificate with --ca-file",
)
_GARBLED = Verdict(
    ErrorClass.PROTOCOL,
    retryable=True,
    advice="check that --endpoint is a KMS endpoint with nothing in between",
)
_ODD = Verdict(ErrorClass.PROTOCOL, advice="check that --endpoint is a KMS endpoint")
UNKNOWN = Verdict(ErrorClass.UNKNOWN)

VERDICTS: dict[str, Verdict] = {
    # -- The service's codes. Sources: the common error codes of Tencent Cloud API 3.0, the
    # -- error codes of each KMS 2019-01-18 action, and the official SDK's `errorcodes`.
    # A name that ends in `.*` speaks for every code below it that has no row of its own.
    "AuthFailure": _CREDENTIALS,
    "AuthFailure.*": _CREDENTIALS,
    "AuthFailure.InvalidAuthorization": _CREDENTIALS,
    "AuthFailure.InvalidSecretId": _CREDENTIALS,
    "AuthFailure.MFAFailure": _CREDENTIALS,
    "AuthFailure.SecretIdNotFound": _CREDENTIALS,
    "AuthFailure.SignatureExpire": _CREDENTIALS,
    "AuthFailure.SignatureFailure": _CREDENTIALS,
    "AuthFailure.TokenFailure": _CREDENTIALS,
    "AuthFailure.UnauthorizedOperation": _CREDENTIALS,
    "IpInBlacklist": _CREDENTIALS,
    "IpNotInWhitelist": _CREDENTIALS,
    "UnauthorizedOperation": _DENIED,
    "UnauthorizedOperation.*": _DENIED,
    "UnauthorizedOperation.CamNoAuth": _DENIED,
    "RequestLimitExceeded": _THROTTLED,
    "RequestLimitExceeded.*": _THROTTLED,
    "RequestLimitExceeded.GlobalRegionUinLimitExceeded": _THROTTLED,
    "RequestLimitExceeded.IPLimitExceeded": _THROTTLED,
    "RequestLimitExceeded.UinLimitExceeded": _THROTTLED,
    # One rotation a day and key: no retry within a run can outlast it.
    "RequestLimitExceeded.RotateRateLimited": Verdict(
        ErrorClass.THROTTLED, scope=Scope.KEY, advice="rotate this CMK again after 24 hours"
    ),
    "InternalError": _INTERNAL,
    "InternalError.*": _INTERNAL,
    "ServiceUnavailable": _INTERNAL,
    "ServiceUnavailable.*": _INTERNAL,
    "UnsupportedOperation.ServiceTemporaryUnavailable": _INTERNAL,
    "ActionOffline": _NO_SUCH_API,
    "InvalidAction": _NO_SUCH_API,
    "NoSuchProduct": _NO_SUCH_API,
    "NoSuchVersion": _NO_SUCH_API,
    "UnsupportedProtocol": _NO_SUCH_API,
    "UnsupportedRegion": _NO_SUCH_API,
    "ResourceUnavailable.NotPurchased": _NO_SUCH_API,
    "UnsupportedOperation.UserVersionNotSupport": _NO_SUCH_API,
    "DryRunOperation": _REFUSED,
    "FailedOperation": _REFUSED,
    "FailedOperation.CmkUsedByCloudProduct": _KEY,
    "FailedOperation.DecryptError": _REFUSED,
    "FailedOperation.EncryptionError": _REFUSED,
    "FailedOperation.RotateTaskRunning": _KEY,
    "FailedOperation.SignError": _REFUSED,
    "FailedOperation.TaggingError": _REFUSED,
    "FailedOperation.VerifyError": _REFUSED,
    "InvalidParameter": _REFUSED,
    "InvalidParameter.DecryptMaterialError": _REFUSED,
    "InvalidParameter.InvalidPendingWindowInDays": _REFUSED,
    "InvalidParameterValue": _REFUSED,
    "InvalidParameterValue.AliasAlreadyExists": _REFUSED,
    "InvalidParameterValue.DataKeyNameAlreadyExists": _REFUSED,
    "InvalidParameterValue.DuplicatedDataKeyId": _REFUSED,
    "InvalidParameterValue.DuplicatedKeyId": _REFUSED,
    "InvalidParameterValue.InvalidAlias": _REFUSED,
    "InvalidParameterValue.InvalidCiphertext": _REFUSED,
    "InvalidParameterValue.InvalidDataKeyId": _REFUSED,
    "InvalidParameterValue.InvalidDataKeyName": _REFUSED,
    "InvalidParameterValue.InvalidHsmClusterId": _REFUSED,
    "InvalidParameterValue.InvalidImportKeyMaterial": _REFUSED,
    "InvalidParameterValue.InvalidKeyId": _KEY,
    "InvalidParameterValue.InvalidKeyUsage": _KEY,
    "InvalidParameterValue.InvalidPlaintext": _REFUSED,
    "InvalidParameterValue.InvalidType": _REFUSED,
    "InvalidParameterValue.MaterialNotMatch": _REFUSED,
    "InvalidParameterValue.TagKeysDuplicated": _REFUSED,
    "InvalidParameterValue.TagsNotExisted": _REFUSED,
    "InvalidRequest": _REFUSED,
    "LimitExceeded": _REFUSED,
    "LimitExceeded.CmkLimitExceeded": _REFUSED,
    "LimitExceeded.DataKeyLimitExceeded": _REFUSED,
    "LimitExceeded.FingerprintsLimitExceeded": _REFUSED,
    "LimitExceeded.KeyLimitExceeded": _REFUSED,
    "MissingParameter": _REFUSED,
    "RequestSizeLimitExceeded": _REFUSED,
    "ResourceInUse": _REFUSED,
    "ResourceInsufficient": _REFUSED,
    "ResourceNotFound": _REFUSED,
    "ResourceUnavailable": _REFUSED,
    "ResourceUnavailable.CloudResourceBindingNotFound": _KEY,
    "ResourceUnavailable.CmkArchived": _KEY,
    "ResourceUnavailable.CmkDisabled": _KEY,
    "ResourceUnavailable.CmkNotFound": _KEY,
    "ResourceUnavailable.CmkNotPendingDelete": _KEY,
    "ResourceUnavailable.CmkShouldBeDisabled": _KEY,
    "ResourceUnavailable.CmkStateNotSupport": _KEY,
    "ResourceUnavailable.DataKeyDisabled": _KEY,
    "ResourceUnavailable.DataKeyNotFound": _KEY,
    "ResourceUnavailable.DataKeyNotPendingDelete": _KEY,
    "ResourceUnavailable.DataKeyPendingDelete": _KEY,
    "ResourceUnavailable.DataKeyStateNotSupport": _KEY,
    "ResourceUnavailable.KeyDisabled": _KEY,
    "ResourceUnavailable.KeyPendingDelete": _KEY,
    "ResourceUnavailable.TokenExpired": _REFUSED,
    "ResponseSizeLimitExceeded": _REFUSED,
    "UnknownParameter": _REFUSED,
    "UnsupportedOperation": _REFUSED,
    "UnsupportedOperation.ExternalCmkCanNotRotate": _KEY,
    "UnsupportedOperation.NotExternalCmk": _KEY,
    "UnsupportedOperation.NotRoleOperation": _DENIED,
    "UnsupportedOperation.NotUserCreatedCmk": _KEY,
    "UnsupportedOperation.RotateNotSupported": _KEY,
    "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion": _KEY,
    # -- Codes of ours: a row that is never sent.
    "InvalidJson": _RECORD,
    "InvalidUtf8": _RECORD,
    "InvalidCsvRow": _RECORD,
    "NotAnObject": _RECORD,
    "WrongCellCount": _RECORD,
    "RowTooLong": _RECORD,
    "InvalidId": _RECORD,
    "InvalidKeyId": _RECORD,
    "MissingKeyId": _RECORD,
    "MissingPlaintext": _RECORD,
    "EmptyPlaintext": _RECORD,
    "InvalidPlaintext": _RECORD,
    "PlaintextTooLarge": _RECORD,
    "InvalidContext": _RECORD,
    "ContextTooLong": _RECORD,
    "InvalidResultRow": _RECORD,
    "NoCiphertext": _RECORD,
    "InvalidCiphertext": _RECORD,
    "EnvelopeContext": _RECORD,
    "InvalidEnvelope": _RECORD,
    "InvalidEntry": _RECORD,
    # -- Codes of ours: no answer came back.
    "DnsFailure": _NETWORK,
    "ConnectFailed": _NETWORK,
    "ConnectionRefused": _NETWORK,
    "ConnectionReset": _NETWORK,
    "ConnectTimeout": _NETWORK,
    "AttemptTimeout": _NETWORK,
    "TlsFailure": _NETWORK,
    "ProxyFailure": _NETWORK,
    "NeverSent": Verdict(
        ErrorClass.NETWORK,
        retryable=True,
        advice="raise --max-connections, or lower the rate to what the server takes",
    ),
    # A certificate does not become valid by asking again, and no row can be sent without it.
    "TlsVerificationFailed": _TLS,
    # -- Codes of ours: an answer that is none.
    "Http429": _THROTTLED,
    "Http500": _INTERNAL,
    "Http502": _INTERNAL,
    "Http503": _INTERNAL,
    "Http504": _INTERNAL,
    "Http5xx": _INTERNAL,
    "Redirect": Verdict(ErrorClass.PROTOCOL, scope=Scope.RUN, advice=_ODD.advice),
    "HttpStatus": _ODD,
    "NotJson": _GARBLED,
    "NoResponse": _GARBLED,
    "InvalidRequestId": _GARBLED,
    "MissingCiphertext": _GARBLED,
    "InvalidAnswer": _GARBLED,
    "AnswerTooLong": _GARBLED,
    "RepeatedRequestId": _GARBLED,
    "EchoedPlaintext": Verdict(ErrorClass.PROTOCOL, scope=Scope.RUN, advice=_ODD.advice),
    # A ciphertext under another CMK must not be kept, and asking again may well yield one more.
    "WrongKeyId": _ODD,
    "WrongPlaintext": _ODD,
    # What a load test keeps of a code that this table does not know.
    "UnknownCode": UNKNOWN,
    # -- Codes of ours: nothing to sign with.
    "NoCredentials": _CREDENTIALS,
    "CredentialsExpired": _CREDENTIALS,
}


def verdict_for(code: str) -> Verdict:
    """The verdict on a code: its own row, its family's (`AuthFailure.*`), or `UNKNOWN`."""
    verdict = VERDICTS.get(code)
    if verdict is None:
        family, dot, _ = code.partition(".")
        verdict = VERDICTS.get(f"{family}.*") if dot else None
    return verdict or UNKNOWN


class BatchKmsError(Exception):
    """Base of every error of ours. `hint`, where there is one, says what to try."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadValue(ValueError):
    """A value that an option does not take; the text says what it takes.

    `given` is the faulty one of several values.
    """

    def __init__(self, message: str, *, given: str | None = None) -> None:
        super().__init__(message)
        self.given = given


class ConfigError(BatchKmsError):
    """An option, a job file or a combination of them is wrong; nothing was sent."""


class InputError(BatchKmsError):
    """The input cannot be opened or used at all; nothing was sent."""


class RunStopped(BatchKmsError):
    """The run cannot go on. Results so far are kept and the rest can be resumed."""


class InputBroken(RunStopped):
    """The input breaks off, or from here on no row of it can be trusted.

    `changing` says that it could not be read as it is stored, so that it need not be mended.
    """

    def __init__(self, message: str, *, hint: str | None = None, changing: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.changing = changing


class OutputError(RunStopped):
    """Results cannot be written: disk full, I/O error, no permission."""


class OutageError(RunStopped):
    """No call succeeded for the whole outage budget."""


class TooManyFailures(RunStopped):
    """More rows failed than the run may have."""


class KmsError(BatchKmsError):
    """One call failed.

    `code` is the service's own code or a CamelCase code of ours; `request_id` is the
    service's, where an answer carried one. `key_id` is the CMK that the call depended on, where
    that is known: an error with the scope of a key is about that one.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        request_id: str | None = None,
        hint: str | None = None,
        verdict: Verdict | None = None,
        key_id: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.key_id = key_id
        self.code = code
        self.request_id = request_id
        self.verdict = verdict or verdict_for(code)

    def saying(self, message: str) -> Self:
        """The same error with another message."""
        return type(self)(
            self.code,
            message,
            request_id=self.request_id,
            hint=self.hint,
            verdict=self.verdict,
            key_id=self.key_id,
        )

    def __str__(self) -> str:
        request = f" (request id {self.request_id})" if self.request_id else ""
        return f"{self.code}: {self.message}{request}"


class ServiceError(KmsError):
    """The service answered with an error."""


class NetworkError(KmsError):
    """No answer came back."""


class ProtocolError(KmsError):
    """An answer came back that is no valid answer."""


class CredentialsError(KmsError):
    """No credentials could be had to sign with."""
