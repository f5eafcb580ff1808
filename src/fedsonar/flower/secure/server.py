"""The server's side of a secure sum: carries keys and letters, adds up vectors, takes the masks off."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.common.serde import recorddict_to_proto
from flwr.serverapp import Grid
from jaxtyping import UInt

from fedsonar.flower.replies import ROOM, ask
from fedsonar.flower.secure import masks
from fedsonar.flower.secure.client import FEWEST, MASKED, RECORD, add_mask, commitment, own_mask
from fedsonar.flower.secure.layout import Layout

_Told = TypeVar("_Told")


class SumError(ValueError):
    """Why there is no sum."""


class _UnreadableError(ValueError):
    """Why a reply cannot be used."""


@dataclass(frozen=True)
class Summed:
    """What the server has after a secure sum.

    Args:
        tables: The sum.
        nodes: Whose tables are in it.
        lost: Node -> why its tables are not in it, or why it did not help to take the masks off.
        received: Node -> bytes that came from it.
        sent: Node -> bytes that went to it.
    """

    tables: Mapping[str, np.ndarray]
    nodes: Sequence[int]
    lost: Mapping[int, str]
    received: Mapping[int, int]
    sent: Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class SecureSum:
    """Sums clients' tables over a Flower grid, and learns the sum alone.

    Every pair of clients has a mask that one adds and the other subtracts, and every client has a mask of its own.
    The secrets of both are shared among all clients, so that any `threshold` of them can give the server what it takes
    to finish without those who left: the own masks of who is in the sum, the masks in common of who is not. Four
    messages a client: keys, shares, input, unmask.

    Args:
        grid: Flower's.
        message_type: Of the messages.
        share: Part of the clients that must stay to the end, above one half; clients that conspire with a server that
            breaks the protocol must be fewer than twice the threshold less the clients.
        fewest: Clients that must stay in any case, at least 3.
        timeout: Seconds that clients may take for one answer.

    Raises:
        ValueError: If it would protect nobody; says why.

    References:
        Bonawitz et al., 2017, "Practical secure aggregation for privacy-preserving machine learning", figure 4.
    """

    grid: Grid
    message_type: str
    share: float = 2 / 3
    fewest: int = FEWEST
    timeout: float = 3600.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.share <= 1:
            raise ValueError(f"share must be from .5 to 1, got {self.share}")
        if self.fewest < FEWEST:
            raise ValueError(f"fewest must be at least {FEWEST}, got {self.fewest}")

    def __call__(
        self, nodes: Sequence[int], layout: Layout, along: RecordDict | None = None, *, what: str = "tables"
    ) -> Summed:
        """The sum over the nodes that stay.

        Args:
            nodes: Whom to ask.
            layout: Of their tables.
            along: Records that tell clients what to add up, sent in stage ``input``.
            what: Is summed, for errors.

        Raises:
            SumError: If too few stay, or what they send does not fit together; names them.
        """
        return _Running(self, sorted(set(nodes)), layout, what).run(along or RecordDict())


class _Running:
    """One sum on its way. Clients are known by seats, since nodes' numbers say nothing that they need."""

    def __init__(self, options: SecureSum, nodes: Sequence[int], layout: Layout, what: str) -> None:
        self.options, self.layout, self.what = options, layout, what
        self.name = secrets.token_bytes(masks.SECRET)
        self.seats = dict(enumerate(nodes, start=1))
        self.threshold = max(options.fewest, math.floor(options.share * len(nodes)) + 1)
        self.threshold = max(options.fewest, min(self.threshold, len(nodes)))
        self.lost: dict[int, str] = {}
        self.received = dict.fromkeys(nodes, 0)
        self.sent = dict.fromkeys(nodes, 0)
        if len(nodes) > layout.clients:
            raise SumError(f"{len(nodes)} clients, and the layout has room for {layout.clients}")

    def run(self, along: RecordDict) -> Summed:
        layout, name = self.layout, self.name
        keys = self._ask("keys", self.seats, self._greeting, _read_keys)
        self._distinct(keys)
        everyone = {
            "seats": sorted(keys), "letter_keys": [keys[seat][0] for seat in sorted(keys)],
            "mask_keys": [keys[seat][1] for seat in sorted(keys)],
        }  # fmt: skip
        letters = self._ask("shares", keys, lambda _: everyone, lambda reply: _read_letters(reply, len(keys) - 1))
        others = {seat: [peer for peer in sorted(keys) if peer != seat] for seat in letters}

        def delivery(seat: int) -> dict[str, Any]:
            peers = [peer for peer in sorted(letters) if peer != seat]
            return {"peers": peers, "sealed": [letters[peer][0][others[peer].index(seat)] for peer in peers]}

        total = np.zeros(layout.count, layout.number)
        arrived: set[int] = set()
        for seat, vector in self._ask("input", letters, delivery, self._read_vector, along).items():
            total += vector
            arrived.add(seat)
        lost = set(letters) - arrived
        call = {"arrived": sorted(arrived), "lost": sorted(lost)}
        shares = self._ask(
            "unmask", arrived, lambda _: call, lambda reply: _read_shares(reply, len(arrived), len(lost))
        )
        for place, seat in enumerate(sorted(arrived)):
            secret = self._secret(
                seat, [own[place] for own, _ in shares.values()], self._is_sealed(seat, letters[seat][1])
            )
            total -= own_mask(name, secret, layout)
        for place, seat in enumerate(sorted(lost)):
            secret = self._secret(seat, [mask[place] for _, mask in shares.values()], self._is_key(keys[seat][1]))
            private = masks.private_key(secret, name)
            for peer in sorted(arrived):  # what a lost client would have added is what its peers took off
                add_mask(total, private, seat, peer, keys[peer][1], name, layout)
        try:
            tables = layout.decode(total)
        except ValueError as error:
            raise self._failure(str(error)) from error
        return Summed(tables, [self.seats[seat] for seat in sorted(arrived)], self.lost, self.received, self.sent)

    def _greeting(self, seat: int) -> dict[str, Any]:
        return {"threshold": self.threshold, "seat": seat, "layout": self.layout.text()}

    def _ask(
        self, stage: str, seats: Collection[int], tell: Callable[[int], Mapping[str, Any]],
        read: Callable[[RecordDict], _Told], along: RecordDict | None = None,
    ) -> dict[int, _Told]:  # fmt: skip
        """Seat -> what its client told in a stage; those that told nothing that can be used are lost.

        Raises:
            SumError: If fewer than the threshold told something.
        """
        options, messages, asked = self.options, [], sorted(seats)
        for seat in asked:
            content = RecordDict(
                {**(along or {}), RECORD: ConfigRecord({"stage": stage, "sum": self.name, **tell(seat)})}
            )
            self.sent[self.seats[seat]] += recorddict_to_proto(content).ByteSize()
            messages.append(Message(content, dst_node_id=self.seats[seat], message_type=options.message_type))
        found: dict[int, _Told] = {}
        why = dict.fromkeys(asked, f"no reply within {options.timeout:g} s")
        for place, reply in ask(options.grid, messages, patience=options.timeout, most=self._most(len(asked))):
            seat = asked[place]
            if isinstance(reply, str):
                why[seat] = reply
                continue
            try:
                found[seat] = read(self._content(reply, self.seats[seat]))
            except _UnreadableError as error:
                why[seat] = str(error)
            except Exception as error:  # whatever Flower's records raise on bytes that somebody made up
                why[seat] = f"a reply that cannot be read ({type(error).__name__})"
        self.lost |= {self.seats[seat]: f"{stage}: {why[seat]}" for seat in asked if seat not in found}
        if len(found) < self.threshold:
            raise self._failure(f"{len(found)} clients stayed after stage {stage}, and it takes {self.threshold}")
        return dict(sorted(found.items()))

    def _most(self, clients: int) -> int:
        """Bytes that a reply of any stage may have: a vector, or a sealed letter to every client."""
        return self.layout.count * self.layout.number.itemsize + clients * 2 * masks.SEALED + ROOM

    def _content(self, reply: Message, node: int) -> RecordDict:
        content = reply.content
        self.received[node] += recorddict_to_proto(content).ByteSize()
        record = content.get(RECORD)
        if not isinstance(record, ConfigRecord):
            raise _UnreadableError(f"records {sorted(map(str, content))[:5]} instead of {RECORD}")
        if "refused" in record:
            raise _UnreadableError(f"it refused: {' '.join(str(record['refused']).split())[:300]}")
        return content

    def _read_vector(self, content: RecordDict) -> UInt[np.ndarray, "count"]:
        record, number, count = content.get(MASKED), self.layout.number, self.layout.count
        if not isinstance(record, ArrayRecord) or list(record) != ["sum"]:
            raise _UnreadableError("no masked vector")
        array = record["sum"]
        if array.dtype != number.name or tuple(array.shape) != (count,):
            raise _UnreadableError(
                f"{array.dtype} of shape {tuple(array.shape)} instead of {number.name} of ({count},)"
            )
        if len(array.data) > count * number.itemsize + 4096:
            raise _UnreadableError(f"{len(array.data)} bytes for {count} numbers of {number.name}")
        vector = array.numpy()
        if vector.dtype != number or vector.shape != (count,):
            raise _UnreadableError(f"{vector.dtype} of shape {vector.shape} instead of {number.name} of ({count},)")
        return cast(np.ndarray, vector)

    def _distinct(self, keys: dict[int, tuple[bytes, bytes]]) -> None:
        """Puts out all clients that have a public key in common with another one.

        Raises:
            SumError: If too few are left.
        """
        every = [key for pair in keys.values() for key in pair]
        for seat in [seat for seat, pair in keys.items() if any(every.count(key) > 1 for key in pair)]:
            del keys[seat]
            self.lost[self.seats[seat]] = "keys: a public key that was given twice"
        if len(keys) < self.threshold:
            raise self._failure(f"{len(keys)} clients with keys of their own, and it takes {self.threshold}")

    def _secret(self, seat: int, shares: Sequence[bytes], is_it: Callable[[bytes], bool]) -> bytes:
        """The secret of a client's shares, one of which may be wrong where there are more than it takes.

        Raises:
            SumError: If too few could be read, or they do not give it.
        """
        by_number = {share[:4]: share for share in shares if share}
        usable, threshold = [by_number[number] for number in sorted(by_number)], self.threshold
        if len(usable) < threshold:
            raise self._failure(f"{len(usable)} shares of node {self.seats[seat]} could be read, not {threshold}")
        first, spare = usable[:threshold], usable[threshold : threshold + 1]
        for some in (first, *(first[:i] + spare + first[i + 1 :] for i in range(threshold) if spare)):
            with suppress(ValueError):
                secret = masks.combine(some)
                if len(secret) == masks.SECRET and is_it(secret):
                    return secret
        raise self._failure(f"the shares of node {self.seats[seat]} do not give what it committed to")

    def _is_sealed(self, seat: int, seal: bytes) -> Callable[[bytes], bool]:
        return lambda secret: commitment(self.name, seat, secret) == seal

    def _is_key(self, key: bytes) -> Callable[[bytes], bool]:
        return lambda secret: masks.public_key(masks.private_key(secret, self.name)) == key

    def _failure(self, reason: str) -> SumError:
        lost = "; ".join(f"node {node}, {why}" for node, why in sorted(self.lost.items())[:10])
        return SumError(f"no secure sum of {self.what}: {reason}{': ' + lost if lost else ''}")


def _read_bytes(content: RecordDict, name: str, count: int, lengths: set[int]) -> list[bytes]:
    """A list of so many byte strings of such lengths."""
    found = cast(ConfigRecord, content[RECORD]).get(name)
    if not isinstance(found, list) or len(found) != count:
        raise _UnreadableError(f"{name} is no list of {count}")
    for one in found:
        if not isinstance(one, bytes) or len(one) not in lengths:
            raise _UnreadableError(f"{name} holds something else than {' or '.join(map(str, sorted(lengths)))} bytes")
    return cast(list[bytes], found)


def _read_keys(content: RecordDict) -> tuple[bytes, bytes]:
    letters, mask = _read_bytes(content, "keys", 2, {masks.KEY})
    return letters, mask


def _read_letters(content: RecordDict, peers: int) -> tuple[list[bytes], bytes]:
    seal = cast(ConfigRecord, content[RECORD]).get("seal")
    if not isinstance(seal, bytes) or len(seal) != 32:
        raise _UnreadableError("no seal of 32 bytes")
    return _read_bytes(content, "sealed", peers, {masks.SEALED}), seal


def _read_shares(content: RecordDict, arrived: int, lost: int) -> tuple[list[bytes], list[bytes]]:
    lengths = {0, masks.SHARE}
    return _read_bytes(content, "own", arrived, lengths), _read_bytes(content, "mask", lost, lengths)
