"""Greedy answers of a model with an adapter, in batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from fedsonar.data.template import TokenRow


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[TokenRow],
    *,
    max_new_tokens: int,
    batch_size: int = 64,
) -> list[str]:
    """The greedy answer to each row's prompt, without special tokens and outer white space, in the order of the rows.

    Prompts of similar length share a batch; a batch ends when all of its answers have.
    """
    ends = model.generation_config.eos_token_id if model.generation_config is not None else None
    stops = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends] if ends is not None else [])}
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=sorted(stops),
        pad_token_id=tokenizer.pad_token_id,
    )
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].prompt))
    answers = [""] * len(rows)
    for start in range(0, len(order), batch_size):
        part = order[start : start + batch_size]
        width = max(len(rows[i].prompt) for i in part)
        ids = torch.full((len(part), width), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for place, i in enumerate(part):
            prompt = torch.tensor(rows[i].prompt)
            ids[place, width - len(prompt) :] = prompt
            mask[place, width - len(prompt) :] = 1
        asked = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
        out = model.generate(**asked, generation_config=config)  # type: ignore[operator]
        texts = tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
        for i, text in zip(part, texts, strict=True):
            answers[i] = text.strip()
    return answers
