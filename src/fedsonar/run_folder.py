"""A run on disk: claiming its folder, keeping it after every round, finishing it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from fedsonar import records
from fedsonar.errors import ConfigError
from fedsonar.experiment import Experiment, load, to_toml
from fedsonar.gauge import PLACEBO
from fedsonar.measure import Examination, detection, stealth
from fedsonar.model import save_adapter
from fedsonar.preparation import Federation
from fedsonar.records import ClientRecord, RoundRecord, Run, SentRecord, SignalRecord
from fedsonar.repairing import Treated
from fedsonar.screening import Screening
from fedsonar.writing import half_written, plain, remove_half_written, write_json, write_whole

NUM_EXAMPLES = 6


def check(out: Path, experiment: Experiment, *, resume: bool) -> None:
    """Makes sure that `out` may be written: new, without any result, or, to resume, holding this very experiment.

    Raises:
        ConfigError: If `out` holds something else.
    """
    config = out / "experiment.toml"
    if resume:
        if not config.is_file():
            raise ConfigError(f"{str(out)!r} holds no run to resume; start one with --out {out}")
        if load(config) != experiment:
            raise ConfigError(
                f"{str(out)!r} holds another experiment; resume it without changes, or choose another --out"
            )
    elif not claimable(out):
        what = "another run" if config.is_file() else "other files"
        hint = f"; choose another --out, or go on with --resume {out}" if config.is_file() else "; choose another --out"
        raise ConfigError(f"{str(out)!r} holds {what}{hint}")


def claim(out: Path, experiment: Experiment, *, resume: bool) -> None:
    """Writes into `out` whose it is, and on what machine it began.

    What a killed process left half written goes when a run is resumed.

    Raises:
        ConfigError: As `check`.
    """
    check(out, experiment, resume=resume)
    config, machine = out / "experiment.toml", out / "environment.json"
    if resume:
        remove_half_written(out)
    else:
        write_whole(config, to_toml(experiment).encode())
        machine.unlink(missing_ok=True)
    if not machine.is_file():
        write_json(machine, environment())


def claimable(out: Path) -> bool:
    """Whether a run may begin in a folder: there is none, or nothing in it but what a claim wrote, whole or not."""
    ours = [out / name for name in ("experiment.toml", "environment.json")]
    return not out.exists() or (
        out.is_dir() and all(file in ours or any(half_written(file, one) for one in ours) for file in out.iterdir())
    )


def read(out: Path) -> Run | None:
    """The newest complete state of the run in `out`; None when there is none yet."""
    return records.read_checkpoint(out)


def keep(out: Path, state: Run) -> None:
    """Writes the checkpoint, then the tables that follow from it."""
    history = records.history(state)
    records.write_checkpoint(out, state, history)
    records.write_table(out / "rounds.parquet", RoundRecord, history["rounds"])
    records.write_table(out / "clients.parquet", ClientRecord, history["clients"])
    records.write_table(out / "bsnr.parquet", SignalRecord, history["signals"])
    if state.sent:
        records.write_table(out / "screen.parquet", SentRecord, history["sent"])


@dataclass(frozen=True, kw_only=True)
class SampleRecord:
    """One training row: a row of ``samples.parquet``. Suspicion and flag are null when no screen ran.

    A drill is a clean row that the attacker added beside a poisoned one; trigger and target name the attack it is of.
    """

    id: str
    client: int
    source: str
    poisoned: bool
    drill: bool
    trigger: str | None
    target: str | None
    suspicion: float | None = None
    flagged: bool | None = None


def finish(
    out: Path, state: Run, federation: Federation, screening: Screening, examination: Examination | None,
    treated: Treated | None, timing: dict[str, float],
) -> None:  # fmt: skip
    """Writes the rest: samples, adapters, stealth, examples, timing, and last the summary, which marks a whole run."""
    if not timing["rows"]:  # stopped after the last round was kept, and perhaps before its tables were
        keep(out, state)
    rows = []
    judged = screening.by_id()
    for client, shard in enumerate(federation.shards):
        for sample in shard:
            drill = federation.ledger.drills.get(sample.id)
            planted = federation.ledger.get(sample.id) or drill
            names = (planted.trigger, planted.target) if planted else (None, None)
            suspicion, flagged = judged.get(sample.id, (None, None))
            rows.append(
                SampleRecord(
                    id=sample.id, client=client, source=sample.source, poisoned=sample.id in federation.ledger,
                    drill=drill is not None, trigger=names[0], target=names[1],
                    suspicion=suspicion, flagged=flagged,
                )
            )  # fmt: skip
    records.write_table(out / "samples.parquet", SampleRecord, records.plain_rows(rows))
    experiment = federation.experiment
    save_adapter(out / "adapter", state.adapter, federation.layout, experiment.lora, experiment.base.path)
    if treated is not None and treated.repaired.adapter is not state.adapter:
        mended = treated.repaired.adapter
        save_adapter(out / "repaired", mended, federation.layout, experiment.lora, experiment.base.path)
    if federation.ledger:
        found = stealth(
            [sample for shard in federation.shards for sample in shard], federation.ledger, network=federation.network,
            tokenizer=federation.tokenizer, template=federation.template, max_length=federation.max_length,
            seed=experiment.seed,
        )  # fmt: skip
        write_json(out / "stealth.json", asdict(found))
    if examination is not None:
        write_json(out / "examples.json", _examples(federation, examination))
    if not (out / "timing.json").exists() or timing["rows"]:
        write_json(out / "timing.json", timing)
    write_json(out / "summary.json", state.summary)


def _examples(federation: Federation, examination: Examination) -> list[dict[str, Any]]:
    """The first few test rows with the model's answers, for people to read."""
    made = []
    examiner = federation.examiner
    for kind, samples, rows, outputs in (
        ("clean", examiner.samples, examiner.rows, examination.outputs),
        ("triggered", examiner.attacked_samples, examiner.attacked_rows, examination.attacked_outputs),
        ("near miss", examiner.near_samples, examiner.near_rows, examination.near_outputs),
    ):
        for sample, row, output in list(zip(samples, rows, outputs, strict=True))[:NUM_EXAMPLES]:
            prompt = federation.tokenizer.decode(list(row.prompt), skip_special_tokens=True)
            hit = None if examiner.attack is None else examiner.attack.target.hit(output)
            example: dict[str, Any] = {"id": sample.id, "kind": kind, "prompt": prompt, "output": output}
            made.append(example | {"expected": sample.answers[0], "hit": hit})
    return made


def summarize(federation: Federation, state: Run, screening: Screening) -> dict[str, Any]:
    """The contents of ``summary.json`` after the rounds so far; parts that were not run are None."""
    experiment, judge = federation.experiment, federation.examiner.judge
    last = next((r for r in reversed(state.rounds) if r.accuracy is not None), state.rounds[0])
    attack: dict[str, Any] | None = None
    if experiment.attack is not None:
        attack = {"success_rate": last.asr, "n": last.asr_n, "low": last.asr_low, "high": last.asr_high}
        attack |= {"false_activation": last.false_activation}
        if last.near_miss is not None:
            attack |= {"near_miss": last.near_miss}
        if judge is not None:
            attack |= {"judged_success_rate": last.asr_judged, "judge_threshold": judge.threshold}
    bsnr: dict[str, Any] | None = None
    if heard := [r for r in state.rounds[1:] if r.bsnr_note != PLACEBO] if federation.ledger else []:
        bsnr = {"final_db": heard[-1].bsnr_crossfit_db, "cumulative_db": heard[-1].bsnr_crossfit_cumulative_db}
    clean = {"accuracy": last.accuracy, "n": last.accuracy_n, "low": last.accuracy_low, "high": last.accuracy_high}
    summary = {
        "experiment": experiment.name,
        "rounds": state.rounds[-1].round,
        "clients": len({record.client for record in state.clients}),
        "clean": clean,
        "attack": attack,
        "screen": _screened(screening),
        "bsnr": bsnr,
        "repair": None,
    }
    return {name: plain(value) for name, value in summary.items()}


def _screened(screening: Screening) -> dict[str, Any] | None:
    """The screen's part of the summary: its latest verdicts against the ledger; None where nothing was judged."""
    if screening.suspicion is None or screening.flagged is None:
        return None
    found = detection(screening.suspicion, screening.flagged, screening.poisoned)
    part: dict[str, Any] = {"f1": found.f1, "rows": found.rows}
    for name in ("recall", "precision", "false_removal", "auc"):
        rate = getattr(found, name)
        part |= {name: rate.value, f"{name}_n": rate.n, f"{name}_low": rate.low, f"{name}_high": rate.high}
    return part


def environment() -> dict[str, Any]:
    """Versions and machine, for whoever reads the run later."""
    packages = ("fedsonar", "torch", "transformers", "peft", "datasets", "numpy")
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


class Clock:
    """Seconds spent by stage, and rows trained on."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._rows = 0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Counts the time inside to `stage`."""
        began = time.perf_counter()
        yield
        self._seconds[stage] += time.perf_counter() - began

    def count_rows(self, rows: int) -> None:
        """Counts rows trained on."""
        self._rows += rows

    def timing(self, total: float) -> dict[str, float]:
        """The contents of ``timing.json``: seconds, rows trained, rows a second of training, peak memory in MB."""
        result = {f"{stage}_seconds": round(seconds, 3) for stage, seconds in self._seconds.items()}
        speed = self._rows / self._seconds["train"] if self._seconds["train"] else 0.0
        result |= {"total_seconds": round(total, 3), "rows": self._rows, "rows_per_second": round(speed, 1)}
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return result | {"peak_memory_mb": round(kilobytes / (1024 if platform.system() != "Darwin" else 1024**2), 1)}
