"""HTTPS: the test CA, certificates of one's own, and what is asked before others can reach it."""

from __future__ import annotations

import asyncio
import ssl
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import trustme

from batchkms.emulator import Emulator
from batchkms.emulator.tls import CA_FILE, CA_KEY_FILE
from batchkms.errors import ConfigError
from tests.emulator.test_cli import refused, running

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is asked before is what the tests are about


def encrypt(folder: Path, ready: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    """`batchkms encrypt` of one row against an emulator."""
    (folder / "in.jsonl").write_text('{"id":"a","plaintext":"secret"}\n')
    return subprocess.run(
        [
            *(sys.executable, "-m", "batchkms", "encrypt", "in.jsonl", "-o", "-"),
            *("--endpoint", ready["endpoint"], "--key-id", ready["key_id"]),
            *("--max-attempts", "1", *options),
        ],
        cwd=folder,
        env={
            "HOME": str(folder),
            "TENCENTCLOUD_SECRET_ID": ready["secret_id"],
            "TENCENTCLOUD_SECRET_KEY": ready["secret_key"],
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_batchkms_encrypts_over_the_test_ca_and_not_without_it(tmp_path: Path) -> None:
    with running("--data-dir", str(tmp_path / "data"), "--tls") as (_, line):
        ready = orjson.loads(line)
        assert ready["endpoint"].startswith("https://127.0.0.1:")
        trusted = encrypt(tmp_path, ready, "--ca-file", ready["ca_file"])
        untrusted = encrypt(tmp_path, ready)
    assert trusted.returncode == 0, trusted.stderr
    assert '"status":"ok"' in trusted.stdout
    assert untrusted.returncode == 3
    assert "--ca-file" in untrusted.stderr


async def reached(emulator: Emulator, ca_file: Path | str, **headers: str) -> int:
    """The status of a question about the emulator, asked over TLS."""
    context = ssl.create_default_context(cafile=str(ca_file))
    # What the strictest clients ask of a certificate: the default from Python 3.13.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.get(emulator.endpoint + "/_emulator/stats", headers=headers) as answer,
    ):
        return answer.status


async def test_the_ca_stays_and_the_keys_are_private(tmp_path: Path) -> None:
    async with Emulator(data_dir=tmp_path, tls=True) as emulator:
        assert emulator.ca_file == tmp_path / CA_FILE
        first = emulator.ca_file.read_bytes()
        assert await reached(emulator, emulator.ca_file) == 200
    async with Emulator(data_dir=tmp_path, tls=True) as emulator:
        assert (tmp_path / CA_FILE).read_bytes() == first
        assert await reached(emulator, tmp_path / CA_FILE) == 200
    assert stat.S_IMODE((tmp_path / CA_KEY_FILE).stat().st_mode) == 0o600
    assert b"PRIVATE" not in first
    assert [path.name for path in tmp_path.iterdir() if "server" in path.name] == []


async def test_it_has_the_names_it_is_told(tmp_path: Path) -> None:
    async with Emulator(data_dir=tmp_path, tls=True, tls_names=["kms.test"]) as emulator:
        context = ssl.create_default_context(cafile=str(emulator.ca_file))
        port = int(emulator.endpoint.rpartition(":")[2])
        for name in ("kms.test", "localhost", "127.0.0.1"):
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname=name
            )
            writer.close()
            await writer.wait_closed()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="other")


async def test_a_certificate_of_yours_is_served(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = ca.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    options: dict[str, Any] = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    async with Emulator(data_dir=tmp_path / "data", **options) as emulator:
        assert emulator.ca_file is None
        assert await reached(emulator, tmp_path / "ca.pem") == 200


async def test_a_damaged_ca_is_told(tmp_path: Path) -> None:
    for name in (CA_FILE, CA_KEY_FILE):
        (tmp_path / name).write_text("nothing")
    with pytest.raises(ConfigError, match="the test CA in .* is damaged"):
        async with Emulator(data_dir=tmp_path, tls=True):
            pass


async def test_elsewhere_the_control_pages_ask_for_the_token(tmp_path: Path) -> None:
    async with Emulator(data_dir=tmp_path, host=EVERYWHERE, tls=True) as emulator:
        assert emulator.endpoint.startswith("https://127.0.0.1:")
        assert emulator.token is not None
        assert emulator.ca_file is not None
        right = {"Authorization": f"Bearer {emulator.token}"}
        assert await reached(emulator, emulator.ca_file) == 401
        assert await reached(emulator, emulator.ca_file, Authorization="Bearer x") == 401
        assert await reached(emulator, emulator.ca_file, **right) == 200


def test_a_host_that_others_reach_needs_tls_or_the_users_word(tmp_path: Path) -> None:
    options = ("--data-dir", str(tmp_path), "--host", EVERYWHERE)
    code, stderr = refused(*options)
    assert code == 2
    assert "--tls" in stderr[1]
    assert "--insecure-host" in stderr[1]
    assert "anybody on the way could read" in stderr[1]
    for consent in ("--insecure-host", "--tls"):
        with running(*options, consent, "--workers", "2") as (_, line):
            ready = orjson.loads(line)
            assert len(ready["token"]) >= 32
            assert ready["endpoint"].startswith("https" if consent == "--tls" else "http:")


async def test_on_loopback_there_is_no_token(tmp_path: Path) -> None:
    async with Emulator(data_dir=tmp_path, tls=True) as emulator:
        assert emulator.token is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tls_cert": "x.pem"}, "a certificate and its key go together"),
        ({"tls": True, "tls_cert": "x", "tls_key": "y"}, "exclude each other"),
        ({"host": "kms.test", "tls": True}, "kms.test is no IP address"),
        ({"tier": "gold"}, "there is no tier 'gold'"),
        ({"rate_window": "round"}, "there is no rate window 'round'"),
    ],
)
def test_refused_combinations(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Emulator(**options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--rate-limit", "5", "--tier", "default"), "--rate-limit and --tier exclude each other"),
        (("--fault", "code=x", "--fault", "cod=x"), "--fault cod=x: there is no field 'cod'"),
        (("--fault-file", "none.toml"), "the fault file none.toml cannot be read"),
        (("--tls-cert", "none.pem", "--tls-key", "none.pem"), "cannot be used: No such file"),
    ],
)
def test_refused_on_the_command_line(tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    code, stderr = refused("--data-dir", str(tmp_path), *options)
    assert code == 2
    assert told in stderr[0]
    assert stderr[1].startswith("batchkms: hint: ")
