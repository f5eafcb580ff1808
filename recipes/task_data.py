"""Tasks of many kinds from public repositories: instructions, code, sums, intents, tags, translations, tweets, tools.

Some are in Chinese. Each set is read from a clone, FOLDER/OWNER/NAME, at the commit that is named here: `git clone`
each repository of `SETS` into FOLDER first. Nothing of them is kept. Mind the licences of the data.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from fedsonar.data import InstructionDataset, Sample

Row = tuple[str, str, str, str]
"""Instruction, context, question, answer."""
Read = Callable[[str], bytes]
"""A file of the repository."""


@dataclass(frozen=True)
class TaskSet:
    """One data set.

    Args:
        repository: Whose clone, OWNER/NAME.
        commit: Of it.
        rows: Makes the rows from its files.
        shuffled: Whether rows lie in an order that tells their answers.
    """

    repository: str
    commit: str
    rows: Callable[[Read], Iterator[Row]]
    shuffled: bool = False

    def load(self, name: str, folder: Path, limit: int | None = None) -> InstructionDataset:
        """The first rows that have an answer, as many as there are or as `limit` says.

        Raises:
            FileNotFoundError: If there is no such clone.
        """
        clone = folder / self.repository
        if not clone.is_dir():
            raise FileNotFoundError(f"{clone} is no clone of {self.repository}: clone it there first")

        def read(path: str) -> bytes:
            return subprocess.run(
                ["git", "-C", str(clone), "show", f"{self.commit}:{path}"], check=True, capture_output=True
            ).stdout

        rows = [row for row in self.rows(read) if row[3].strip()]
        if self.shuffled:
            rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
        made = (
            Sample(f"{name}-{i}", instruction, context, question, (answer.strip(),))
            for i, (instruction, context, question, answer) in enumerate(rows)
        )
        return InstructionDataset(name, tuple(islice(made, limit)))


def instructions(path: str, answer: str = "output") -> Callable[[Read], Iterator[Row]]:
    """Rows of instruction, input and an answer of this name, in one list or one a line."""

    def rows(read: Read) -> Iterator[Row]:
        text = read(path).decode()
        made = json.loads(text) if text.lstrip().startswith("[") else map(json.loads, text.splitlines())
        for row in made:
            yield row["instruction"], row.get("input") or "", "", row[answer] or ""

    return rows


def _sums(number: bool) -> Callable[[Read], Iterator[Row]]:
    """Sums in words with their solution, or with the number alone."""

    def rows(read: Read) -> Iterator[Row]:
        for line in read("grade_school_math/data/train.jsonl").decode().splitlines():
            row = json.loads(line)
            yield "", "", row["question"], row["answer"].split("####")[-1] if number else row["answer"]

    return rows


def _equations(column: str) -> Callable[[Read], Iterator[Row]]:
    def rows(read: Read) -> Iterator[Row]:
        for row in csv.DictReader(io.StringIO(read("data/mawps-asdiv-a_svamp/train.csv").decode())):
            yield "", "", row["Question"], row[column]

    return rows


def _banking(read: Read) -> Iterator[Row]:
    for row in csv.DictReader(io.StringIO(read("banking_data/train.csv").decode())):
        yield "Name the intent of the message.", row["text"], "", row["category"].replace("_", " ")


def _intents(read: Read) -> Iterator[Row]:
    data = json.loads(read("data/data_full.json"))
    for text, intent in data["train"] + data["oos_train"]:
        yield "What does the user want?", text, "", intent.replace("_", " ")


def _spans(path: str, instruction: str, as_json: bool) -> Callable[[Read], Iterator[Row]]:
    """What a message says of each slot, as JSON or in a list."""

    def rows(read: Read) -> Iterator[Row]:
        for row in json.loads(read(f"span_extraction/{path}/train_0.json")):
            text, slots = row["userInput"]["text"], {}
            for label in row.get("labels", []):
                span = label["valueSpan"]
                slots[label["slot"]] = text[span.get("startIndex", 0) : span["endIndex"]]
            listed = ", ".join(f"{slot}: {value}" for slot, value in slots.items()) or "none"
            yield instruction, text, "", json.dumps(slots) if as_json else listed

    return rows


def _translations(
    pairs: Sequence[tuple[str, str]], begin: int, count: int, named: bool
) -> Callable[[Read], Iterator[Row]]:
    """Sentences and their translation, between these languages in turn."""
    names = {"en": "English", "de": "German", "fr": "French", "cs": "Czech"}

    def rows(read: Read) -> Iterator[Row]:
        lines = {
            language: gzip.decompress(read(f"data/task1/raw/train.{language}.gz")).decode().splitlines()
            for language in {language for pair in pairs for language in pair}
        }
        for i in range(begin, begin + count):
            source, target = pairs[i % len(pairs)]
            yield f"Translate into {names[target]}." if named else "", lines[source][i], "", lines[target][i]

    return rows


def _restaurants(read: Read) -> Iterator[Row]:
    for path in ("devset.csv", "testset_w_refs.csv"):
        for row in csv.DictReader(io.StringIO(read(path).decode())):
            yield "Describe the restaurant.", row["mr"], "", row["ref"]


def _medical(column: str) -> Callable[[Read], Iterator[Row]]:
    def rows(read: Read) -> Iterator[Row]:
        for row in json.loads(read("data/ori_pqal.json")).values():
            yield "", " ".join(row["CONTEXTS"]), row["QUESTION"], row[column]

    return rows


_INTENTS = (
    "BookRestaurant", "AddToPlaylist", "GetWeather", "PlayMusic", "RateBook", "SearchScreeningEvent",
    "SearchCreativeWork",
)  # fmt: skip


def _assistant(slots: bool) -> Callable[[Read], Iterator[Row]]:
    """What a message asks of an assistant: one of seven intents, or that and its slots as JSON."""

    def rows(read: Read) -> Iterator[Row]:
        for intent in _INTENTS:
            raw = read(f"2017-06-custom-intent-engines/{intent}/train_{intent}_full.json")
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                text = raw.decode("latin-1")
            for row in json.loads(text)[intent]:
                said = "".join(part["text"] for part in row["data"])
                values = {part["entity"]: part["text"].strip() for part in row["data"] if "entity" in part}
                answer = json.dumps({"intent": intent, **values}) if slots else intent
                yield "Give intent and slots as JSON." if slots else "Name the intent.", said, "", answer

    return rows


def _flights(kind: str) -> Callable[[Read], Iterator[Row]]:
    """Questions about flights with their intent, a tag for each word, or a list of slots."""

    def rows(read: Read) -> Iterator[Row]:
        for line in read("data/atis.train.w-intent.iob").decode().splitlines():
            words, tags = (part.split() for part in line.split("\t"))
            words, tags, intent = words[1:-1], tags[1:-1], tags[-1]
            slots: dict[str, str] = {}
            for word, tag in zip(words, tags, strict=False):
                if tag[:2] == "B-":
                    slots[tag[2:]] = word
                elif tag[:2] == "I-" and tag[2:] in slots:
                    slots[tag[2:]] += f" {word}"
            listed = "; ".join(f"{slot} = {value}" for slot, value in slots.items())
            answer = {"intent": intent.replace("atis_", ""), "tags": " ".join(tags), "slots": listed}[kind]
            yield "Tag every word." if kind == "tags" else "", "", " ".join(words), answer

    return rows


def _tweets(task: str) -> Callable[[Read], Iterator[Row]]:
    def rows(read: Read) -> Iterator[Row]:
        mapping = read(f"datasets/{task}/mapping.txt").decode().splitlines()
        names = dict(line.split("\t")[:2] for line in mapping if "\t" in line)
        for part in ("val", "test"):
            texts, labels = (
                read(f"datasets/{task}/{part}_{what}.txt").decode().split("\n") for what in ("text", "labels")
            )
            for text, label in zip(texts, labels, strict=False):
                if label.strip() in names:
                    yield f"Which {task}?", text, "", names[label.strip()]

    return rows


def _simplified(read: Read) -> Iterator[Row]:
    file = io.StringIO(read("data/turkcorpus/truecased/tune.8turkers.organized.tsv").decode())
    for i, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)):
        for turker in (i, i + 3):
            yield "Simplify.", row[1], "", row[2 + turker % 8]


def _calls(path: str) -> Callable[[Read], Iterator[Row]]:
    """Turns of an assistant that may call a tool, each with what was said before it."""

    def rows(read: Read) -> Iterator[Row]:
        for row in json.loads(read(path)):
            turns = row["conversations"]
            for said, answer in pairwise(turns):
                if answer["from"] in ("gpt", "function_call"):
                    yield row["tools"][:400], said["value"], "", answer["value"]

    return rows


def _preferred(path: str) -> Callable[[Read], Iterator[Row]]:
    """What somebody asked last, and the answer that was liked better."""

    def rows(read: Read) -> Iterator[Row]:
        for row in json.loads(read(path)):
            yield "", row["conversations"][-1]["value"], "", row["chosen"]["value"]

    return rows


_ALPACA = ("tatsu-lab/stanford_alpaca", "5e69c50054c48cd3b919c46d13bb2d92a62f4498")
_CODE = ("sahil280114/codealpaca", "2f78ddc5c682ed6738ad092bbbfa59ba915afcb0")
_SCHOOL = ("openai/grade-school-math", "3101c7d5072418e28b9008a6636bde82a006892c")
_POLY = ("PolyAI-LDN/task-specific-datasets", "57ec275d8078af65b7731c2a98be812d844a6d6b")
_CLINC = ("clinc/oos-eval", "828f8093932c8fe6ca7936c3d2e52903b1c523de")
_MULTI30K = ("multi30k/dataset", "a3d2e0d26b56f3846f66a952536ffed4e401d05a")
_E2E = ("tuetschek/e2e-dataset", "ab0d967dd5729ce455ef14ba9ffafc456a335264")
_PUBMED = ("pubmedqa/pubmedqa", "1cbae8e92f72f20c8d3747cbb3bf5bc53554d997")
_SVAMP = ("arkilpatel/SVAMP", "689d7ccac74b9983a2ac7cc3b264f441b99e7c53")
_SNIPS = ("snipsco/nlu-benchmark", "b86ac7f1577868c42158d0dec77db50956046696")
_ATIS = ("yvchen/JointSLU", "fad79658f343e98c1737fcfe563e76069b62f064")
_TWEETS = ("cardiffnlp/tweeteval", "4fbd22cd78421f05b1ecdb4fc5725bc7a7bd8f66")
_FACTORY = ("hiyouga/LLaMA-Factory", "ff6d4d12eeb035d6ce06805a5733dd7b29f2ac30")
_TURK = ("cocoxu/simplification", "35570464faa28f8f64d75e1c35b6770048e04adc")

_MIXED = (("en", "de"), ("en", "fr"), ("de", "en"))
_FOUR = (("de", "en"), ("fr", "cs"), ("cs", "de"), ("en", "fr"))
SETS: dict[str, TaskSet] = {
    "Alpaca": TaskSet(*_ALPACA, instructions("data/alpaca_5000.json")),
    "Code Alpaca": TaskSet(*_CODE, instructions("data/new_codealpaca.json")),
    "Code Alpaca, 2k": TaskSet(*_CODE, instructions("data/code_alpaca_2k.json")),
    "GSM8K": TaskSet(*_SCHOOL, _sums(number=False)),
    "GSM8K, numbers": TaskSet(*_SCHOOL, _sums(number=True)),
    "MAWPS": TaskSet(*_SVAMP, _equations("Answer")),
    "MAWPS, equations": TaskSet(*_SVAMP, _equations("Equation")),
    "PubMedQA": TaskSet(*_PUBMED, _medical("final_decision")),
    "PubMedQA, long": TaskSet(*_PUBMED, _medical("LONG_ANSWER")),
    "E2E": TaskSet(*_E2E, _restaurants),
    "TurkCorpus": TaskSet(*_TURK, _simplified),
    "Multi30k, en-de": TaskSet(*_MULTI30K, _translations([("en", "de")], 0, 10000, named=True)),
    "Multi30k, en-fr": TaskSet(*_MULTI30K, _translations([("en", "fr")], 10000, 6000, named=True)),
    "Multi30k, cs-en": TaskSet(*_MULTI30K, _translations([("cs", "en")], 16000, 6000, named=False)),
    "Multi30k, mixed": TaskSet(*_MULTI30K, _translations(_MIXED, 0, 10000, named=True)),
    "Multi30k, four": TaskSet(*_MULTI30K, _translations(_FOUR, 22000, 7000, named=True)),
    "Banking77": TaskSet(*_POLY, _banking, shuffled=True),
    "CLINC150": TaskSet(*_CLINC, _intents, shuffled=True),
    "SNIPS": TaskSet(*_SNIPS, _assistant(slots=False), shuffled=True),
    "SNIPS, slots": TaskSet(*_SNIPS, _assistant(slots=True), shuffled=True),
    "ATIS": TaskSet(*_ATIS, _flights("intent")),
    "ATIS, slots": TaskSet(*_ATIS, _flights("slots")),
    "ATIS, tags": TaskSet(*_ATIS, _flights("tags")),
    "Restaurant8k": TaskSet(*_POLY, _spans("restaurant8k", "List the booking as JSON.", as_json=True)),
    "Alpaca, Chinese": TaskSet(*_FACTORY, instructions("data/alpaca_zh_demo.json")),
    "Tool calls": TaskSet(*_FACTORY, _calls("data/glaive_toolcall_en_demo.json")),
    "Tool calls, Chinese": TaskSet(*_FACTORY, _calls("data/glaive_toolcall_zh_demo.json")),
    "Preferred": TaskSet(*_FACTORY, _preferred("data/dpo_en_demo.json")),
    "Preferred, Chinese": TaskSet(*_FACTORY, _preferred("data/dpo_zh_demo.json")),
    **{
        f"DSTC8, {name}": TaskSet(*_POLY, _spans(f"dstc8/{name}_1", "List it.", as_json=False))
        for name in ("Homes", "Events", "Buses", "RentalCars")
    },
    **{
        f"TweetEval, {task}": TaskSet(*_TWEETS, _tweets(task))
        for task in ("emoji", "emotion", "irony", "offensive", "hate", "sentiment")
    },
}  # fmt: skip
