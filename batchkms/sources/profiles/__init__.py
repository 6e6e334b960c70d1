"""The exports of other tools, by name: which of their parts are secrets, and what they are called.

What each of them reads is told in `docs/inputs.md`. A module here is loaded when its profile is
used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from batchkms.sources.reading import RowReader

if TYPE_CHECKING:
    from batchkms.sources.profiles.json import Layout

ProfileName = Literal[
    "bitwarden-csv",
    "bitwarden-json",
    "1password-csv",
    "lastpass-csv",
    "vault-kv-json",
    "aws-secretsmanager-json",
    "k8s-secret-list",
    "dotenv",
]
"""What `--input-profile` takes."""

PROFILES: tuple[str, ...] = get_args(ProfileName)


def profile_reader(
    profile: str, *, name: str, longest_row_bytes: int, max_plaintext_bytes: int
) -> RowReader:
    """A reader of the secrets in a tool's export.

    `name` is what its messages call the input. Rows of CSV and values of dotenv have at most
    `longest_row_bytes`; a JSON document has a limit of its own.
    """
    caps = {"max_plaintext_bytes": max_plaintext_bytes, "longest_row_bytes": longest_row_bytes}
    if profile == "dotenv":
        from batchkms.sources.profiles.dotenv import DotenvReader

        return DotenvReader(name=name, **caps)
    if profile.endswith("-csv"):
        from batchkms.sources.profiles.passwords import LAYOUTS, PasswordReader

        return PasswordReader(LAYOUTS[profile], name=name, **caps)
    from batchkms.sources.profiles.json import DocumentReader

    layout = _json_layout(profile)
    return DocumentReader(layout, name=name, max_plaintext_bytes=max_plaintext_bytes)


def _json_layout(profile: str) -> Layout:
    if profile == "bitwarden-json":
        from batchkms.sources.profiles.bitwarden import BitwardenJson

        return BitwardenJson()
    if profile == "vault-kv-json":
        from batchkms.sources.profiles.vault import VaultKv

        return VaultKv()
    if profile == "aws-secretsmanager-json":
        from batchkms.sources.profiles.aws import AwsSecretsManager

        return AwsSecretsManager()
    from batchkms.sources.profiles.kubernetes import KubernetesSecrets

    return KubernetesSecrets()
