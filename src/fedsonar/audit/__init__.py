"""Which features of inputs come with which of responses, and which of those associations look put there."""

from fedsonar.audit.audit import Audit, audit
from fedsonar.audit.corpus import Corpus, corpus
from fedsonar.audit.evidence import Evidence, Rules, weigh
from fedsonar.audit.findings import Example, Finding
from fedsonar.audit.judging import Judgement, judge
from fedsonar.audit.passes import PASSES, Scope, scope_for, summarize, summed

__all__ = [
    "PASSES", "Audit", "Corpus", "Evidence", "Example", "Finding", "Judgement", "Rules", "Scope", "audit", "corpus",
    "judge", "scope_for", "summarize", "summed", "weigh",
]  # fmt: skip
