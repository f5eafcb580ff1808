"""A client's four answers in a secure sum, and what it refuses."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import cast

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from jaxtyping import UInt

from fedsonar.flower.secure import masks
from fedsonar.flower.secure.layout import Layout
from fedsonar.screen import Tables

RECORD = "fedsonar.sum"
"""The record of a message that belongs to a sum, and of what a client keeps of it in its state."""
MASKED = "fedsonar.masked"
"""The record with the masked vector."""
FEWEST = 3
"""Clients that a sum must have in the end: each of two can subtract its own part and see the other's."""
STAGES = ("keys", "shares", "input", "unmask")


class RefusalError(ValueError):
    """Why a client does not answer; the server is told."""


def answer(message: Message, context: Context, tables: Callable[[], Tables], fewest: int = FEWEST) -> Message:
    """The reply to a message of a secure sum.

    Keys are fresh for every sum; every stage is answered once and in order. What has to be known later is in the
    context's state, which Flower gives back to whatever process answers the next message.

    Args:
        message: One with the record `RECORD`.
        context: Whose state is changed.
        tables: Makes what this client adds to the sum; called in stage ``input`` alone. The server is told of its
            errors if they are a `RefusalError`; others are raised.
        fewest: Clients that a sum must have in the end, at least 3; asked for in stages ``keys`` and ``input``, as some
            know in the latter alone what is added up.

    References:
        Bonawitz et al., 2017, "Practical secure aggregation for privacy-preserving machine learning", figure 4;
        X25519 instead of its finite field, AES-256 in counter mode as its generator.
    """
    asked = cast(ConfigRecord, message.content[RECORD])
    kept = cast(ConfigRecord, context.state.get(RECORD, ConfigRecord({})))
    try:
        stage = asked["stage"]
        if stage == "keys":
            kept, told = _keys(asked, fewest)
        elif stage not in STAGES:
            raise RefusalError(f"there is no stage {str(stage)[:40]!r}")
        elif kept.get("sum") != asked["sum"]:
            raise RefusalError("this client has no keys for that sum: it was unmasked, given up, or never begun")
        elif STAGES.index(cast(str, kept["stage"])) + 1 != STAGES.index(cast(str, stage)):
            raise RefusalError(f"stage {stage} does not come after stage {kept['stage']}; every stage is answered once")
        elif stage == "shares":
            told = _shares(asked, kept)
        elif stage == "input":
            told = _input(asked, kept, tables, fewest)
        else:
            told = _unmask(asked, kept)
        kept["stage"] = stage
    except RefusalError as refusal:
        kept, told = ConfigRecord({}), refused(refusal)
    except (KeyError, TypeError, AttributeError) as error:
        kept, told = ConfigRecord({}), refused(RefusalError(f"a message that cannot be read ({type(error).__name__})"))
    context.state[RECORD] = kept if kept.get("stage") != STAGES[-1] else ConfigRecord({})
    return Message(told, reply_to=message)


def refused(refusal: ValueError) -> RecordDict:
    """What the server is told instead of an answer."""
    return RecordDict({RECORD: ConfigRecord({"refused": str(refusal)})})


def _keys(asked: ConfigRecord, fewest: int) -> tuple[ConfigRecord, RecordDict]:
    """Two public keys: one for letters, one for masks."""
    name, threshold, seat = asked["sum"], asked["threshold"], asked["seat"]
    if not isinstance(name, bytes) or len(name) != masks.SECRET or type(threshold) is not int or type(seat) is not int:
        raise RefusalError("a sum has a name of 16 bytes, a threshold and a seat")
    _check_threshold(threshold, fewest)
    try:
        layout = Layout.read(str(asked["layout"]))
    except ValueError as error:
        raise RefusalError(str(error)) from error
    letters, secret = X25519PrivateKey.generate(), os.urandom(masks.SECRET)
    own = masks.public_key(letters), masks.public_key(masks.private_key(secret, name))
    kept = ConfigRecord({
        "sum": name, "stage": "keys", "threshold": threshold, "seat": seat, "layout": layout.text(),
        "letters": letters.private_bytes_raw(), "mask_secret": secret, "own_keys": list(own),
    })  # fmt: skip
    return kept, RecordDict({RECORD: ConfigRecord({"keys": list(own)})})


def _shares(asked: ConfigRecord, kept: ConfigRecord) -> RecordDict:
    """Shares of this client's two secrets, one letter for every other client."""
    name, threshold, seat = cast(bytes, kept["sum"]), cast(int, kept["threshold"]), cast(int, kept["seat"])
    seats = cast(list[int], asked["seats"])
    letter_keys, mask_keys = cast(list[bytes], asked["letter_keys"]), cast(list[bytes], asked["mask_keys"])
    if not len(seats) == len(letter_keys) == len(mask_keys) or seats != sorted(set(seats)):
        raise RefusalError("every client has one seat and two keys, in the order of seats")
    if any(len(key) != masks.KEY for key in (*letter_keys, *mask_keys)):
        raise RefusalError(f"a public key that has not {masks.KEY} bytes")
    if len(set(letter_keys) | set(mask_keys)) != 2 * len(seats):
        raise RefusalError("two clients with the same public key")
    if seat not in seats or [letter_keys[seats.index(seat)], mask_keys[seats.index(seat)]] != kept["own_keys"]:
        raise RefusalError("other keys in this client's place than it gave")
    if len(seats) < threshold:
        raise RefusalError(f"{len(seats)} clients are fewer than the threshold {threshold}")
    if len(seats) > Layout.read(cast(str, kept["layout"])).clients:
        raise RefusalError("more clients than the layout has room for")
    if 2 * threshold <= len(seats):
        raise RefusalError(
            f"a threshold of {threshold} is too low for {len(seats)} clients: half of them could be asked for one "
            "secret of a client and the others for the other; it must be more than half"
        )
    own_secret = os.urandom(masks.SECRET)
    own_shares = masks.split(own_secret, threshold, len(seats))
    mask_shares = masks.split(cast(bytes, kept["mask_secret"]), threshold, len(seats))
    letters = X25519PrivateKey.from_private_bytes(cast(bytes, kept["letters"]))
    sealed, own = [], b""
    for peer, key, one, other in zip(seats, letter_keys, own_shares, mask_shares, strict=True):
        if peer == seat:
            own = one + other
        else:
            sealed.append(masks.seal(_agree(letters, key, b"letter " + name), one + other, _address(name, seat, peer)))
    kept.update({
        "seats": seats, "letter_keys": letter_keys, "mask_keys": mask_keys, "own_secret": own_secret, "own_shares": own,
    })  # fmt: skip
    return RecordDict({RECORD: ConfigRecord({"sealed": sealed, "seal": commitment(name, seat, own_secret)})})


def _input(asked: ConfigRecord, kept: ConfigRecord, tables: Callable[[], Tables], fewest: int) -> RecordDict:
    """This client's vector under its own mask and one for every other client that sent shares."""
    _check_threshold(cast(int, kept["threshold"]), fewest)
    name, seat, seats = cast(bytes, kept["sum"]), cast(int, kept["seat"]), cast(list[int], kept["seats"])
    peers, letters = cast(list[int], asked["peers"]), cast(list[bytes], asked["sealed"])
    if peers != sorted(set(peers)) or len(peers) != len(letters) or seat in peers or not set(peers) <= set(seats):
        raise RefusalError("one letter from every other client that has a seat, in the order of seats")
    if len(peers) + 1 < cast(int, kept["threshold"]):
        raise RefusalError(f"{len(peers) + 1} clients are fewer than the threshold {kept['threshold']}")
    layout = Layout.read(cast(str, kept["layout"]))
    own = tables()  # whose errors may quote rows, and are not told
    try:
        vector = layout.encode(own)
    except ValueError as error:
        raise RefusalError(str(error)) from error
    vector = vector + own_mask(name, cast(bytes, kept["own_secret"]), layout)
    secret = masks.private_key(cast(bytes, kept["mask_secret"]), name)
    keys = dict(zip(seats, cast(list[bytes], kept["mask_keys"]), strict=True))
    for peer in peers:
        add_mask(vector, secret, seat, peer, keys[peer], name, layout)
    kept.update({"peers": peers, "sealed": letters})
    return RecordDict({RECORD: ConfigRecord({}), MASKED: ArrayRecord({"sum": Array(vector)})})


def _unmask(asked: ConfigRecord, kept: ConfigRecord) -> RecordDict:
    """Of every client one share: of its own mask's secret if its vector came, of its masks with others if not."""
    name, seat, peers = cast(bytes, kept["sum"]), cast(int, kept["seat"]), cast(list[int], kept["peers"])
    arrived, lost = cast(list[int], asked["arrived"]), cast(list[int], asked["lost"])
    both = set(arrived) & set(lost)
    if both:
        raise RefusalError(f"asked for both secrets of seat {min(both)}, which together lay its tables open")
    if sorted(arrived + lost) != sorted([*peers, seat]) or seat not in arrived:
        raise RefusalError("asked for one share of every client that this one masked with, and of its own mask")
    if len(arrived) < cast(int, kept["threshold"]):
        raise RefusalError(f"{len(arrived)} vectors are fewer than the threshold {kept['threshold']}")
    letters = X25519PrivateKey.from_private_bytes(cast(bytes, kept["letters"]))
    keys = dict(zip(cast(list[int], kept["seats"]), cast(list[bytes], kept["letter_keys"]), strict=True))
    texts = {seat: cast(bytes, kept["own_shares"])}
    for peer, letter in zip(peers, cast(list[bytes], kept["sealed"]), strict=True):
        key = _agree(letters, keys[peer], b"letter " + name)
        text = masks.unseal(key, letter, _address(name, peer, seat))
        texts[peer] = text if text is not None and len(text) == 2 * masks.SHARE else b""  # the others' may do
    return RecordDict({RECORD: ConfigRecord({
        "own": [texts[peer][: masks.SHARE] for peer in arrived],
        "mask": [texts[peer][masks.SHARE :] for peer in lost],
    })})  # fmt: skip


def _check_threshold(threshold: int, fewest: int) -> None:
    """Returns when a sum of so many clients hides each of them.

    Raises:
        RefusalError: If it does not.
    """
    fewest = max(FEWEST, fewest)
    if threshold < fewest:
        raise RefusalError(
            f"a threshold of {threshold} is too low: a sum of fewer than {fewest} clients does not hide each of them"
        )


def own_mask(name: bytes, secret: bytes, layout: Layout) -> UInt[np.ndarray, "count"]:
    """The mask of one client alone."""
    return masks.mask(masks.derive(secret, b"own " + name), layout.count, layout.number)


def add_mask(
    vector: UInt[np.ndarray, "count"], secret: X25519PrivateKey, seat: int, peer: int, key: bytes,
    name: bytes, layout: Layout,
) -> None:  # fmt: skip
    """Adds to a client's vector what the other one subtracts from its own.

    Raises:
        RefusalError: If the other's public key is none that keeps a secret.
    """
    shared = masks.mask(_agree(secret, key, b"mask " + name), layout.count, layout.number)
    if seat < peer:
        vector += shared
    else:
        vector -= shared


def commitment(name: bytes, seat: int, secret: bytes) -> bytes:
    """What shares of the secret of a client's own mask must add up to."""
    return hashlib.sha256(b"fedsonar seal " + _address(name, seat, seat) + secret).digest()


def _address(name: bytes, sender: int, receiver: int) -> bytes:
    return name + sender.to_bytes(4, "big") + receiver.to_bytes(4, "big")


def _agree(private: X25519PrivateKey, public: bytes, purpose: bytes) -> bytes:
    try:
        return masks.agree(private, public, purpose)
    except ValueError as error:
        raise RefusalError("a public key that keeps no secret") from error
