"""RSA: keys of the emulator's own, what they decrypt, and answers for a caller's public key."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from batchkms.emulator.apierror import api_error, bad_format, unsupported
from batchkms.emulator.randomness import Randomness, SeededRandomness

KEY_BITS = 2048
_EXPONENT = 65_537
_PKCS1 = "RSAES_PKCS1_V1_5"
_OAEP = {"RSAES_OAEP_SHA_1": "sha1", "RSAES_OAEP_SHA_256": "sha256"}
RSA_ALGORITHMS = (_PKCS1, *_OAEP)
SM2_ALGORITHMS = ("SM2", "SM2_C1C3C2_ASN1")

_SMALL_PRIMES = [n for n in range(3, 2_000) if all(n % p for p in range(2, math.isqrt(n) + 1))]
_WITNESSES = (2, *_SMALL_PRIMES[:39])
"""40 rounds of Miller-Rabin, as FIPS 186-4 asks at most."""


def new_private_key(randomness: Randomness) -> bytes:
    """A fresh key of 2,048 bits, as PKCS #8 in DER. It takes a tenth of a second or more."""
    if randomness.seeded:
        key = _from_primes(_prime(randomness), _prime(randomness))
    else:
        key = rsa.generate_private_key(_EXPONENT, KEY_BITS)
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def derived_private_key(secret: bytes) -> bytes:
    """The key that a secret stands for, always the same one."""
    return new_private_key(SeededRandomness(secret))


@lru_cache(maxsize=64)
def _loaded(der: bytes) -> rsa.RSAPrivateKey:
    # It was checked when it was made or read from a file; checking takes 50 ms.
    key = serialization.load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("the material of an RSA key is no RSA key")
    return key


def is_private_key(der: bytes) -> bool:
    """Whether this is a sound RSA key of 2,048 bits, as PKCS #8 in DER."""
    try:
        key = serialization.load_der_private_key(der, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return isinstance(key, rsa.RSAPrivateKey) and key.key_size == KEY_BITS


def public_forms(der: bytes) -> tuple[bytes, str]:
    """The public half of a key: as SubjectPublicKeyInfo in DER, and in PEM."""
    public, spki = _loaded(der).public_key(), serialization.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(serialization.Encoding.PEM, spki).decode()
    return public.public_bytes(serialization.Encoding.DER, spki), pem


def rsa_decrypt(der: bytes, algorithm: str, ciphertext: bytes) -> bytes:
    """What was encrypted to the key. Raises ApiError.

    NOTE: a ciphertext that is none is not always told under PKCS #1 v1.5: newer OpenSSL gives
    random bytes then, so that nobody learns whether the padding was right.
    """
    try:
        return _loaded(der).decrypt(ciphertext, _padding(algorithm))
    except ValueError:
        raise api_error("FailedOperation.DecryptError") from None


def answer_for(pem: str, algorithm: str, plaintext: bytes, randomness: Randomness) -> bytes:
    """A plaintext encrypted to the caller's EncryptionPublicKey. Raises ApiError.

    `algorithm` is the EncryptionAlgorithm; none means SM2, as documented, which the emulator
    does not have and refuses openly.
    """
    if not algorithm or algorithm in SM2_ALGORITHMS:
        raise unsupported(
            "This emulator does not encrypt answers with SM2: give an EncryptionAlgorithm of RSA."
        )
    key = _public_key(pem)
    try:
        if randomness.seeded:
            return _repeatable(key, algorithm, plaintext, randomness)
        return key.encrypt(plaintext, _padding(algorithm))
    except ValueError:  # More than the key can take: 245 bytes with PKCS #1 v1.5, less with OAEP.
        raise api_error("FailedOperation.EncryptionError") from None


def _public_key(pem: str) -> rsa.RSAPublicKey:
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise bad_format("EncryptionPublicKey") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != KEY_BITS:
        raise bad_format("EncryptionPublicKey")
    return key


def _padding(algorithm: str) -> padding.AsymmetricPadding:
    if algorithm == _PKCS1:
        return padding.PKCS1v15()
    # The service offers RSAES_OAEP_SHA_1 by this name, so that its stand-in must too. Collisions,
    # which make SHA-1 unfit for signatures, are no attack on OAEP.
    sha1 = _OAEP[algorithm] == "sha1"
    digest = hashes.SHA1() if sha1 else hashes.SHA256()  # noqa: S303 - the service offers it, and OAEP bears it
    return padding.OAEP(mgf=padding.MGF1(digest), algorithm=digest, label=None)


def _repeatable(
    key: rsa.RSAPublicKey, algorithm: str, plaintext: bytes, randomness: Randomness
) -> bytes:
    """The same ciphertext for the same draws, which OpenSSL cannot be made to give."""
    size = KEY_BITS // 8
    encode = _pkcs1_encoded if algorithm == _PKCS1 else _oaep_encoded
    encoded = encode(plaintext, size, _OAEP.get(algorithm, ""), randomness)
    numbers = key.public_numbers()
    return pow(int.from_bytes(encoded, "big"), numbers.e, numbers.n).to_bytes(size, "big")


def _pkcs1_encoded(plaintext: bytes, size: int, _: str, randomness: Randomness) -> bytes:
    """EME-PKCS1-v1_5 (RFC 8017, 7.2.1)."""
    fill = size - 3 - len(plaintext)
    if fill < 8:
        raise ValueError("too long")
    drawn = bytes(1 + byte % 255 for byte in randomness.draw(fill))
    return b"\0\2" + drawn + b"\0" + plaintext


def _oaep_encoded(plaintext: bytes, size: int, name: str, randomness: Randomness) -> bytes:
    """EME-OAEP with an empty label (RFC 8017, 7.1.1)."""
    label = hashlib.new(name, b"").digest()
    fill = size - 2 * len(label) - 2 - len(plaintext)
    if fill < 0:
        raise ValueError("too long")
    seed = randomness.draw(len(label))
    block = label + bytes(fill) + b"\1" + plaintext
    masked = _xor(block, _mgf1(name, seed, len(block)))
    return b"\0" + _xor(seed, _mgf1(name, masked, len(seed))) + masked


def _mgf1(name: str, seed: bytes, count: int) -> bytes:
    rounds = -(-count // hashlib.new(name).digest_size)
    mask = b"".join(
        hashlib.new(name, seed + number.to_bytes(4, "big")).digest() for number in range(rounds)
    )
    return mask[:count]


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _prime(randomness: Randomness) -> int:
    """A prime of half the key's bits, the upper two of them set."""
    bits = KEY_BITS // 2
    while True:
        drawn = int.from_bytes(randomness.draw(bits // 8), "big")
        candidate = drawn | 3 << (bits - 2) | 1
        if (
            all(candidate % prime for prime in _SMALL_PRIMES)
            and (candidate - 1) % _EXPONENT
            and _is_prime(candidate)
        ):
            return candidate


def _is_prime(number: int) -> bool:
    """Miller-Rabin with fixed witnesses: enough for numbers that nobody has chosen."""
    odd = number - 1
    twos = (odd & -odd).bit_length() - 1
    odd >>= twos
    for witness in _WITNESSES:
        value = pow(witness, odd, number)
        if value in (1, number - 1):
            continue
        if not any((value := value * value % number) == number - 1 for _ in range(twos - 1)):
            return False
    return True


def _from_primes(p: int, q: int) -> rsa.RSAPrivateKey:
    d = pow(_EXPONENT, -1, math.lcm(p - 1, q - 1))
    return rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=rsa.RSAPublicNumbers(e=_EXPONENT, n=p * q),
    ).private_key()
