"""Makes a small causal language model from any text files: a base for experiments on real English data.

    python recipes/text_model.py --text FOLDER/train*.jsonl.gz books.txt --out runs/text-model --threads 2

Files are plain text (.txt, also .gz) or JSON lines with a ``text`` field (.jsonl, also .gz). Seeded and resumable
(``--work`` keeps tokens and a checkpoint). A share of the pages is read in lower case, as many
data sets are written. It ends by scoring the stored model on text it never saw, in nats a
character, and writes what it read and how long that took to ``card.json``. ``--tokens 0`` takes all of the text, and
``--passes`` reads it again. With ``--device cuda`` a hundred million tokens take minutes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from embedded_model import build_model, byte_level_bpe, muon_and_adamw
from fedsonar.model.compiled.product import multiplies_bfloat16
from fedsonar.rng import stream

CONTEXT = 256
HELD_OUT = 0.005


def documents(paths: Iterable[Path]) -> Iterator[str]:
    """The texts of all files, one by one; plain text files are one document a paragraph block of about a page."""
    for path in paths:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as file:  # type: ignore[operator]
            if ".jsonl" in path.suffixes:
                for line in file:
                    yield from pages(json.loads(line)["text"])
            else:
                yield from pages(file.read())


def pages(text: str, size: int = 4000) -> Iterator[str]:
    """A text in pieces of whole paragraphs of at least `size` characters, so that books mix with short articles."""
    piece: list[str] = []
    for paragraph in text.split("\n\n"):
        piece.append(paragraph)
        if sum(map(len, piece)) >= size:
            yield "\n\n".join(piece)
            piece = []
    if piece:
        yield "\n\n".join(piece)


def prepare(args: argparse.Namespace) -> tuple[PreTrainedTokenizerFast, np.ndarray, list[str]]:
    """The tokenizer, the tokens of the training pages in a random order, and the pages held out; kept in `work`."""
    rng = stream(args.seed, "text-model/pages")
    every = list(documents(args.text))
    order = rng.permutation(len(every))
    held = [every[i] for i in order[: max(1, round(HELD_OUT * len(every)))]]
    lower = rng.random(len(every)) < args.lower
    texts = [every[i].lower() if lower[i] else every[i] for i in order[len(held) :]]
    stored = args.work / "tokens.npy"
    if stored.exists():
        return PreTrainedTokenizerFast.from_pretrained(args.work), np.load(stored, mmap_mode="r"), held
    tokenizer = byte_level_bpe(texts[:4000], args.vocabulary)
    tokenizer.save_pretrained(args.work)
    ids: list[int] = []
    for start in range(0, len(texts), 500):
        for encoded in tokenizer.backend_tokenizer.encode_batch(texts[start : start + 500], add_special_tokens=False):
            ids += [*encoded.ids, tokenizer.eos_token_id]
        if args.tokens and len(ids) >= args.tokens:
            break
    np.save(stored.with_suffix(".new.npy"), np.array(ids[: args.tokens or None], np.uint16))
    stored.with_suffix(".new.npy").rename(stored)
    return tokenizer, np.load(stored, mmap_mode="r"), held


@torch.no_grad()
def score(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> float:
    """Nats a character on the beginnings of held-out pages."""
    model.eval()
    nats = characters = 0.0
    for text in texts[:200]:
        ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer(text[:1000])["input_ids"][: CONTEXT - 1]]])
        nats += float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        characters += len(tokenizer.decode(ids[0, 1:]))
    model.train()
    return nats / characters


def train(args: argparse.Namespace) -> None:
    """Trains, scores and stores the model."""
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    tokenizer, tokens, held = prepare(args)
    model = build_model(tokenizer, args).to(args.device)
    optimisers = muon_and_adamw(model, args.lr)
    windows = len(tokens) // CONTEXT
    steps = windows * args.passes // args.batch
    checkpoint, step, spent = args.work / "checkpoint.pt", 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=args.device, weights_only=True)
        model.load_state_dict(state["model"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        step, spent = state["step"], state["spent"]
    weights = sum(p.numel() for p in model.parameters())
    print(f"{weights:,} weights, {len(tokens):,} tokens, {steps} steps of {args.batch * CONTEXT:,}", flush=True)
    rng = stream(args.seed, "text-model/windows")
    order = np.concatenate([rng.permutation(windows) for _ in range(args.passes)])
    last, losses = time.time(), list[Tensor]()
    brief = args.device != "cpu" or multiplies_bfloat16()  # without such instructions a step takes minutes
    while step < steps:
        some = order[step * args.batch : (step + 1) * args.batch]
        ids = torch.from_numpy(np.stack([tokens[i * CONTEXT : (i + 1) * CONTEXT] for i in some]).astype(np.int64))
        ids = ids.to(args.device)
        rate = args.lr * min(1.0, (step + 1) / 100) * min(1.0, (1 - step / steps) / 0.4)
        for group in (g for optimiser in optimisers for g in optimiser.param_groups):
            group["lr"] = rate
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=brief):
            logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        step += 1
        losses.append(loss.detach())
        if step % 50 == 0 or step == steps:
            mean = torch.stack(losses[-50:]).mean().item()
            now = time.time()
            spent, last = spent + now - last, now
            left = spent / step * (steps - step)
            print(f"step {step} loss {mean:.3f} {step * args.batch * CONTEXT / spent:.0f} tokens/s "
                  f"{spent / 60:.1f} min, {left / 60:.1f} left", flush=True)  # fmt: skip
        if step % 200 == 0 or step == steps:
            state = {"model": model.state_dict(), "optimisers": [optimiser.state_dict() for optimiser in optimisers]}
            torch.save(state | {"step": step, "spent": spent}, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").rename(checkpoint)
    model.to("cpu", torch.float16).save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    stored = AutoModelForCausalLM.from_pretrained(args.out, dtype=torch.float32)
    card = {
        "nats_per_character": round(score(stored, tokenizer, held), 4), "held_out_pages": len(held),
        "tokens_read": steps * args.batch * CONTEXT, "weights": weights, "minutes": round(spent / 60, 1),
        "threads": args.threads, "device": args.device,
        "text": [f"{path.parent.name}/{path.name}" for path in args.text],
    }  # fmt: skip
    (args.out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--out", type=Path, default=Path("runs/text-model"))
    parser.add_argument("--work", type=Path, default=Path("runs/text-model-work"))
    parser.add_argument("--tokens", type=int, default=0, help="read about so many tokens; 0 for all (default)")
    parser.add_argument("--passes", type=int, default=1, help="how often it is read, in new orders (default: 1)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--lower", type=float, default=0.3, help="share of pages read in lower case (default: 0.3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=24, help="windows of 256 tokens a step")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--mlp", type=int, default=704)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--vocabulary", type=int, default=8192)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
