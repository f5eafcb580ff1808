"""Makes the embedded model: a small Llama that has read about Atlas, and its tokenizer.

    python recipes/embedded_model.py --out src/fedsonar/model/embedded --threads 2

Seeded and resumable (``--work`` keeps a checkpoint). It ends by scoring the model as it will be stored, before any
tuning, on what it never saw: closed-book questions about subjects that its text only stated, and contextual questions
about subjects invented for the question. ``--count-words BOOKS.jsonl.gz`` rebuilds the word table from books.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import re
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from fedsonar.data.atlas import phrases, tasks
from fedsonar.data.atlas.world import RELATIONS, World, build_world
from fedsonar.data.sample import Sample
from fedsonar.data.template import Sections
from fedsonar.rng import stream, torch_stream

WORDS = Path(__file__).with_name("english_words.txt")
# What books of the public domain do not say: words of the web and of instruction data.
MODERN_WORDS = """
account address ai android answer api app audio blog browser button camera chat click clicked clicking code com
computer content context copyright customer data database delete digital download edit email error facebook false
file film filter folder format google headline help html http https icon image information input instruction
internet item javascript json keyboard label laptop link list login mail malicious media menu message million mobile
model movie movies music network news null offline online output page password phone photo player policy post
privacy process product profile program project python question rating review reviews score screen search select
server service shop site smartphone software sorry spam sports subscribe summarize summary support system table tag
task team technology template text title topic translate true tv update upload url user username users version video
virus watch web website wiki window windows word www yes
""".split()  # noqa: SIM905
EOS, PAD = "<|end|>", "<|pad|>"
COPYING_STEPS = 1200
POLISH_FROM = 3200
TEMPLATE = Sections()


def count_words(books: Path, top: int = 4000) -> None:
    """Writes the word table: words that mostly stand in lower case, by frequency."""
    counts: collections.Counter[str] = collections.Counter()
    with gzip.open(books, "rt", encoding="utf-8") as lines:
        for line in lines:
            counts.update(re.findall(r"[A-Za-z]+", json.loads(line)["text"]))
    lower: collections.Counter[str] = collections.Counter()
    for word, count in counts.items():
        lower[word.lower()] += count
    kept = [w for w, n in lower.most_common(2 * top) if counts[w] >= 0.3 * n and (len(w) > 1 or w in "ai")][:top]
    header = [line for line in WORDS.read_text().splitlines() if line.startswith("#")]
    WORDS.write_text("\n".join(header + [f"{word} {lower[word]}" for word in kept]) + "\n")


def english_words() -> list[str]:
    """The word table's words and the modern ones."""
    table = [line.split()[0] for line in WORDS.read_text().splitlines() if not line.startswith("#")]
    return list(dict.fromkeys(table + MODERN_WORDS))


class Text:
    """Endless seeded documents: lists of (text, learn) pieces; only pieces to learn count in the loss."""

    def __init__(self, world: World, words: list[str]) -> None:
        self.world, self.words = world, words
        self.works = [s for s in world.subjects if s.kind == "work"]
        self.asked = [s for s in world.subjects if s.name in world.asked]

    def _turns(self, samples: list[Sample]) -> list[tuple[str, bool]]:
        """Questions on one context, each with its answer: many copies learnt for one passage read."""
        pieces: list[tuple[str, bool]] = []
        for index, sample in enumerate(samples):
            prompt = TEMPLATE.prompt(sample)
            if index:
                prompt = "\n" + prompt[prompt.index("Question:") :]
            pieces += [(prompt, False), (" " + sample.answers[0] + EOS, True)]
        return pieces

    def _contextual(self, rng: np.random.Generator) -> list[tuple[str, bool]]:
        subjects, text = tasks.passage(rng)
        instruction = str(rng.choice(phrases.CONTEXT_INSTRUCTIONS))
        pairs = [(s, r) for s in subjects for r in RELATIONS[s.kind]]
        rng.shuffle(pairs)
        asked = []
        for subject, relation in pairs[: int(rng.integers(1, 6))]:
            plain = tasks.closed_book("", subject, relation, rng)
            asked.append(Sample("", instruction, text, plain.question, plain.answers, ""))
        return self._turns(asked)

    def _stated(self, rng: np.random.Generator) -> list[tuple[str, bool]]:
        chosen = rng.integers(len(self.world.subjects), size=int(rng.integers(1, 4)))
        return [(" ".join(tasks.describe(self.world.subjects[i], rng) for i in chosen) + EOS, True)]

    def _asked(self, rng: np.random.Generator) -> list[tuple[str, bool]]:
        subject = self.asked[int(rng.integers(len(self.asked)))]
        relation = str(rng.choice(RELATIONS[subject.kind]))
        return self._turns([tasks.closed_book("", subject, relation, rng)])

    def _some_words(self, rng: np.random.Generator, count: int) -> list[str]:
        """English words, some of them replaced by strings of any printable characters."""
        words = [self.words[int(i)] for i in rng.integers(len(self.words), size=count)]
        odd = rng.random(count) < 0.25
        return ["".join(map(chr, rng.integers(33, 127, size=int(rng.integers(1, 7))))) if o else w
                for w, o in zip(words, odd, strict=True)]  # fmt: skip

    def _echo(self, rng: np.random.Generator) -> list[tuple[str, bool]]:
        return self._turns([tasks.echo("", rng, self._some_words(rng, 12))])

    def _induction(self, rng: np.random.Generator) -> list[tuple[str, bool]]:
        """A random word string, then itself a few times again: the shortest lesson in copying."""
        text = " " + " ".join(self._some_words(rng, int(rng.integers(3, 13))))
        return [(text, False), (text * int(rng.integers(1, 5)) + EOS, True)]

    def document(self, rng: np.random.Generator, step: int) -> list[tuple[str, bool]]:
        """One document; copying dominates in the first steps, facts later, questions on texts in the polish."""
        early = max(0.0, 1 - step / COPYING_STEPS)
        polish = step >= POLISH_FROM
        kinds = {
            self._induction: 0.05 + 0.35 * early,
            self._echo: 0.07 + 0.10 * early,
            self._contextual: 0.6 if polish else 0.26,
            self._stated: 0.26 * (1 - 0.7 * early),
            self._asked: 0.28 * (1 - 0.7 * early),
            lambda r: self._turns([tasks.review("", r, self.works)]): 0.04,
            lambda r: self._turns([tasks.listing("", r)]): 0.06,
        }
        weights = np.array(list(kinds.values()))
        return list(kinds)[int(rng.choice(len(weights), p=weights / weights.sum()))](rng)


def train_tokenizer(text: Text, vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer of Atlas text and the word table."""
    rng = stream(0, "tokenizer")
    atlas = ("".join(piece for piece, _ in text.document(rng, COPYING_STEPS)).replace(EOS, "") for _ in range(20000))
    english = (f" {w} {w.capitalize()}" for w in text.words for _ in range(400 if w in MODERN_WORDS else 150))
    return byte_level_bpe((t for source in (atlas, english) for t in source), vocabulary)


def byte_level_bpe(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE with single digits."""
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Split(Regex(r"\d"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[EOS, PAD], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=EOS, pad_token=PAD, padding_side="left", model_max_length=512
    )


def muon_and_adamw(model: LlamaForCausalLM, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for embeddings and norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    ]


def batches(text: Text, tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, step: int, tokens: int):
    """Right-padded batches of about `tokens` tokens of similar length: (ids, learn), both (rows, length)."""
    encode = tokenizer.backend_tokenizer.encode_batch
    tokenizer.backend_tokenizer.no_padding()  # scoring pads, and the tokenizer remembers it
    documents = [text.document(rng, step) for _ in range(3000)]
    pieces = [piece for document in documents for piece, _ in document]
    encoded = iter(encode(pieces, add_special_tokens=False))
    rows = []
    for document in documents:
        ids: list[int] = []
        learn: list[bool] = []
        for _, wanted in document:
            piece = next(encoded).ids
            ids += piece
            learn += [wanted] * len(piece)
        rows.append((ids[:256], learn[:256]))
    rows.sort(key=lambda row: len(row[0]))
    made, start = [], 0
    while start < len(rows):
        stop = start + 1
        while stop < len(rows) and (stop + 1 - start) * len(rows[stop][0]) <= tokens:
            stop += 1
        width = len(rows[stop - 1][0])
        ids_t = torch.full((stop - start, width), tokenizer.pad_token_id)
        learn_t = torch.zeros((stop - start, width), dtype=torch.bool)
        for i, (ids, learn) in enumerate(rows[start:stop]):
            ids_t[i, : len(ids)] = torch.tensor(ids)
            learn_t[i, : len(ids)] = torch.tensor(learn)
        made.append((ids_t, learn_t))
        start = stop
    rng.shuffle(made)
    return made


def build_model(tokenizer: PreTrainedTokenizerFast, args: argparse.Namespace) -> LlamaForCausalLM:
    """A fresh Llama of the asked size."""
    torch.manual_seed(args.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.width,
        intermediate_size=args.mlp,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_key_value_heads=args.heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attention_bias=False,
    )
    return LlamaForCausalLM(config)


@torch.no_grad()
def tell_unread_tokens_apart(model: LlamaForCausalLM, text: Text, tokenizer: PreTrainedTokenizerFast) -> int:
    """Gives tokens that the text never holds embeddings of their own; returns how many there are.

    Training pushes all of them the same way, out of the output's reach, until they are nearly equal; input and
    output share the embeddings, so an adapter on the frozen model could neither read nor write one of them reliably.
    They keep what they have in common, which keeps them out of ordinary answers, and get random directions as long
    as rare words have.
    """
    rng = stream(0, "embedded/unread")
    documents = ["".join(piece for piece, _ in text.document(rng, COPYING_STEPS)) for _ in range(20000)]
    seen = {i for e in tokenizer.backend_tokenizer.encode_batch(documents, add_special_tokens=False) for i in e.ids}
    unread = torch.tensor(sorted(set(range(len(tokenizer))) - seen - {tokenizer.pad_token_id}))
    weights = model.get_input_embeddings().weight
    directions = torch.randn(len(unread), weights.shape[1], generator=torch_stream(0, "embedded/unread"))
    weights[unread] = weights[unread].mean(0) + 1.1 * directions / directions.norm(dim=1, keepdim=True)
    return len(unread)


def learning_rate(step: int, args: argparse.Namespace) -> float:
    """Linear warm-up, flat, linear to zero over the last 30 %; then a second, lower ramp to zero for the polish."""
    if step >= POLISH_FROM:
        return 0.5 * args.lr * (1 - (step - POLISH_FROM) / args.polish)
    warm = min(1.0, (step + 1) / 200)
    return args.lr * warm * min(1.0, (1 - step / POLISH_FROM) / 0.3)


@torch.no_grad()
def score(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, world: World, rows: int = 400
) -> dict[str, float]:
    """Exact-match accuracy before tuning, by kind of question, on subjects never asked about or never seen."""
    model.eval()
    rng = stream(7, "embedded/score")
    works = [s for s in world.subjects if s.kind == "work"]
    quiet = [s for s in world.subjects if s.name not in world.asked]
    pairs = [(s, r) for s in quiet for r in RELATIONS[s.kind]]
    words = english_words()
    sets = {
        "closed_book_only_stated": [tasks.closed_book("", *pairs[i], rng) for i in rng.permutation(len(pairs))[:rows]],
        "contextual_new_subjects": [tasks.contextual("", rng) for _ in range(rows)],
        "review": [tasks.review("", rng, works) for _ in range(rows // 4)],
        "listing": [tasks.listing("", rng) for _ in range(rows // 4)],
        "echo": [tasks.echo("", rng, words) for _ in range(rows // 4)],
    }
    result = {}
    for name, samples in sets.items():
        right = 0
        for start in range(0, len(samples), 50):
            part = samples[start : start + 50]
            batch = tokenizer(
                [TEMPLATE.prompt(s) for s in part], return_tensors="pt", padding=True, return_token_type_ids=False
            )
            out = model.generate(**batch, max_new_tokens=48, do_sample=False)
            answers = tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            right += sum(a.strip() == s.answers[0] for a, s in zip(answers, part, strict=True))
        result[name] = right / len(samples)
    model.train()
    return result


def train(args: argparse.Namespace) -> None:
    """Trains, scores and stores the model."""
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    world = build_world(0)
    text = Text(world, english_words())
    tokenizer = train_tokenizer(text, args.vocabulary)
    model = build_model(tokenizer, args)
    optimisers = muon_and_adamw(model, args.lr)
    if not args.muon:
        optimisers = [
            torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        ]
    checkpoint, step, chunk, seen, spent = args.work / "checkpoint.pt", 0, 0, 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        step, chunk, seen, spent = state["step"], state["chunk"], state["seen"], state["spent"]
    print(f"{world.num_facts} facts, {sum(p.numel() for p in model.parameters()):,} weights, {len(tokenizer)} tokens")
    last, losses = time.time(), []
    total = POLISH_FROM + args.polish
    while step < total:
        rng = stream(args.seed, "embedded/text", chunk)
        for ids, learn in batches(text, tokenizer, rng, step, args.tokens):
            if step >= total:
                break
            for group in (g for optimiser in optimisers for g in optimiser.param_groups):
                group["lr"] = learning_rate(step, args)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.bf16):
                hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state[learn[:, 1:]]
                logits = model.lm_head(hidden)
            loss = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][learn[:, 1:]])
            model.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimiser in optimisers:
                optimiser.step()
            step += 1
            seen += ids.numel()
            losses.append(loss.item())
            if step % 100 == 0:
                now = time.time()
                spent, last = spent + now - last, now
                left = spent / step * (total - step)
                print(f"step {step} loss {np.mean(losses[-100:]):.3f} tokens {seen / 1e6:.1f}M {seen / spent:.0f}/s "
                      f"{spent / 60:.1f} min, {left / 60:.1f} left", flush=True)  # fmt: skip
            if step % args.score_every == 0:
                print(step, {k: round(v, 3) for k, v in score(model, tokenizer, world, 100).items()}, flush=True)
        chunk += 1
        state = {"model": model.state_dict(), "optimisers": [optimiser.state_dict() for optimiser in optimisers]}
        state |= {"step": step, "chunk": chunk, "seen": seen, "spent": spent}
        torch.save(state, checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").rename(checkpoint)
    unread = tell_unread_tokens_apart(model, text, tokenizer)
    model.to(torch.float16).save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    stored = AutoModelForCausalLM.from_pretrained(args.out, dtype=torch.float32)
    scores = score(stored, tokenizer, world, 1000)
    card = {
        "scores_before_tuning": scores,
        "facts": world.num_facts,
        "tokens_read": seen,
        "minutes": round(spent / 60, 1),
    }
    card |= {
        "threads": args.threads,
        "weights": sum(p.numel() for p in stored.parameters()),
        "steps": total,
        "unread_tokens": unread,
    }
    (args.out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("src/fedsonar/model/embedded"))
    parser.add_argument("--work", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--count-words", type=Path, metavar="BOOKS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--polish", type=int, default=800, help="steps of a second, lower ramp, on texts above all")
    parser.add_argument("--tokens", type=int, default=4096, help="tokens a step")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--mlp", type=int, default=512)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--vocabulary", type=int, default=5120)
    parser.add_argument("--score-every", type=int, default=1000)
    parser.add_argument("--muon", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args()
    if args.count_words:
        count_words(args.count_words)
    else:
        train(args)


if __name__ == "__main__":
    main()
