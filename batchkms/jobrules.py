"""What must hold of a job as a whole, once every single value is right."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urlsplit

from batchkms.errors import ConfigError
from batchkms.kms.endpoint import is_loopback, parse_endpoint
from batchkms.loadrules import check_load
from batchkms.records import Result
from batchkms.sources.base import DEFAULT_FIELDS

EMULATOR_REGION = "ap-guangzhou"
"""The region that is called where any will do: on loopback, nothing depends on it."""

ABOUT_AN_OUTPUT = ("retry", "audit")
"""Commands that are given the output of a run; where its input is, the manifest says."""

Values = dict[str, Any]


def check(command: str, values: Values, given: frozenset[str]) -> None:
    """Raises ConfigError for a combination that makes no sense; fills in a region that follows.

    `given` are the fields that the user gave a value anywhere.
    """
    if values["processes"] > 1 and sys.platform == "win32":
        raise ConfigError(
            "--processes needs a POSIX system, and this is Windows",
            hint="leave --processes out: one process does the same, on one core",
        )
    if command == "loadtest":
        check_load(values, given)
    if command in ABOUT_AN_OUTPUT:
        if values["output"] is None:
            raise ConfigError("no output was given", hint="name the output of a run")
        return
    if values["input"] is None and command != "loadtest":
        raise ConfigError("no input was given", hint="name a file, or - for stdin")
    if command == "inspect":
        return
    if command in ("encrypt", "reencrypt", "decrypt"):
        _check_output(command, values)
    _check_fields(command, values)
    if command == "verify":
        _check_verify(values)
    if values["emulator"]:
        _check_emulator(values)
    else:
        _check_service(command, values)
    if command == "reencrypt":
        _check_source(values)


def _check_output(command: str, values: Values) -> None:
    if values["output"] is None and values["dry_run"]:
        return
    if values["output"] is None:
        raise ConfigError("no output was given", hint="add -o FILE, or -o - for stdout")
    if values["output"] == "-" and values["summary"] == "json":
        raise ConfigError(
            "results and summary cannot both go to stdout",
            hint="write the results to a file, or leave out --summary json",
        )
    if values["resume"] and values["overwrite"]:
        raise ConfigError(
            "--resume and --overwrite cannot go together",
            hint="--resume goes on with what is there, --overwrite throws it away",
        )
    if command == "decrypt" and values["output"] == "-" and not values["allow_stdout"]:
        raise ConfigError(
            "plaintexts are not written to stdout",
            hint="write to a file with -o FILE, or add --allow-stdout",
        )
    if values["in_place_column"]:
        _check_in_place(values)


def _check_in_place(values: Values) -> None:
    if "-" in (values["output"], values["input"]):
        raise ConfigError(
            "--in-place-column reads the input twice and writes a file beside the results",
            hint="name files for the input and for -o",
        )
    if values["input_profile"]:
        raise ConfigError(
            "--in-place-column and --input-profile cannot go together",
            hint="an export has no column for a ciphertext: leave one of them out",
        )
    if "envelope" in (values["mode"], values["oversize"]):
        raise ConfigError(
            "--in-place-column and envelopes cannot go together: a ciphertext made with a data "
            "key cannot be decrypted without that key, for which there is no column",
            hint="leave out --in-place-column, --mode envelope or --oversize envelope",
        )
    if values["limit"] is not None:
        raise ConfigError(
            "--in-place-column and --limit cannot go together: the other rows would be left out",
            hint="leave one of them out",
        )


def _check_fields(command: str, values: Values) -> None:
    """The plaintext must not be taken for anything that is written to the results."""
    if command in ("reencrypt", "decrypt"):
        content, others = "ciphertext", ["id", "context", "destination_context"]
        others += ["key"] if command == "reencrypt" else []
    else:
        content, others = "plaintext", ["id", "context", "key"]
    used = {
        role: values[f"{role}_field"] or DEFAULT_FIELDS.get(f"{role}_field")
        for role in (content, *others)
    }
    for role in others:
        if used[role] == used[content]:
            option = f"{role}-field".replace("_", "-")
            raise ConfigError(
                f"the field {used[role]!r} is named for the {content} and for the "
                f"{role.replace('_', ' ')}",
                hint=f"name different ones with --{content}-field and --{option}",
            )
    _check_kept(values)


def _check_kept(values: Values) -> None:
    if values["keep"] and values["input_profile"]:
        raise ConfigError(
            "--keep and --input-profile cannot go together",
            hint="an export has no columns to keep: leave one of them out",
        )
    columns = {*Result.__struct_encode_fields__}
    never = values["plaintext_field"] or DEFAULT_FIELDS["plaintext_field"]
    for kept in values["keep"] or ():
        if kept == never:
            raise ConfigError(
                f"--keep: the column {kept!r} holds the plaintext", hint="leave it out of --keep"
            )
        if kept in columns:
            raise ConfigError(
                f"--keep: results have a column {kept!r} of their own",
                hint="leave it out of --keep, or rename it in the input",
            )
        if not kept.isprintable():
            raise ConfigError(
                f"--keep: the name {kept!r} has a control character",
                hint="rename the column in the input",
            )


def _check_verify(values: Values) -> None:
    if values["against"] is None:
        raise ConfigError(
            "verify needs the inventory that was encrypted", hint="add --against INPUT"
        )
    if values["all"] and values["sample"] is not None:
        raise ConfigError("--all and --sample cannot go together", hint="leave one of them out")
    if values["input"] == "-":
        raise ConfigError(
            "verify reads the results twice, and cannot from stdin", hint="name a file"
        )


def _check_emulator(values: Values) -> None:
    fields = ("endpoint", "profile", "credentials", "proxy", "ca_file")
    for field in (*fields, "source_region", "source_endpoint", "source_profile"):
        if values[field] is not None:
            raise ConfigError(
                f"--emulator and --{field.replace('_', '-')} cannot go together",
                hint="--emulator starts a KMS of its own, with its own credentials; "
                "--no-emulator takes back what a job file or the environment says",
            )
    values["region"] = values["region"] or EMULATOR_REGION


def _check_service(command: str, values: Values) -> None:
    if values["data_dir"] is not None:
        raise ConfigError("--data-dir goes with --emulator", hint="leave one out, or add the other")
    if command == "encrypt" and values["key_id"] is None and values["key_field"] is None:
        raise ConfigError(
            "no CMK was given",
            hint="add --key-id ID, or --key-field NAME if the rows name their own; to try "
            "without an account, add --emulator",
        )
    if values["region"] is None and values["endpoint"] is not None:
        host = urlsplit(parse_endpoint(values["endpoint"]).url).hostname
        if host is not None and is_loopback(host):
            values["region"] = EMULATOR_REGION
    # A check without a region leaves the service out.
    if values["region"] is None and command != "check":
        raise ConfigError(
            "no region was given",
            hint="add --region, such as ap-guangzhou, or set TENCENTCLOUD_REGION",
        )


def _check_source(values: Values) -> None:
    """From another account or region no call of ReEncrypt leads here: rows are decrypted there."""
    source = [name for name in ("region", "endpoint", "profile") if values[f"source_{name}"]]
    if source and values["key_id"] is None and values["key_field"] is None:
        raise ConfigError(
            f"--source-{source[0]} decrypts there and encrypts here, and no CMK was given for that",
            hint="add --key-id ID, or --key-field NAME if the rows name their own",
        )
