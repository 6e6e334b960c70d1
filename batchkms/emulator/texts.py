"""Every text that an error is told in, in English and Chinese: the one place for them.

The gateway's texts are the real ones, as public issues and the vendor's error centre show them.
The texts of the KMS codes are descriptions: English ones from the documentation, Chinese ones
from `errorcodes.py` of the official SDK; what the service really says is not published. A text
without Chinese has no published one, and English is given in its place.
"""

from __future__ import annotations

from dataclasses import dataclass

CHINESE = "zh-CN"
ENGLISH = "en-US"
LANGUAGES = (CHINESE, ENGLISH)
"""What X-TC-Language may say. The SDKs for Python and Go and tccli ask for Chinese unless told."""


@dataclass(frozen=True, slots=True)
class Text:
    """One message; both languages take the same fields, as in `str.format`."""

    english: str
    chinese: str = ""

    def format(self, **fields: object) -> Text:
        """The message with its fields filled in."""
        return Text(self.english.format(**fields), self.chinese.format(**fields))

    def told_in(self, language: str) -> str:
        """The message in a language; English for every language but Chinese."""
        return self.chinese if language == CHINESE and self.chinese else self.english


# What the gateway says of requests; `name` is a parameter's or a header's.
MISSING_HEADER = Text(
    "The request header is missing a required common parameter `{name}`.",
    "请求头部缺少必传的公共参数 `{name}`。",
)
MISSING_PARAMETER = Text(
    "The request is missing a required parameter `{name}`.", "请求缺少必传参数 `{name}`。"
)
UNKNOWN_PARAMETER = Text("The parameter `{name}` is not recognized.")
WRONG_TYPE = Text(
    "The value type of parameter `{name}` is not valid.", "参数 `{name}` 取值类型错误。"
)
BAD_FORMAT = Text("Parameter `{name}` format invalid.", "参数 `{name}` 格式非法。")
REPEATED = Text("Parameter `{name}` input repeated.", "参数 `{name}` 重复输入。")
BAD_JSON = Text("Parameter `{name}` invalid json format.", "参数 `{name}` 是非法的Json格式。")
BAD_ARRAY = Text(
    "Parameter `{name}` invalid array format, array index must be continuous and starts with 0.",
    "参数 `{name}` 是非法是数组格式，数组下标必须是连续的而且从0下标开始。",
)
BODY_NOT_JSON = Text(
    "The request content not valid json format for specified content-type=application/json.",
    "对于指定content-type=application/json协议下，请求内容不是合法的Json格式。",
)
NO_EQUALS_SIGN = Text(
    "Url key and value should be splited by `=`.",
    "参数错误，请求URL中参数key和value必须以 `=` 分隔。",
)
EMPTY_NAME = Text(
    "The request has a parameter key which is empty string.",
    "参数错误，请求参数key不能为空字符串。",
)
BAD_NONCE = Text("Parameter `Nonce` type error.")
BAD_COMMON_VALUE = Text(
    "A value specified in `{name}` is not valid, is unsupported, or cannot be used.",
    "参数 `{name}` 取值错误。",
)
BAD_CONTENT_SHA256 = Text(
    "The value specified in `X-TC-Content-SHA256` is not correct.",
    "参数 `X-TC-Content-SHA256` 计算值不正确。",
)
BAD_AUTHORIZATION = Text(
    "The request `Authorization` header does not conform to tencentcloud standards{detail}"
)
TOO_LARGE_FOR_V1 = Text(
    "The provided credentials could not be validated because of exceeding request size limit, "
    "please use new signature method `TC3-HMAC-SHA256`.",
    "由于请求包大小超过限制，请求签名验证失败，请使用新的签名方法 `TC3-HMAC-SHA256`。",
)
THROTTLED = Text(
    "Your current request times equals to `{calls}` in a second, which exceeds the frequency "
    "limit `{limit}` for a second. Please reduce the frequency of calls.",
    "您当前每秒请求 `{calls}` 次，超过了每秒频率上限 `{limit}`，请稍后重试。",
)
UNAUTHORIZED = Text(
    "[request id:{request_id}]you are not authorized to perform operation (kms:{action})\n"
    "resource ({resource}) has no permission\n",
    # The service tells this one in English whatever the language.
)
LIVE_LOOKING_ID = Text(
    "The SecretId looks like one of a real account. This is the batchkms emulator, where real "
    "credentials have no place: use those that it printed when it started, or start it with "
    "--allow-any-credentials."
)

BY_CODE = {
    # The form without numbers: a call that the quota refuses gets the other one.
    "RequestLimitExceeded": Text(
        "Your current request times in a second exceeds the frequency limit. Please reduce the "
        "frequency of calls.",
        "您当前每秒请求次数超过了频率上限，请稍后重试。",
    ),
    "AuthFailure.SecretIdNotFound": Text(
        "The SecretId is not found, please ensure that your SecretId is correct.",
        "SecretId不存在，请输入正确的密钥。",
    ),
    "AuthFailure.SignatureExpire": Text("The signature is expired, please request again."),
    "AuthFailure.SignatureFailure": Text(
        "The provided credentials could not be validated. Please check your signature is correct.",
        "请求签名验证失败，请检查您的签名计算是否正确。",
    ),
    "AuthFailure.TokenFailure": Text("Token error.", "token错误。"),
    "FailedOperation": Text("The operation failed.", "操作失败。"),
    "FailedOperation.CmkUsedByCloudProduct": Text(
        "The CMK is being used by a cloud product.", "CMK正在被云产品使用。"
    ),
    "FailedOperation.DecryptError": Text("Decryption failed.", "解密失败。"),
    "FailedOperation.EncryptionError": Text("Encryption failed.", "加密操作失败。"),
    "FailedOperation.RotateTaskRunning": Text(
        "A rotation task is already running.", "已有正在进行的轮转任务"
    ),
    "FailedOperation.TaggingError": Text("Tag service error.", "标签服务错误。"),
    "InternalError": Text("An internal error occurred.", "内部错误。"),
    "InvalidAction": Text("The request `Action` is invalid or not found."),
    "InvalidParameter": Text("The parameter is incorrect.", "参数错误。"),
    "InvalidParameter.InvalidPendingWindowInDays": Text(
        "The scheduled deletion time is invalid.", "计划删除时间参数非法。"
    ),
    "InvalidParameterValue": Text("The parameter value is incorrect.", "参数取值错误。"),
    "InvalidParameterValue.AliasAlreadyExists": Text("The alias already exists.", "别名已经存在。"),
    "InvalidParameterValue.DuplicatedKeyId": Text("Duplicate KeyId.", "KeyId重复。"),
    "InvalidParameterValue.InvalidAlias": Text("Invalid alias.", "别名格式错误。"),
    "InvalidParameterValue.InvalidCiphertext": Text(
        "The ciphertext is in incorrect format.", "密文格式错误。"
    ),
    "InvalidParameterValue.InvalidHsmClusterId": Text(
        "Invalid HsmClusterId.", "无效的 HSM 集群 ID。"
    ),
    "InvalidParameterValue.InvalidKeyId": Text("Invalid KeyId.", "KeyId不合法。"),
    "InvalidParameterValue.InvalidKeyUsage": Text(
        "Incorrect KeyUsage parameter.", "KeyUsage参数错误。"
    ),
    "InvalidParameterValue.InvalidPlaintext": Text("Invalid plaintext.", "Plaintext不合法。"),
    "InvalidParameterValue.InvalidType": Text("Incorrect Type parameter.", "Type参数错误。"),
    "InvalidParameterValue.TagKeysDuplicated": Text("Duplicate tag keys.", "标签键重复。"),
    "InvalidParameterValue.TagsNotExisted": Text(
        "The tag key or value does not exist.", "标签键或标签值不存在。"
    ),
    "LimitExceeded.CmkLimitExceeded": Text(
        "The number of CMKs has reached the upper limit.", "CMK数量已达上限。"
    ),
    "LimitExceeded.DataKeyLimitExceeded": Text(
        "The number of data keys exceeds the limit.", "DataKey超过上限"
    ),
    "NoSuchVersion": Text("The request `Version` is invalid or not found."),
    "RequestLimitExceeded.RotateRateLimited": Text(
        "Rotation is limited to once in 24 hours by default.",
        "轮转操作触发限频，默认24小时内仅可轮转一次",
    ),
    "RequestSizeLimitExceeded": Text("The request size exceeds the upper limit."),
    "ResourceUnavailable.CmkArchived": Text("The CMK has been archived.", "CMK已存档。"),
    "ResourceUnavailable.CmkDisabled": Text("The CMK has been disabled.", "CMK已被禁用。"),
    "ResourceUnavailable.CmkNotFound": Text("The CMK does not exist.", "CMK不存在。"),
    "ResourceUnavailable.CmkNotPendingDelete": Text(
        "The deletion of the CMK is not scheduled, so it cannot be canceled.",
        "CMK不是计划删除状态不能被执行取消计划删除。",
    ),
    "ResourceUnavailable.CmkShouldBeDisabled": Text(
        "Only a disabled CMK can be scheduled for deletion.", "未被禁用的CMK不能被计划删除。"
    ),
    "ResourceUnavailable.CmkStateNotSupport": Text(
        "The CMK state does not support this operation.", "CMK 状态不支持该操作。"
    ),
    "ResourceUnavailable.KeyPendingDelete": Text(
        "The key is unavailable: its deletion is scheduled.", "不可用密钥：密钥待删除。"
    ),
    "UnauthorizedOperation": Text("Unauthorized operation.", "未授权操作。"),
    "UnsupportedOperation": Text("The operation is not supported.", "操作不支持。"),
    "UnsupportedOperation.ExternalCmkCanNotRotate": Text(
        "A CMK with imported material cannot be rotated.", "用户导入类型的CMK禁止轮换。"
    ),
    "UnsupportedOperation.NotRoleOperation": Text(
        "You do not have permission to perform this operation.", "用户角色不支持的操作"
    ),
    "UnsupportedOperation.NotUserCreatedCmk": Text(
        "Only CMKs that the user has created can be updated.", "仅支持对用户自己创建的CMK做更新。"
    ),
    "UnsupportedOperation.RotateNotSupported": Text(
        "Rotation is not supported for this CMK.", "不支持轮转（未开启轮转、外部密钥、副本密钥）"
    ),
    "UnsupportedOperation.ServiceTemporaryUnavailable": Text(
        "The service is temporarily unavailable.", "服务暂时不可用。"
    ),
    "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion": Text(
        "The key usage is not supported in the current region.", "加密方式在当前region不支持。"
    ),
    "UnsupportedProtocol": Text(
        "The request protocol is not supported: GET, or POST application/json or "
        "application/x-www-form-urlencoded, to /."
    ),
    "UnsupportedRegion": Text("The request `Region` is not served by this emulator."),
}
"""The usual text of a code."""
