"""Keys, masks, shares and sealed letters of a secure sum: each is one call of a library.

Secrets that are shared have 16 bytes, and keys are derived from them. Masks are the key stream of AES-256 in counter
mode, under a key that is used once. Flower's own masks (``pseudo_rand_gen``) are not used: they fold the agreed key to
32 bits, which can be tried one by one, and stretch it by a generator that is made for statistics.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from jaxtyping import UInt

SECRET = 16
"""Bytes of a shared secret."""
KEY = 32
"""Bytes of public keys and of derived keys."""
SHARE = 36
"""Bytes of a share: its number, and two blocks."""
SEALED = 12 + 2 * SHARE + 16
"""Bytes of a sealed pair of shares."""


def derive(secret: bytes, purpose: bytes) -> bytes:
    """A key for one purpose."""
    return HKDF(algorithm=hashes.SHA256(), length=KEY, salt=None, info=b"fedsonar sum " + purpose).derive(secret)


def private_key(secret: bytes, purpose: bytes) -> X25519PrivateKey:
    """The private key that follows from a secret."""
    return X25519PrivateKey.from_private_bytes(derive(secret, b"key " + purpose))


def public_key(private: X25519PrivateKey) -> bytes:
    """What others may know of it."""
    return private.public_key().public_bytes_raw()


def agree(private: X25519PrivateKey, public: bytes, purpose: bytes) -> bytes:
    """The key that two parties have in common.

    Raises:
        ValueError: If the public key is none that keeps a secret.
    """
    return derive(private.exchange(X25519PublicKey.from_public_bytes(public)), purpose)


def mask(key: bytes, count: int, number: np.dtype[Any]) -> UInt[np.ndarray, "count"]:
    """As many uniformly distributed numbers as are to be masked."""
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(stream.update(bytes(count * number.itemsize)), dtype=number)


def split(secret: bytes, threshold: int, parties: int) -> list[bytes]:
    """Shares of a secret, of which any `threshold` give it back and fewer tell nothing (Shamir; Flower's)."""
    shares: list[bytes] = create_shares(secret, threshold, parties)
    return shares


def combine(shares: list[bytes]) -> bytes:
    """The secret of exactly as many shares as it takes.

    Raises:
        ValueError: If they do not belong together.
    """
    secret: bytes = combine_shares(shares)
    return secret


def seal(key: bytes, text: bytes, address: bytes) -> bytes:
    """A letter that only who has the key can read or write."""
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, text, address)


def unseal(key: bytes, letter: bytes, address: bytes) -> bytes | None:
    """What it says; None where it was not sealed with this key for this address."""
    try:
        return AESGCM(key).decrypt(letter[:12], letter[12:], address)
    except (InvalidTag, ValueError):
        return None
