"""The options that belong to single commands."""

from __future__ import annotations

from batchkms.options.option import Option
from batchkms.options.values import (
    error_classes,
    name,
    names,
    one_of,
    shard,
    size,
    switch,
    text,
    whole,
)

DRY_RUN = Option(
    name="dry-run",
    parse=switch,
    default=False,
    switch=True,
    help="Look at the whole input and tell what would be done; send no row.",
)

KEEP = Option(
    name="keep",
    parse=names,
    write=list,
    metavar="FIELD,…",
    help="Other columns of the input to carry through to the results.",
)

SHARD = Option(
    name="shard",
    parse=shard,
    write=str,
    metavar="I/N",
    shown_default="all rows",
    help="Do only share I of N, with this share of the rate; merge makes one of their outputs.",
)

OLD_FAILING_ROWS: tuple[Option, ...] = (
    Option(
        name="overwrite",
        parse=switch,
        default=False,
        switch=True,
        help="Replace an old file of failing rows.",
    ),
    Option(
        name="resume",
        parse=switch,
        default=False,
        switch=True,
        help="The same: a check that is repeated begins anew.",
    ),
)
"""What these names mean to a check, so that a list of steps can be resumed as a whole."""

INPUT_PROFILE = Option(
    name="input-profile",
    parse=text,
    metavar="NAME",
    help="The input is an export of another tool, such as bitwarden-csv or dotenv.",
)

IN_PLACE_COLUMN = Option(
    name="in-place-column",
    parse=switch,
    default=False,
    switch=True,
    help="Write OUT just like the input, with the ciphertext in the plaintext's column.",
)

ENVELOPE: tuple[Option, ...] = (
    Option(
        name="mode",
        parse=one_of("direct", "envelope"),
        default="direct",
        metavar="direct|envelope",
        help="Encrypt each row by KMS, or all of them here with data keys of KMS.",
    ),
    Option(
        name="oversize",
        parse=one_of("fail", "envelope"),
        default="fail",
        metavar="fail|envelope",
        help="What becomes of a plaintext over 4,096 bytes.",
    ),
    Option(
        name="data-key-rows",
        parse=whole(1, 2**31),
        default=10_000,
        metavar="N",
        help="Rows that one data key encrypts at the most.",
    ),
    Option(
        name="data-key-bytes",
        parse=size,
        default=1024**3,
        metavar="SIZE",
        shown_default="1GiB",
        help="Bytes that one data key encrypts at the most.",
    ),
)

CIPHERTEXT_FIELD = Option(
    name="ciphertext-field",
    parse=text,
    metavar="NAME",
    shown_default="ciphertext",
    help="Field of the ciphertext.",
)

REENCRYPT: tuple[Option, ...] = (
    Option(
        name="destination-context-field",
        parse=text,
        metavar="NAME",
        shown_default="the context stays",
        help="Field of the encryption context to bind from now on.",
    ),
    Option(
        name="source-region",
        parse=name,
        metavar="REGION",
        help="Decrypt in this region, encrypt in --region: the plaintext is in memory only.",
    ),
    Option(
        name="source-endpoint",
        parse=text,
        metavar="URL",
        help="Decrypt there, encrypt at --endpoint.",
    ),
    Option(
        name="source-profile",
        parse=text,
        metavar="NAME",
        help="Decrypt with the credentials of this profile.",
    ),
)

ALLOW_STDOUT = Option(
    name="allow-stdout",
    parse=switch,
    default=False,
    switch=True,
    help="Let -o - write plaintexts to stdout.",
)

VERIFY: tuple[Option, ...] = (
    Option(
        name="against",
        parse=text,
        metavar="INPUT",
        help="The inventory that was encrypted.",
    ),
    Option(
        name="all",
        parse=switch,
        default=False,
        switch=True,
        help="Decrypt every row.",
    ),
    Option(
        name="sample",
        parse=whole(1, 10**12),
        metavar="N",
        help="Decrypt only so many rows, chosen at random; the others are matched by seq.",
    ),
)

SEED = Option(
    name="seed",
    parse=whole(0, 2**63 - 1),
    metavar="N",
    shown_default="another one each time",
    help="Choose at random just as a run with this seed did.",
)

CLASS = Option(
    name="class",
    stored_as="classes",
    parse=error_classes,
    write=list,
    metavar="CLASS,…",
    shown_default="every row whose failure is retryable",
    help="Rows of these classes.",
)

NO_INPUT = Option(
    name="no-input",
    parse=switch,
    default=False,
    switch=True,
    help="Do not look at the input.",
)
