"""The sample of each profile, and exactly the secrets that are in it."""

from __future__ import annotations

from pathlib import Path

from batchkms.records import MAX_PLAINTEXT_BYTES
from batchkms.sources.profiles import profile_reader
from batchkms.sources.reading import RowReader
from tests.sources.given import LONGEST

FOLDER = Path(__file__).parent / "samples"

FILES = {
    "bitwarden-csv": "bitwarden.csv",
    "bitwarden-json": "bitwarden.json",
    "1password-csv": "1password.csv",
    "lastpass-csv": "lastpass.csv",
    "vault-kv-json": "vault.json",
    "aws-secretsmanager-json": "aws.json",
    "k8s-secret-list": "kubernetes.json",
    "dotenv": "dotenv.env",
}

SECRETS: dict[str, list[tuple[str, bytes]]] = {
    "bitwarden-csv": [
        ("Work/Servers/build host/notes", b'first line, with "quotes"\nsecond line'),
        ("Work/Servers/build host/password", b"fake-password-1"),
        ("Work/Servers/build host/totp", b"otpauth://totp/fake?secret=FAKEFAKE"),
        ("forum/fields", b"PIN: fake-pin\nquestion: fake answer"),
        ("forum/password", b"fake-password-2"),
        ("forum#2/password", b"fake-password-3"),
        ("item-5/notes", b"fake-note"),
    ],
    "bitwarden-json": [
        ("Work/Servers/build host/password", b"fake-password-1"),
        ("Work/Servers/build host/totp", b"FAKEFAKE"),
        ("Work/Servers/build host/fido2Credentials.1", b"fake-passkey"),
        ("Work/Servers/build host/notes", b"fake-note"),
        ("Work/Servers/build host/fields.API%2Fkey", b"fake-field-1"),
        ("Work/Servers/build host/fields.API%2Fkey#2", b"fake-field-2"),
        ("Work/Servers/build host/passwordHistory.1", b"fake-old-password"),
        ("a note/notes", b"fake-note-2"),
        ("card/card.number", b"fake-number"),
        ("card/card.code", b"fake-code"),
        ("person/identity.ssn", b"fake-ssn"),
        ("person/identity.passportNumber", b"fake-passport"),
        ("person/identity.licenseNumber", b"fake-license"),
        ("key/sshKey.privateKey", b"fake-private-key\n"),
        ("Work/Servers/build host#2/password", "fake-password-2 é🔐".encode()),
    ],
    "1password-csv": [
        ("build host/password", b'fake "password" 1'),
        ("build host/otpauth", b"otpauth://totp/fake?secret=FAKEFAKE"),
        ("build host/notes", b"fake-note"),
        ("forum/password", b"fake-password-2"),
    ],
    "lastpass-csv": [
        ("Work\\Servers/build host/password", b"fake-password-1"),
        ("Work\\Servers/build host/totp", b"FAKEFAKE"),
        (
            "server note/extra",
            b"NoteType:Server\nHostname:build.example.test\nPassword:fake-password-2",
        ),
    ],
    "vault-kv-json": [
        ("1/password", b"fake-password-1"),
        ("1/port", b"5432"),
        ("1/ratio", b"1.10"),
        ("1/serial", b"123456789012345678901234567890"),
        ("1/options", b'{"tls":true,"hosts":["a b","c\\u00e9"]}'),
        ("kv/app/data", b"fake-v1-data"),
        ("kv/app/metadata", b"fake-v1-metadata"),
        ("kv/app/a%2Fb", b"fake-v1"),
    ],
    "aws-secretsmanager-json": [
        ("prod/db", b'{"username":"app","password":"fake-password-1"}'),
        ("prod/blob", b"\x00\xfffake"),
        ("prod/db#2", b"fake-password-2"),
    ],
    "k8s-secret-list": [
        ("prod/db/password", b"fake-password-1"),
        ("prod/db/keystore.jks", b"\x00\xfffake"),
        ("draft/token", b"fake-token\n"),
    ],
    "dotenv": [
        ("DB_PASSWORD", b"fake-password-1"),
        ("API_KEY", b"fake key with spaces"),
        ("HASH", b"fake#1"),
        ("SINGLE", b"fake $HOME \\n it's"),
        ("DOUBLE", b'fake "quoted"\ttab \\$HOME ${HOME}'),
        ("KEY", b"fake first line\n# no comment\nlast line"),
        ("INDENTED", b"fake-indented"),
        ("API_KEY#2", b"fake-again"),
    ],
}


def sample(profile: str) -> Path:
    """The file that is such an export."""
    return FOLDER / FILES[profile]


def reader(profile: str, *, longest: int = LONGEST, most: int = MAX_PLAINTEXT_BYTES) -> RowReader:
    """A reader of such exports that calls its input `in`."""
    return profile_reader(profile, name="in", longest_row_bytes=longest, max_plaintext_bytes=most)
