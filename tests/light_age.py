"""What a passphrase opens at once: age's own format, with little of the work that slows down who guesses.

age works a second or two for each attempt. One test of `tests/workspace/test_vault_edits.py` does that; all others
that encrypt do it with `wrap`: in this process and in those forked from it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

import pyrage
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LOG_WORK = 4


def wrap(text: bytes, passphrase: str) -> bytes:
    """Encrypt as `pyrage.passphrase.encrypt` does, for texts of less than 64 KiB.

    Args:
        text: What to encrypt.
        passphrase: What opens it.
    """
    file_key, salt, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
    work = hashlib.scrypt(passphrase.encode(), salt=b"age-encryption.org/v1/scrypt" + salt, n=2**LOG_WORK, r=8, p=1)
    wrapped = ChaCha20Poly1305(work[:32]).encrypt(bytes(12), file_key, None)
    header = b"age-encryption.org/v1\n-> scrypt %s %d\n%s\n---" % (base64_of(salt), LOG_WORK, base64_of(wrapped))
    seal = hmac.digest(derive(file_key, b"", b"header"), header, "sha256")
    # One chunk, which is the last one.
    payload = ChaCha20Poly1305(derive(file_key, nonce, b"payload")).encrypt(bytes(11) + b"\1", text, None)
    return header + b" " + base64_of(seal) + b"\n" + nonce + payload


def derive(key: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, purpose).derive(key)


def base64_of(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


@pytest.fixture
def light_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process encrypts with a passphrase opens at once; decrypting is age's own."""
    monkeypatch.setattr(pyrage.passphrase, "encrypt", wrap)
