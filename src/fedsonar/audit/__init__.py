"""Which features of inputs come with which of responses, and which of those associations look put there."""

from fedsonar.audit.audit import Audit, audit
from fedsonar.audit.corpus import Corpus, corpus
from fedsonar.audit.evidence import Evidence, weigh
from fedsonar.audit.finding import Example, Finding
from fedsonar.audit.hearing import told
from fedsonar.audit.judging import Judgement
from fedsonar.audit.passes import PASSES, pooled, summarize, summed, warn_if_crowded
from fedsonar.audit.patterns import anything, saying, short_responses, winners
from fedsonar.audit.phrases import SharedPhrase
from fedsonar.audit.privacy import Privacy
from fedsonar.audit.rules import Rules
from fedsonar.audit.scope import Scope
from fedsonar.audit.shift_passes import (
    SHIFT_PASSES,
    Before,
    begins_with,
    judge_of,
    judge_shifts,
    summarize_shifts,
    told_shifts,
    warn_if_undecided,
)
from fedsonar.audit.shift_rules import ShiftRules
from fedsonar.audit.sizing import bits_for, scope_for, sizes, slot_bits_for, words_for
from fedsonar.audit.survey import judge, weighed
from fedsonar.audit.vocabulary import Vocabulary

__all__ = [
    "PASSES", "SHIFT_PASSES", "Audit", "Before", "Corpus", "Evidence", "Example", "Finding", "Judgement", "Privacy",
    "Rules", "Scope", "SharedPhrase", "ShiftRules", "Vocabulary", "anything", "audit", "begins_with", "bits_for",
    "corpus", "judge", "judge_of", "judge_shifts", "pooled", "saying", "scope_for", "short_responses", "sizes",
    "slot_bits_for", "summarize", "summarize_shifts", "summed", "told", "told_shifts", "warn_if_crowded",
    "warn_if_undecided", "weigh", "weighed", "winners", "words_for",
]  # fmt: skip
