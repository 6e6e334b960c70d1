"""Where credentials come from: every source in its order, and errors that show no secret."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from batchkms.errors import ConfigError, CredentialsError
from batchkms.kms.credentials import (
    REFRESH_BEFORE_S,
    Credentials,
    CredentialSource,
    CvmRoleCredentials,
    FileCredentials,
    StaticCredentials,
)
from batchkms.kms.credentialsearch import TOKEN_VARIABLES, find_credentials

KEY = "the-secret-key"
PAIR = {"TENCENTCLOUD_SECRET_ID": "id-env", "TENCENTCLOUD_SECRET_KEY": KEY}


def write_ini(home: Path, text: str) -> Path:
    path = home / ".tencentcloud" / "credentials"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_tccli(home: Path, profile: str, document: dict[str, Any] | str) -> Path:
    path = home / ".tccli" / f"{profile}.credential"
    path.parent.mkdir(exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def ini(secret_id: str, section: str = "default", more: str = "") -> str:
    return f"[{section}]\nsecret_id = {secret_id}\nsecret_key = {KEY}\n{more}\n"


async def secret_id_of(source: CredentialSource) -> str:
    value = await source.credentials()
    await source.aclose()
    return value.secret_id


async def test_the_order_of_sources(tmp_path: Path) -> None:
    file = tmp_path / "asked-for"
    file.write_text(ini("id-file"))

    def find(**asked: Any) -> CredentialSource:
        return find_credentials(environ=environ, home=tmp_path, **asked)

    # From the last to the first: each one found later is preferred to those before.
    environ: dict[str, str] = {}
    assert isinstance(find(), CvmRoleCredentials)
    write_tccli(tmp_path, "default", {"secretId": "id-tccli", "secretKey": KEY})
    assert await secret_id_of(find()) == "id-tccli"
    write_ini(tmp_path, ini("id-ini") + ini("id-profile", "prod"))
    assert await secret_id_of(find()) == "id-ini"
    environ = PAIR
    assert await secret_id_of(find()) == "id-env"
    assert await secret_id_of(find(profile="prod")) == "id-profile"
    assert await secret_id_of(find(file=str(file))) == "id-file"
    assert await secret_id_of(find(file=str(file), profile="default")) == "id-file"


async def test_tencentcloud_credentials_without_default_leaves_it_to_tccli(tmp_path: Path) -> None:
    write_ini(tmp_path, ini("id-other", "other"))
    write_tccli(tmp_path, "default", {"secretId": "id-tccli", "secretKey": KEY})
    assert await secret_id_of(find_credentials(environ={}, home=tmp_path)) == "id-tccli"


async def test_tccli_profile_of_the_environment(tmp_path: Path) -> None:
    write_tccli(tmp_path, "default", {"secretId": "id-default", "secretKey": KEY})
    write_tccli(tmp_path, "work", {"secretId": "id-work", "secretKey": KEY})
    source = find_credentials(environ={"TCCLI_PROFILE": "work"}, home=tmp_path)
    assert await secret_id_of(source) == "id-work"


async def test_a_profile_may_be_a_section_or_one_of_tccli(tmp_path: Path) -> None:
    write_tccli(tmp_path, "both", {"secretId": "id-tccli", "secretKey": KEY})
    write_tccli(tmp_path, "only", {"secretId": "id-only", "secretKey": KEY})
    write_ini(tmp_path, ini("id-ini", "both"))
    assert await secret_id_of(find_credentials(profile="both", home=tmp_path)) == "id-ini"
    assert await secret_id_of(find_credentials(profile="only", home=tmp_path)) == "id-only"


# -- Environment -----------------------------------------------------------------------------


@pytest.mark.parametrize("variable", TOKEN_VARIABLES)
async def test_each_name_of_the_token(variable: str) -> None:
    source = find_credentials(environ={**PAIR, variable: " tok "})
    assert (await source.credentials()).token == "tok"
    assert source.origin == "environment"


def test_the_three_names_are_those_of_the_other_tools() -> None:
    assert set(TOKEN_VARIABLES) == {
        "TENCENTCLOUD_SESSION_TOKEN",
        "TENCENTCLOUD_TOKEN",
        "TENCENTCLOUD_SECURITY_TOKEN",
    }


async def test_tokens_that_agree_are_one() -> None:
    source = find_credentials(environ=PAIR | dict.fromkeys(TOKEN_VARIABLES, "tok"))
    assert (await source.credentials()).token == "tok"


def test_tokens_that_differ_are_refused() -> None:
    environ = {**PAIR, TOKEN_VARIABLES[0]: "one-token", TOKEN_VARIABLES[2]: "other-token"}
    with pytest.raises(ConfigError, match=f"{TOKEN_VARIABLES[0]} and {TOKEN_VARIABLES[2]}") as e:
        find_credentials(environ=environ)
    assert "one-token" not in str(e.value) and "other-token" not in str(e.value)


@pytest.mark.parametrize("missing", PAIR)
@pytest.mark.parametrize("blank", [None, "", "  "])
def test_half_a_pair_is_refused_and_not_passed_over(
    missing: str, blank: str | None, tmp_path: Path
) -> None:
    write_ini(tmp_path, ini("id-ini"))
    environ = {name: value for name, value in PAIR.items() if name != missing}
    if blank is not None:
        environ[missing] = blank
    with pytest.raises(ConfigError, match=f"{missing} is not set") as caught:
        find_credentials(environ=environ, home=tmp_path)
    assert KEY not in str(caught.value)


# -- INI files -------------------------------------------------------------------------------


@pytest.mark.parametrize("quote", ["", '"', "'"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
async def test_an_ini_file(quote: str, bom: str, tmp_path: Path) -> None:
    more = f"token = {quote}tok%20en{quote}"
    path = write_ini(tmp_path, bom + ini(f"{quote}id-ini{quote}", more=more))
    source = find_credentials(environ={}, home=tmp_path)
    assert await source.credentials() == Credentials("id-ini", KEY, "tok%20en")
    assert source.origin == f"{path} [default]"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"has no section \[default\]; it has no section"),
        (ini("i", "a") + ini("i", "b"), r"has no section \[default\]; it has \[a\], \[b\]"),
        (f"[default]\nsecret_key = {KEY}\n", r"has no secret_id in \[default\]"),
        ("[default]\nsecret_id = i\n", r"has no secret_key in \[default\]"),
        (f"[default]\nsecret_id = \nsecret_key = {KEY}\n", "has no secret_id"),
        (f"[default]\nsecret_id = ''\nsecret_key = {KEY}\n", "has no secret_id"),
        (f"secret_key = {KEY}\n", "is no valid INI file"),
        (f"[default]\n{KEY}\n", "is no valid INI file"),
        (ini("i") + ini("i"), "is no valid INI file"),
    ],
)
def test_an_ini_file_that_is_none(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason) as caught:
        find_credentials(file=str(path))
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert KEY not in f"{caught.value!r} {caught.value} {caught.value.hint}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        find_credentials(file=str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        find_credentials(file=str(tmp_path))
    (tmp_path / "latin").write_bytes(b"[default]\nsecret_id = \xe9\n")
    with pytest.raises(ConfigError, match="no UTF-8 text"):
        find_credentials(file=str(tmp_path / "latin"))


def test_a_profile_that_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no profile 'prod'"):
        find_credentials(profile="prod", environ=PAIR, home=tmp_path)


# -- tccli -----------------------------------------------------------------------------------


async def test_a_tccli_file(tmp_path: Path) -> None:
    document = {"secretId": "i", "secretKey": KEY, "token": "tok", "type": "default"}
    path = write_tccli(tmp_path, "p", document)
    for source in (find_credentials(profile="p", home=tmp_path), find_credentials(file=str(path))):
        assert await source.credentials() == Credentials("i", KEY, "tok")
        assert source.origin == str(path)
        await source.aclose()


def test_a_tccli_file_may_name_the_cvm_role(tmp_path: Path) -> None:
    write_tccli(tmp_path, "p", {"type": "cvm-role"})
    assert isinstance(find_credentials(profile="p", home=tmp_path), CvmRoleCredentials)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "no valid tccli credential file"),
        (f'{{"secretKey":"{KEY}"', "no valid tccli credential file"),
        (f'["{KEY}"]', "no valid tccli credential file"),
        ({"secretKey": KEY}, "has no secretId"),
        ({"secretId": "i"}, "has no secretKey"),
        ({"secretId": 5, "secretKey": KEY}, "has no secretId"),
        ({"secretId": "i", "secretKey": KEY, "type": "odd"}, "of the type 'odd'"),
        ({"secretId": "i", "secretKey": KEY, "role-arn": "qcs::"}, "assumes a role"),
    ],
)
def test_a_tccli_file_that_cannot_be_used(
    document: dict[str, Any] | str, reason: str, tmp_path: Path
) -> None:
    path = write_tccli(tmp_path, "p", document)
    with pytest.raises(ConfigError, match=reason) as caught:
        find_credentials(profile="p", home=tmp_path)
    assert str(path) in str(caught.value)
    assert KEY not in f"{caught.value!r} {caught.value} {caught.value.hint}"


@pytest.mark.parametrize("kind", ["oauth", "sso"])
async def test_a_login_that_has_expired_says_what_to_do(kind: str, tmp_path: Path) -> None:
    document = {"secretId": "i", "secretKey": KEY, "token": "t", "type": kind}
    write_tccli(tmp_path, "p", document | {"expiresAt": int(time.time()) - 1})
    with pytest.raises(CredentialsError, match="have expired") as caught:
        await find_credentials(profile="p", home=tmp_path).credentials()
    assert caught.value.code == "CredentialsExpired"
    assert caught.value.hint and "tccli auth login" in caught.value.hint


class Renewed:
    """A file that another tool renews, and a clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.loads = 0
        self.value = Credentials("first", KEY, "t", expires_at=5_000.0)
        self.unreadable = False
        self.source = FileCredentials(Path("the-file"), self._load, wall_clock=lambda: self.now)

    def _load(self, path: Path) -> Credentials:
        self.loads += 1
        if self.unreadable:
            raise ConfigError("being written just now")
        return self.value


async def test_a_file_is_read_again_before_its_credentials_expire() -> None:
    file = Renewed()
    file.now = 5_000.0 - REFRESH_BEFORE_S - 1
    assert (await file.source.credentials()).secret_id == "first"
    assert file.loads == 1
    file.value = Credentials("second", KEY, "t", expires_at=9_000.0)
    file.now += 1
    assert (await file.source.credentials()).secret_id == "second"
    assert (await file.source.credentials()).secret_id == "second"
    assert file.loads == 2


async def test_a_file_that_is_not_renewed_is_looked_at_every_ten_seconds() -> None:
    file = Renewed()
    file.unreadable = True
    for _ in range(100):
        file.now = 4_800.0
        assert (await file.source.credentials()).secret_id == "first"
    assert file.loads == 2
    file.now = 4_810.0
    await file.source.credentials()
    assert file.loads == 3
    file.now = 5_000.0
    with pytest.raises(CredentialsError, match="the-file have expired"):
        await file.source.credentials()
    file.unreadable = False
    file.value = Credentials("second", KEY, "t", expires_at=9_000.0)
    file.now = 5_010.0
    assert (await file.source.credentials()).secret_id == "second"


async def test_a_file_renewed_at_the_last_moment_is_not_missed() -> None:
    file = Renewed()
    file.now = 4_995.0
    await file.source.credentials()
    file.value = Credentials("second", KEY, "t", expires_at=9_000.0)
    file.now = 5_000.0
    assert (await file.source.credentials()).secret_id == "second"


# -- What is never shown ---------------------------------------------------------------------


def test_reprs_show_no_secret() -> None:
    value = Credentials("AKIDEXAMPLE", KEY, "the-token", expires_at=1.0)
    shown = f"{value!r} {value} {StaticCredentials(value)!r} {[value]} {vars(Renewed())}"
    for secret in (KEY, "the-token", "AKIDEXAMPLE"):
        assert secret not in shown
    assert "AKID…" in shown


async def test_static_credentials_stay_as_they_are() -> None:
    value = Credentials("i", KEY)
    source = StaticCredentials(value)
    assert await source.credentials() is value
    await source.aclose()
    assert await source.credentials() is value


@pytest.mark.parametrize("value", ["line\nbreak", "“quoted”", "\udc80", "tab\t"])
@pytest.mark.parametrize("name", ["secret_id", "secret_key", "token"])
def test_a_value_that_no_header_can_carry_is_refused(name: str, value: str) -> None:
    values = {"secret_id": "EXAMPLE", "secret_key": "example", "token": None, name: value}
    with pytest.raises(ConfigError, match=f"the {name.replace('_', ' ')} holds a char") as caught:
        Credentials(**values)  # type: ignore[arg-type]  # the token may be None
    assert value not in str(caught.value)
