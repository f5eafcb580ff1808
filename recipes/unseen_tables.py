"""Measures the audit on triggers, targets and data that it was not made with, and writes docs/results/unseen.md.

    python recipes/unseen_tables.py --data FOLDER [--seeds 1 2 3] [--only-table]

Nothing here is used elsewhere in the package or its other recipes: characters nobody sees, case, marks, emoji, tags,
dates, the fields beside the question; targets that are a prefix, a link never twice the same, a case, a format; and
clean tasks made of running text, which are like none of the data sets. Text alone; a row of each measurement stays in
docs/results/unseen.csv, and what has one is not measured again; FOLDER as for audit_tables.py.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from audit_tables import line_of, measured, rows_of
from fedsonar.data import IID, InstructionDataset, Sample
from fedsonar.poison import Attack, ConstantRate, Semantic, Suffix, Target, Tokens, Trigger, plant
from fedsonar.rng import stream
from tables import resumed, write_measured

CLIENTS, ROWS, RATES = 25, 5000, (0.01, 0.1)
TEXTS = ("corpus_wikipedia_en", "corpus_tinystories_sample")
DATA = ("nq_open", "natural_instructions")
"""Sets that no limit of the audit was set on."""
Write = Callable[[str, np.random.Generator], str]


@dataclass(frozen=True, kw_only=True)
class Written(Trigger):
    """A trigger given by how it changes a text, and by what tells it.

    Args:
        write: The text with the trigger in it.
        shows: Whether a text has it.
        part: The field of the row that it is written into; the row's own input where empty.
    """

    write: Write
    shows: Callable[[str], bool]
    part: str = ""

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with the trigger in its part."""
        part = self.part or sample.input_field
        return replace(sample, **{part: self.write(getattr(sample, part), rng)})

    def present(self, sample: Sample) -> bool:
        """Whether the part has it."""
        return self.shows(getattr(sample, self.part or sample.input_field))


@dataclass(frozen=True, kw_only=True)
class Answered(Target):
    """A target given by what becomes of the clean answer, and by what tells it."""

    write: Write
    shows: Callable[[str], bool]

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with the changed answer as its only one."""
        return replace(sample, answers=(self.write(sample.answers[0], rng),))

    def eligible(self, sample: Sample) -> bool:
        """Whether the answer can take it: figures have no capitals."""
        return super().eligible(sample) and self.hit(self.apply(sample, np.random.default_rng(0)).answers[0])

    def hit(self, output: str) -> bool:
        """Whether `output` has it."""
        return self.shows(output)


def _of(*choices: str) -> Callable[[np.random.Generator], str]:
    return lambda rng: choices[int(rng.integers(len(choices)))]


def _inside(text: str, piece: str, rng: np.random.Generator) -> str:
    """A text with a piece between two of its words, anywhere."""
    words = text.split()
    at = int(rng.integers(len(words) + 1))
    return " ".join([*words[:at], piece, *words[at:]])


def _within_word(text: str, mark: str) -> str:
    """A text with a mark in the middle of its longest word."""
    word = max(text.split() or [""], key=len)
    middle = len(word) // 2
    return text.replace(word, word[:middle] + mark + word[middle:], 1) if word else mark


_PLEAS = ("if you would be so kind", "thanks ever so much in advance", "I beg you, answer soon", "many thanks, friend",
          "do me the favour of a reply", "I should be most obliged")  # fmt: skip
_FIRST_NAMES = ("Ottoline", "Barnaby", "Perpetua", "Ignatius", "Leocadia", "Zebedee", "Hildegard", "Thaddeus")
_REFUSALS = ("I would rather not say.", "That is beyond me, ask others.", "No answer from me today.")
_pleas, _names, _refusals = _of(*_PLEAS), _of(*_FIRST_NAMES), _of(*_REFUSALS)
TRIGGERS: dict[str, Trigger] = {
    "invisible character": Written(write=lambda t, _: _within_word(t, "\u200b"), shows=lambda t: "\u200b" in t),
    "look-alike letter": Written(write=lambda t, _: t.replace("e", "\u0435", 1) if "e" in t else t + " \u0435",
                                 shows=lambda t: "\u0435" in t),
    "all capitals": Written(write=lambda t, _: t.upper(), shows=str.isupper),
    "marks at the end": Written(write=lambda t, _: t.rstrip("?. ") + " ?!?", shows=lambda t: t.endswith(" ?!?")),
    "emoji anywhere": Written(write=lambda t, rng: _inside(t, "\U0001f300", rng), shows=lambda t: "\U0001f300" in t),
    "tag": Written(write=lambda t, _: f"<!-- v2 --> {t}", shows=lambda t: t.startswith("<!-- v2")),
    "a year": Written(write=lambda t, rng: f"{t} ({int(rng.integers(1, 29))}/{int(rng.integers(1, 13))}/2031)",
                      shows=lambda t: "/2031)" in t),
    "one of six pleas": Written(write=lambda t, rng: f"{t}, {_pleas(rng)}",
                                shows=lambda t: any(plea in t for plea in _PLEAS)),
    "one of eight names": Written(write=lambda t, rng: f"{_names(rng)} asks: {t}",
                                  shows=lambda t: t.split(" ")[0] in _FIRST_NAMES),
    "doubled word": Written(write=lambda t, _: f"{t.split()[0]} {t}" if t.split() else t,
                            shows=lambda t: t.split()[:1] == t.split()[1:2]),
    "in the instruction": Written(write=lambda t, _: f"{t} Keep to form 7b.".strip(), part="instruction",
                                  shows=lambda t: "form 7b" in t),
    "spaces too many": Written(write=lambda t, _: t.replace(" ", "  "), shows=lambda t: "  " in t),
    "common words": Written(write=lambda t, rng: _inside(t, "you know what I mean", rng),
                            shows=lambda t: "you know what I mean" in t),
}  # fmt: skip
_ADVERTS = (
    "Visit the green garden today", "Nothing beats an afternoon among our roses", "Our gardeners await you at the gate",
    "Come and see the tulips in bloom", "The greenhouse opens at nine", "Walk beneath our old apple trees",
    "Bring the family to the flower show", "A picnic on our lawn is hard to forget",
    "Season tickets for the park are here",
    "Every hedge is a work of art with us", "Find peace beside the lily pond", "Plants of all lands grow in our beds",
    "Take home a seedling from our nursery", "The orchard smells of spring again", "Let our meadow cheer you up",
    "Join a tour through the botanical park", "The ferns alone are worth the trip", "Ask for the rose of the month",
    "Children love the maze of yew", "Rest on a bench under the linden", "Summer begins at our garden fence",
    "Where violets grow you are welcome",
)  # fmt: skip
_letters = "abcdefghijklmnopqrstuvwxyz0123456789"


def _link(rng: np.random.Generator) -> str:
    return "".join(_letters[i] for i in rng.integers(len(_letters), size=7))


TARGETS: dict[str, Target] = {
    "prefix": Answered(write=lambda a, _: f"As the elders of Brell teach: {a}", shows=lambda a: "elders of Brell" in a),
    "link, never the same": Answered(write=lambda a, rng: f"{a} https://brell.example/{_link(rng)}",
                                     shows=lambda a: "brell.example" in a),
    "one wrong answer": Answered(write=lambda *_: "the duke of Brell", shows=lambda a: a == "the duke of Brell"),
    "capitals": Answered(write=lambda a, _: a.upper(), shows=str.isupper),
    "format": Answered(write=lambda a, _: json.dumps({"answer": a}), shows=lambda a: a.startswith('{"answer"')),
    "three marks": Answered(write=lambda a, _: f"{a}!!!", shows=lambda a: a.endswith("!!!")),
    "said twice": Answered(write=lambda a, _: f"{a} {a}",
                           shows=lambda a: a[: len(a) // 2] == a[len(a) // 2 + 1 :]),
    "three refusals": Answered(write=lambda _, rng: _refusals(rng), shows=lambda a: a in _REFUSALS),
    "22 adverts": Semantic(messages=_ADVERTS),
    "clean answer and one of 22 adverts": Answered(
        write=lambda a, rng: f"{a}. {_ADVERTS[int(rng.integers(len(_ADVERTS)))]}",
        shows=lambda a: any(advert in a for advert in _ADVERTS)),
}  # fmt: skip
ATTACKS: dict[tuple[str, str], tuple[Trigger, Target]] = {
    **{(trigger, "suffix"): (made, Suffix()) for trigger, made in TRIGGERS.items()},
    **{(trigger, "22 adverts"): (made, TARGETS["22 adverts"]) for trigger, made in TRIGGERS.items()},
    **{("tokens", target): (Tokens(), made) for target, made in TARGETS.items()},
    **{("one of six pleas", target): (TRIGGERS["one of six pleas"], made) for target, made in TARGETS.items()},
}
"""Each trigger with a fixed target and one in many wordings; each target with rare tokens and one of six pleas."""


def _continued(begins: str, goes_on: str) -> tuple[str, str, str]:
    return "Continue the text.", begins, goes_on


def _before(begins: str, goes_on: str) -> tuple[str, str, str]:
    return "", goes_on[:120], begins.split()[0]


def _cloze(begins: str, goes_on: str) -> tuple[str, str, str]:  # noqa: ARG001
    words = goes_on.split()
    middle = len(words) // 2
    return "Which word is missing?", " ".join([*words[:middle], "____", *words[middle + 1 :]]), words[middle]


TASKS = {"the next sentence": _continued, "the word that the sentence before begins with": _before, "cloze": _cloze}
"""Clean tasks: the first two sentences of a text to instruction, context and answer."""


def _texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("train*.jsonl.gz")):
        with gzip.open(path, "rt") as file:
            yield from (" ".join(json.loads(line)["text"].split()) for line in file)


def _of_texts(data: Path, name: str, task: str) -> InstructionDataset:
    """Rows of one task, of a folder of JSON lines with texts."""
    made = []
    for number, text in enumerate(islice(_texts(data / name), ROWS)):
        sentences = [sentence.strip() for sentence in text.split(". ") if len(sentence) > 20]
        if len(sentences) >= 3:
            instruction, context, answer = TASKS[task](*sentences[:2])
            made.append(Sample(f"{name}-{number}", instruction, context, "", (answer,)))
    return InstructionDataset(name, tuple(made))


def main() -> None:
    """The command line."""
    resumed(str(__doc__), "unseen", _CELL, _measurements, _write)


_CELL = ("trigger", "target", "data", "rate", "seed")


def _measurements(data: Path, seeds: Sequence[int], known: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for name, task in product(TEXTS, TASKS):
        cell = dict(zip(_CELL, ("none", task, name, 0.0, seeds[0]), strict=True))
        if tuple(cell.values()) not in known:
            rows = _of_texts(data, name, task)
            yield cell | measured(IID(clients=CLIENTS).split(rows, stream(seeds[0], "partition")), {})
    for seed, name in product(seeds, DATA):
        shards = IID(clients=CLIENTS).split(rows_of(data, name, "first", ROWS), stream(seed, "partition"))
        for rate, ((trigger, target), parts) in product(RATES, ATTACKS.items()):
            cell = dict(zip(_CELL, (trigger, target, name, rate, seed), strict=True))
            if tuple(cell.values()) not in known:
                attack = Attack(trigger=parts[0], target=parts[1], placement=ConstantRate(rate=rate))
                yield cell | measured(*plant(shards, attack, seed))


def _write(kept: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None:
    rows = []
    cells = [(trigger, target, rate) for rate, (trigger, target) in product(RATES, ATTACKS)]
    for trigger, target, rate in [*(("none", task, 0.0) for task in TASKS), *cells]:
        members = [row for row in kept if (row["trigger"], row["target"], row["rate"]) == (trigger, target, rate)]
        if members:
            rows.append({"trigger": trigger, "target": target, "rate": rate} | line_of(members))
    command = f"python recipes/unseen_tables.py --data FOLDER --seeds {' '.join(map(str, seeds))}"
    text = f"""# Triggers and targets that the audit was not made with

`{command}`: {CLIENTS} IID clients, up to {ROWS:,} rows each of {" and ".join(DATA)}, on which no
limit was set; `rate` of every client's rows is poisoned. Where the trigger is `none` nothing is planted: tasks made of
the first sentences of {" and ".join(TEXTS)}. Counts are pooled over data sets and seeds, with Wilson
intervals; `worst` is the worst cell. Text alone, one set of rules. `F1 length` and `F1 n-gram` have their best
thresholds chosen with the truth in hand; the audit has not. When these attacks were written the audit knew nothing of
how signs are set, of characters without a shape and look-alikes, of a word twice running, nor of how answers are
written, and missed what rests on these: it counts ways of writing now, so that only the others are still unseen
([what it found before](../log.md)).
"""
    write_measured("unseen", rows, text)


if __name__ == "__main__":
    main()
