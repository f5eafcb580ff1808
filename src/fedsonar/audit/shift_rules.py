"""What is counted for shifts, and when one looks injected."""

from __future__ import annotations

from dataclasses import dataclass

from fedsonar.audit.scope import EVERY_WORD


@dataclass(frozen=True, kw_only=True)
class ShiftRules:
    """What all silos count, and when a shift looks injected. Set on clean data; see docs/audit_rules.md.

    Args:
        bits: Tables of features have ``2^bits`` counters.
        words: Different words that a row is held against others by; see `Scope`.
        key: Goes into every hash; see `Scope`.
        least: Fewest rows of a feature.
        most: Greatest share of all rows that have a trigger of a shift that looks injected: of two halves that differ
            nobody can know from the text which one is poison.
        signs: The same of a trigger that is only a sign: what more texts have is how they are set.
        usual: Greatest share of all rows that have any trigger of a shift and say it: what most rows do is the task's.
        widest: Greatest share of all rows that have a feature that is looked into.
        decided: From this share of all rows on that something is said of, no half is left that nobody can know of.
        features: Most features that are looked into, those of fewest rows left out first.
        standing: Most of them that stand out, the surest.
        shifts: Most shifts, the strongest.
        apart: Least likeness of what rows say, in standard deviations of a pair of any rows, and how many standard
            errors it must be above that.
        apart_as_long: The first of these beside rows as long, which have much in common,
        joins_as_long: and for what may join a shift there: its own shift is among these rows.
        same: Least cosine of what two features' rows say, for both to be of one shift.
        pure: Least share of a trigger's rows that say it, as a share of that of the shift's best trigger.
        purest: Least share of the rows of a shift's purest feature that say it, for which the bar may be lowered.
        speakers: Fewest rows that have a trigger and say it, and are not suspected for another reason.
        new: Least share of those that have a trigger and say it: a target in fixed words is left to its association.
        coverage: Least share of the rows with a trigger that say it.
        coverage_as_long: The same of shifts beside rows as long.
        two_sided: Least share of the rows that say it that have a trigger.
        elsewhere: Greatest share of the rows without a trigger that say it, where the coverage is less than `surely`:
            what answers one kind of question is said to some of other kinds too. Where more do,
        surely: and the coverage is less, the rows must ask as any rows do, within the error of so many.
        many: Fewest such rows.
        weak: A shift whose shares' product is less needs twice the speakers, and half of `likeness_many` is the limit.
        half: Least product of both, where more than `most` of all rows have a trigger or say it: what sets half of all
            rows apart may be the length of their answers.
        one_label: Greatest share of those that say it with one label of a closed set: it is said in many wordings.
        likeness: Greatest likeness of what few rows ask besides.
        likeness_many: The same of many rows; between them it falls as ``3 / rows``, as its error does, and
            where a shift is not sure as ``2 / rows``.
        sure: From this coverage on, where it is two-sided as much and at most `decided` of all rows have a trigger,
            `likeness_sure` is the limit of many rows: of more rows triggers are most of what these have in common.
        sure_as_long: The same coverage of shifts beside rows as long; the limit is then not raised for few rows.
        likeness_sure: See `sure`.
        likeness_as_long: See `sure_as_long`.
        sure_of_words: Least coverage, and least two-sidedness, where answers are made of the inputs' words, as in a
            translation: what inputs speak of, answers speak of then. `likeness_many` is the limit there,
        only_these: from this two-sidedness on a coverage of `surely` will do, with half of that limit;
        speakers_of_words: `speakers` there,
        most_of_words: and this the greatest share of all rows that have a trigger: one of a few languages is the task.
        fewest_words: Least words besides, but for those of nearly all rows, as a multiple of any row's.
        most_words: Most.
        one: From this share of all rows on, one answer is that of nearly all.
    """

    bits: int = 21
    words: int = EVERY_WORD
    key: int = 0
    least: int = 7
    most: float = 0.45
    signs: float = 0.2
    usual: float = 0.55
    widest: float = 0.8
    decided: float = 0.2
    features: int = 1 << 17
    standing: int = 4096
    shifts: int = 256
    apart: float = 0.3
    apart_as_long: float = 0.2
    joins_as_long: float = 0.08
    errors: float = 3.0
    same: float = 0.6
    pure: float = 0.92
    purest: float = 0.85
    speakers: int = 10
    new: float = 0.5
    coverage: float = 0.45
    coverage_as_long: float = 0.65
    two_sided: float = 0.5
    elsewhere: float = 0.01
    surely: float = 0.8
    many: int = 200
    weak: float = 0.6
    half: float = 0.75
    one_label: float = 0.33
    likeness: float = 0.35
    likeness_many: float = 0.06
    sure: float = 0.85
    sure_as_long: float = 0.7
    likeness_sure: float = 0.15
    likeness_as_long: float = 0.1
    sure_of_words: float = 0.9
    only_these: float = 0.98
    speakers_of_words: int = 25
    most_of_words: float = 0.2
    fewest_words: float = 0.7
    most_words: float = 1.6
    one: float = 0.98

    def __post_init__(self) -> None:
        if not 6 <= self.bits <= 28:
            raise ValueError(f"bits must be 6 to 28, got {self.bits}")
        if self.least < 2:
            raise ValueError(f"least must be 2 rows or more, got {self.least}: one row is no pattern")
