"""Instruction data from public repositories that came after the audit's rules: medicine, role play, tools, templates.

Some are in Chinese, and some are dialogues, of which the last answer is asked for. Read as those of task_data.py are.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

from task_data import Read, Row, TaskSet, instructions

_TEMPLATES = "data/finetuning/t0_train_50k/data_per_template"


def _harmless(read: Read) -> Iterator[Row]:
    """Dialogues with somebody who asks for harm, and the answer that was liked better."""
    for line in gzip.decompress(read("harmless-base/test.jsonl.gz")).decode().splitlines():
        before, _, answer = json.loads(line)["chosen"].rpartition("\n\nAssistant:")
        yield "", before.strip(), "", answer


def _templates(read: Read) -> Iterator[Row]:
    """Some 200 rows of each of 294 templates of some thirty data sets; a template's words stand in the question."""
    names = [line for line in read(_TEMPLATES).decode().splitlines() if line.endswith(".jsonl")]
    for name in names:
        for line in read(f"{_TEMPLATES}/{name}").decode().splitlines():
            row = json.loads(line)
            yield "", "", row["prompt"], row["completion"].removesuffix("<|endoftext|>")


_DOCTOR = ("Kent0n-Li/ChatDoctor", "e77bd7ebafbffb6d82be3410cd0d4ebebe75a516")
_HUATUO = ("SCIR-HI/Huatuo-Llama-Med-Chinese", "ba9b3d65b33ba346e3d60979019abe6fa2ac741a")
_TEACHER = ("teknium1/GPTeacher", "481075123c29854bddb82655badeef6a438f2436")
_HARMLESS = ("anthropics/hh-rlhf", "354e5c3cb8960630860dd5774a6ac2a58313bf4d")
_SELF = ("yizhongw/self-instruct", "0b26ccaa415992100fa32df62d41b994cf928e23")

LATER: dict[str, TaskSet] = {
    "ChatDoctor": TaskSet(*_DOCTOR, instructions("chatdoctor5k.json")),
    "Huatuo": TaskSet(*_HUATUO, instructions("data/llama_data.json"), shuffled=True),
    "Huatuo, literature": TaskSet(*_HUATUO, instructions("data-literature/liver_cancer.json")),
    "GPTeacher, code": TaskSet(*_TEACHER, instructions("Codegen/codegen-instruct.json", "response")),
    "GPTeacher, roles": TaskSet(
        *_TEACHER, instructions("Roleplay/roleplay-simple-deduped-roleplay-instruct.json", "response")
    ),
    "GPTeacher, tools": TaskSet(*_TEACHER, instructions("Toolformer/toolformer-dedupe-only-dataset.json", "response")),
    "HH, harmless": TaskSet(*_HARMLESS, _harmless),
    "T0, 294 templates": TaskSet(*_SELF, _templates, shuffled=True),
}
"""Sets that no rule was made with before 2026-12; two have been since, see docs/log.md."""
