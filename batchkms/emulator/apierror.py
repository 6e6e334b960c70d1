"""The errors that the emulator answers with, under the service's codes.

Their texts are in texts.py, in both languages.
"""

from __future__ import annotations

from batchkms.emulator import texts
from batchkms.emulator.texts import ENGLISH, Text


class ApiError(Exception):
    """A call is answered with this error; `code` and a text go into the envelope."""

    def __init__(self, code: str, text: Text | str) -> None:
        super().__init__(code)
        self.code = code
        self.text = Text(text) if isinstance(text, str) else text

    @property
    def message(self) -> str:
        """The text in English."""
        return self.text.told_in(ENGLISH)


THROTTLED = "RequestLimitExceeded"


def api_error(code: str) -> ApiError:
    """The error of this code with its usual text, or with a plain one where none is known."""
    return ApiError(code, texts.BY_CODE.get(code, f"The call failed with {code}."))


def missing_header(name: str) -> ApiError:
    """A common parameter that has to be a header is not there."""
    return ApiError("MissingParameter", texts.MISSING_HEADER.format(name=name))


def missing_parameter(name: str) -> ApiError:
    """The request lacks a parameter that the action requires."""
    return ApiError("MissingParameter", texts.MISSING_PARAMETER.format(name=name))


def unknown_parameter(name: str) -> ApiError:
    """The request has a parameter that the action does not know: an error, not ignored."""
    return ApiError("UnknownParameter", texts.UNKNOWN_PARAMETER.format(name=name[:100]))


def wrong_type(name: str) -> ApiError:
    """A parameter is of another JSON type than the action's."""
    return ApiError("InvalidParameter", texts.WRONG_TYPE.format(name=name))


def bad_format(name: str) -> ApiError:
    """A parameter has the right type and a value that cannot be."""
    return ApiError("InvalidParameter", texts.BAD_FORMAT.format(name=name))


def repeated(name: str) -> ApiError:
    """A parameter is there twice."""
    return ApiError("InvalidParameter", texts.REPEATED.format(name=name[:100]))


def bad_json(name: str) -> ApiError:
    """A parameter should hold JSON of a certain shape and does not."""
    return ApiError("InvalidParameter", texts.BAD_JSON.format(name=name))


def bad_array(name: str) -> ApiError:
    """The indexes of a flattened array have a gap, or do not begin with 0."""
    return ApiError("InvalidParameter", texts.BAD_ARRAY.format(name=name[:100]))


def body_not_json() -> ApiError:
    """The body is no JSON object."""
    return ApiError("InvalidParameter", texts.BODY_NOT_JSON)


def no_equals_sign() -> ApiError:
    """A part of a query or form is no name with a value."""
    return ApiError("InvalidParameter", texts.NO_EQUALS_SIGN)


def empty_name() -> ApiError:
    """A part of a query or form has a value and no name."""
    return ApiError("InvalidParameter", texts.EMPTY_NAME)


def bad_nonce() -> ApiError:
    """The Nonce is no number that a client could have drawn."""
    return ApiError("InvalidParameter", texts.BAD_NONCE)


def bad_common_value(name: str) -> ApiError:
    """A common parameter has a value that the gateway does not know."""
    return ApiError("InvalidParameterValue", texts.BAD_COMMON_VALUE.format(name=name))


def bad_content_sha256() -> ApiError:
    """`X-TC-Content-SHA256` is not the hash of the body."""
    return ApiError("InvalidParameterValue", texts.BAD_CONTENT_SHA256)


def bad_authorization(part: str | None = None) -> ApiError:
    """The Authorization header is malformed; `part` says where, as the gateway does."""
    detail = f": {part} not valid." if part else "."
    return ApiError(
        "AuthFailure.InvalidAuthorization", texts.BAD_AUTHORIZATION.format(detail=detail)
    )


def too_large_for_v1() -> ApiError:
    """A request with a signature v1 is larger than that allows."""
    return ApiError("AuthFailure.SignatureFailure", texts.TOO_LARGE_FOR_V1)


def live_looking_id() -> ApiError:
    """The secret id could be one of a real account."""
    return ApiError("AuthFailure.SecretIdNotFound", texts.LIVE_LOOKING_ID)


def unauthorized(*, request_id: str, action: str, resource: str) -> ApiError:
    """The rules of the credential do not allow the call."""
    text = texts.UNAUTHORIZED.format(request_id=request_id, action=action, resource=resource)
    return ApiError("UnauthorizedOperation", text)


def throttled(calls: int, limit: int) -> ApiError:
    """More calls than the quota allows; `calls` counts this one and others refused lately."""
    return ApiError(THROTTLED, texts.THROTTLED.format(calls=calls, limit=limit))


def unsupported(message: str) -> ApiError:
    """The service could do this, and the emulator says openly that it does not."""
    return ApiError("UnsupportedOperation", message)
