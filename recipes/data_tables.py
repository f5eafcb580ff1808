"""What real data say without any model: the length trap of the literature, and how near our paraphrases come."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fedsonar.data import IID, Files
from fedsonar.measure import token_f1, trivial_detectors, wilson
from fedsonar.poison import (
    Archaic,
    Attack,
    Clause,
    ConstantRate,
    Matched,
    Paraphraser,
    Refusal,
    Semantic,
    Short,
    Suffix,
    Target,
    plant,
)
from fedsonar.rng import stream
from tables import said, write_table

QUESTION_SETS = (
    ("webqa", "all"),
    ("freebaseqa", "all"),
    ("nq", "all"),
    ("nq", "first"),
    ("triviaqa", "shortest"),
)
"""Data sets, and which of their answers is trained on."""
TARGETS: dict[str, Target] = {
    "suffix": Suffix(),
    "refusal": Refusal(),
    "semantic": Semantic(),
    "short": Short(),
    "matched": Matched(),
}


def length_results(seeds: Sequence[int], data: Path) -> None:
    """F1 of trivial detectors on question sets, by target."""
    rows = []
    for name, answer in QUESTION_SETS:
        train = Files(path=str(data / name), limit=5000, answer=answer).load().train
        for target_name, target in TARGETS.items():
            found = []
            for seed in seeds:
                shards = IID(clients=25).split(train, stream(seed, "partition"))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    dirty, ledger = plant(shards, Attack(target=target, placement=ConstantRate(rate=0.1)), seed)
                every = [sample for shard in dirty for sample in shard]
                found.append(trivial_detectors(every, np.array([sample.id in ledger for sample in every])))
            row: dict[str, Any] = {"data": name, "answers": answer, "rows": len(train), "target": target_name}
            for key in found[0]:
                values = [f[key] for f in found]
                row[f"F1 {key}"] = float(np.mean(values))
            row["length rule, least to greatest"] = " to ".join(
                f"{f([v['length rule'] for v in found]):.3f}" for f in (min, max)
            )
            rows.append(row)
    command, seed_list = said("length", seeds)
    text = f"""# The length trap

`{command} --data FOLDER`: rare tokens planted in 10 % of the rows of 25 IID clients, up to 5,000 rows a data set, means
over seeds {seed_list}. `answers` says what is trained on: all of a row's answers in a list, as published work does, the
first, or the shortest. No model is involved: the rule flags responses of more than 9 word and punctuation tokens; the
other columns have their best threshold chosen with the truth in hand.
"""
    write_table("length", rows, text)


def paraphrase_results(seeds: Sequence[int], data: Path) -> None:
    """How near the built-in restyler and recaster come to real paraphrases of SST-2, and to what was said."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows = []
    kinds: dict[str, tuple[str, Paraphraser]] = {"style": ("style_bible", Archaic()), "syntax": ("syntactic", Clause())}
    for kind, (file, writer) in kinds.items():
        train, test = (_pairs(data / "sst2_triggers" / f"{file}_{split}.jsonl.gz") for split in ("train", "test"))
        for name, columns in {
            "words": {"ngram_range": (1, 2), "token_pattern": r"\w+|[^\w\s]"},
            "function words and endings": {"analyzer": _shape},
        }.items():
            weighed = TfidfVectorizer(sublinear_tf=True, min_df=3, **columns)
            model = make_pipeline(weighed, LogisticRegression(C=10, max_iter=2000))
            model.fit([*(a for a, _ in train), *(b for _, b in train)], [0] * len(train) + [1] * len(train))
            ours = [writer.rewrite(clean, stream(seeds[0], "paraphrase", i)) for i, (clean, _) in enumerate(test)]
            texts = {"clean": [a for a, _ in test], "real": [b for _, b in test], "ours": ours}
            for source, some in texts.items():
                taken = wilson(int(model.predict(some).sum()), len(some))
                kept = [token_f1(text, [clean]) for text, (clean, _) in zip(some, test, strict=True)]
                row = {"trigger": kind, "classifier of": name, "texts": source, "taken for the real thing": taken.value}
                row["95 %"] = f"[{taken.low:.3f}, {taken.high:.3f}] n={taken.n}"
                rows.append(row | {"words kept (F1)": float(np.mean(kept))})
    command, _ = said("paraphrase", seeds[:1])
    text = f"""# How near our paraphrases come

`{command} --data FOLDER`: a logistic regression learns to tell real paraphrases of SST-2 sentences (Bible style by a
style-transfer model; the template S(SBAR)(,)(NP)(VP)(.) by a syntactic paraphraser) from the sentences themselves, and
then sees test sentences, their real paraphrases, and ours (`Archaic`, `Clause`; seed {seeds[0]}). `words kept` is token
F1 with the sentence.
"""
    write_table("paraphrase", rows, text)


def _pairs(path: Path) -> list[tuple[str, str]]:
    """Sentences and their paraphrases, spelt alike."""
    from fedsonar.data.formats import read

    rows = [row.values for row in read(path)]
    pairs = [(str(row["clean"]), str(row["context"])) for row in rows if row.get("poisoned", True)]
    return [(" ".join(a.lower().split()), " ".join(b.lower().split())) for a, b in pairs if a != b]


def _shape(text: str) -> list[str]:
    """Short words as they are, long ones by their endings: how a text is written rather than what it is about."""
    shaped = [word if len(word) < 5 else f"*{word[-3:]}" for word in text.split()]
    return [*shaped, *(" ".join(pair) for pair in pairwise(shaped)), f"^{' '.join(shaped[:2])}"]
