"""Two ways of putting features into shifts: by how their rows speak, beside all rows or beside rows as long.

Where answers are long, all that answer briefly are alike in what they do not say, whatever they do say, and a plain
comparison makes one shift of them; beside rows of as many words they come apart. Where a band of lengths holds hardly
anything but one shift, the second comparison is blind. So both are made, and a shift of either counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from fedsonar.audit.evidence import likeness, likeness_each, used_buckets
from fedsonar.audit.kernels.room import BANDS, WORDS

_AT_ONCE = 64
_PULL = 400.0
"""Rows' worth of all rows that what rows of one length say is pulled by."""


@dataclass(frozen=True)
class Spoken:
    """What the rows of some features say, and how that differs from what others say.

    Args:
        alike: How alike the rows of each feature speak, in standard deviations of a pair of any rows.
        error: Its standard error where they speak as any rows do.
        differs: What sets them apart, a row a feature, scaled so that features whose rows say the same have inner
            product one.
    """

    alike: Float[np.ndarray, "features"]
    error: Float[np.ndarray, "features"]
    differs: Float[np.ndarray, "features buckets"]


def beside_all(
    spoken: Int[np.ndarray, "features buckets"], rows: Int[np.ndarray, "features"],
    everywhere: Int[np.ndarray, "buckets"], total: int,
) -> Spoken:  # fmt: skip
    """Features' rows held against all other rows.

    They are held against the others: a part ``f`` of all rows differs from all by ``1 - f`` of what it differs from
    the others.

    Args:
        spoken: Rows by feature and bucket of words.
        rows: Rows by feature.
        everywhere: All rows by bucket.
        total: All rows.
    """
    share, others = everywhere / total, 1 - rows / total
    alike = likeness(spoken, rows, share, total) / others**2
    used = used_buckets(share, total)
    usual, spread = share[used], np.sqrt(share[used] * (1 - share[used]))
    differs = np.empty((len(rows), len(usual)), np.float32)
    for some in _few(len(rows)):
        said = spoken[some][:, used] / np.maximum(rows[some], 1)[:, None]
        differs[some] = (said - usual) / (spread * others[some, None] * _scale(alike[some], len(usual))[:, None])
    return Spoken(alike, _error(rows), differs)


def beside_as_long(
    spoken: Int[np.ndarray, "features _"], rows: Int[np.ndarray, "features"], by_band: Int[np.ndarray, "bands _"],
    total: int,
) -> Spoken:  # fmt: skip
    """Features' rows held against other rows whose responses have as many words.

    Args:
        spoken: Rows by feature and bucket of words, then by band of their number.
        rows: Rows by feature.
        by_band: All rows by band, and by the same.
        total: All rows.
    """
    share = by_band[:, :WORDS].sum(axis=0) / total
    used = np.flatnonzero(used_buckets(share, total))
    share, of_bands = share[used], by_band[:, [*used, *range(WORDS, WORDS + BANDS)]]
    alike, differs = np.empty(len(rows)), np.empty((len(rows), len(used)), np.float32)
    for some in _few(len(rows)):
        counts, own = spoken[some][:, used], spoken[some, WORDS:].astype(np.float64)
        said, usual = counts / np.maximum(rows[some], 1)[:, None], np.zeros(counts.shape)
        for band in range(BANDS):
            others = others_as_long(said, own[:, band], of_bands, band, share)
            usual += (own[:, band] / np.maximum(rows[some], 1))[:, None] * others
        np.clip(usual, 1.0 / total, 0.95, out=usual)
        alike[some] = likeness_each(counts, rows[some], usual)
        differs[some] = (said - usual) / (np.sqrt(usual * (1 - usual)) * _scale(alike[some], len(used))[:, None])
    return Spoken(alike, _error(rows), differs)


def others_as_long(
    said: Float[np.ndarray, "sets words"], own: Float[np.ndarray, "sets"], by_band: Int[np.ndarray, "bands _"],
    band: int, share: Float[np.ndarray, "words"],
) -> Float[np.ndarray, "sets words"]:  # fmt: skip
    """The share of rows of one band that say each word, those of a set left out, pulled to the share of all rows.

    Args:
        said: The share of each set's rows that say each word.
        own: Rows of each set that are of the band.
        by_band: All rows by band, and by bucket of words, then by band.
        band: The band.
        share: The share of all rows that say each word.
    """
    words = len(share)
    others = np.maximum(by_band[band, :words] - own[:, None] * said, 0.0)
    count = np.maximum(by_band[band, words + band] - own, 0.0)[:, None]
    return np.asarray((others + _PULL * share) / (count + _PULL))


def _few(count: int) -> list[slice]:
    """So many features, a few at a time: as many as stay near with all that is worked out of them."""
    return [slice(begin, begin + _AT_ONCE) for begin in range(0, count, _AT_ONCE)]


def _scale(alike: Float[np.ndarray, "features"], words: int) -> Float[np.ndarray, "features"]:
    """What makes the inner product of features whose rows say the same one."""
    return np.asarray(np.sqrt(np.maximum(alike, 1e-6) * np.sqrt(max(1, words))))


def _error(rows: Int[np.ndarray, "features"]) -> Float[np.ndarray, "features"]:
    return np.asarray(np.sqrt(2 / np.maximum(rows * (rows - 1.0), 1.0)))


def grouped(
    spoken: Spoken, leads: Bool[np.ndarray, "features"], members: Bool[np.ndarray, "features"], same: float, most: int
) -> list[Int[np.ndarray, "_"]]:
    """Features whose rows say the same: each lead, the surest first, with all that are like it and in no group yet.

    Args:
        spoken: What the rows of all features say.
        leads: Which features may begin a group; members too.
        members: Which may join one.
        same: Least inner product of what sets two features apart, for both to be of one group.
        most: Most groups; what is left then is in none.
    """
    chosen = np.flatnonzero(members)
    differs = spoken.differs[chosen]
    cosine = differs @ differs.T
    left, found = np.ones(len(chosen), bool), list[np.ndarray]()
    for lead in np.argsort(-(spoken.alike / spoken.error)[chosen], kind="stable"):
        if left[lead] and leads[chosen[lead]] and len(found) < most:
            group = left & (cosine[lead] > same)
            group[lead] = True
            left &= ~group
            found.append(chosen[group])
    return found


def without_twins(groups: Sequence[Int[np.ndarray, "_"]], others: Sequence[Int[np.ndarray, "_"]]) -> list[np.ndarray]:
    """The groups that do not stand among the others already."""
    known = {group.tobytes() for group in others}
    return [group for group in groups if group.tobytes() not in known]
