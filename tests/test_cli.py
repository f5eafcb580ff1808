"""The commands as a user types them, in a process of their own where that matters."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedsonar.cli import main

SMALL = """
name = "small"
rounds = 2
partition = { class_path = "fedsonar.data.IID", init_args = { clients = 6 } }
evaluation = { rows = 10 }
training = { lr = 3e-3 }
[data]
class_path = "fedsonar.data.Atlas"
init_args = { train = 48, test = 20 }
[attack.target]
class_path = "fedsonar.poison.Short"
"""
RATE = ("--set", "attack.placement.class_path=ConstantRate")
FILES = ("--set", "data.class_path=fedsonar.data.Files")
COMMAND = [sys.executable, "-m", "fedsonar"]


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def fedsonar(*arguments, **options):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)


def test_run_prints_a_table_writes_a_report_and_exits_0(experiment, tmp_path):
    done = fedsonar("run", experiment, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "small" in done.stdout
    assert (tmp_path / "out" / "report.html").is_file()
    assert (tmp_path / "out" / "summary.json").is_file()
    assert "Traceback" not in done.stderr


def test_run_json_prints_the_summary_and_nothing_else(experiment, tmp_path):
    done = fedsonar("run", experiment, "--out", tmp_path / "out", "--json", "--set", "rounds=1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert json.loads(done.stdout)["rounds"] == 1


def test_run_screens_by_a_name_of_the_list(experiment, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", str(experiment), "--out", str(out), "--screen", "sonar", "--set", "rounds=1", "--set",
                 "screen.association.bits=18", "--json"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)["screen"] is not None
    assert "fedsonar.screen.Sonar" in (out / "experiment.toml").read_text()
    assert "bits = 18" in (out / "experiment.toml").read_text()


def test_a_killed_run_goes_on_with_resume(experiment, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*COMMAND, "run", str(experiment), "--out", str(out), "--set", "rounds=200"],
        stderr=subprocess.PIPE, text=True,
        # Where tests run in the background, interrupts may be ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while not (out / "checkpoint" / "state.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped; complete rounds are kept" in errors
    assert "Traceback" not in errors
    text = (out / "experiment.toml").read_text()
    (out / "experiment.toml").write_text(text.replace("rounds = 200", "rounds = 4"))
    shutil.copytree(out, tmp_path / "copy")
    first = fedsonar("run", "--resume", out, "--json")
    assert first.returncode in (0, 1)
    # Wherever the signal fell, a second run from the same checkpoint gives the same bytes.
    second = fedsonar("run", "--resume", tmp_path / "copy", "--json")
    assert first.stdout == second.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["run"], 2, "name either an experiment"),
        (["run", "nowhere.toml"], 2, "cannot read 'nowhere.toml'"),
        (["run", "{toml}", "--set", "rounds=none"], 2, "rounds"),
        (["run", "{toml}", *RATE, "--set", "attack.placement.rate=7"], 2, "[0, 1]"),
        (["run", "{toml}", "--set", "base.path=./nowhere"], 2, "no checkpoint folder './nowhere'"),
        (["run", "{toml}", "--set", "lora.target_modules=['query']"], 2, "choose among"),
        (["run", "{toml}", "--set", "partition.clients=500"], 2, "500"),
        (["run", "{toml}", "--set", "clients_per_round=99"], 2, "clients_per_round 99 is more than the 6 clients"),
        (["run", "{toml}", "--set", "aggregator.class_path=Krum", "--set", "aggregator.f=5"], 2, "or lower f to 1"),
        (["run", "{toml}", *FILES, "--set", "data.path=nowhere.jsonl"], 1, "nowhere.jsonl"),
        (["audit", "{rows}", "--split-by", "client"], 2, "--split-by needs one in every row"),
        (["audit", "nowhere.jsonl"], 1, "no file nowhere.jsonl"),
        (["screen", "{rows}", "--screen", "Cube", "--model", "./nowhere"], 2, "set --model to 'embedded', a folder"),
        (["screen", "{rows}", "--screen", "Association", "--set", "privacy.epsilon=8", "--set", "privacy.clients=25"],
         2, "set privacy.clients to 1 or fewer"),
        (["run", "--resume", "{folder}"], 2, "experiment.toml"),
        (["run", "--resume", "{folder}", "--screen", "sonar"], 2, "leave out --set, --screen and --out"),
        (["run", "{toml}", "--screen", "sonr"], 2, "no screen 'sonr'; there are ActivationClustering"),
        (["run", "{toml}", "--threads", "0"], 2, "--threads must be at least 1"),
        (["report", "{folder}"], 1, "summary.json"),
        (["run", "{toml}", "--set", "base.device=cuda"], 2, "base.device is 'cuda', and PyTorch finds no such device"),
        (["audit", "nowhere.jsonl", "--out", "{toml}"], 1, "small.toml' is a file where a folder is needed; choose"),
        (["features", "{rows}", "--least", "-1"], 2, "shares must be 0 <= least <= most <= 1, got -1 and 0.5"),
        (["features", "{rows}", "--rate", "2"], 2, "--rate must be a share of rows, 0 to 1, got 2"),
        (["probe", "{folder}"], 1, "holds no readable PEFT adapter: there is no adapter_config.json; give the folder"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(arguments, status, message, experiment, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "rows.jsonl").write_text('{"question": "who?", "answers": ["x"]}\n')
    filled = [a.format(toml=experiment, folder=tmp_path, rows=tmp_path / "rows.jsonl") for a in arguments]
    assert (
        main([*filled, *(["--out", "out"] if arguments[0] == "run" and "--resume" not in arguments else [])]) == status
    )
    captured = capsys.readouterr()
    [line] = [line for line in captured.err.splitlines() if line.startswith("fedsonar:")]
    assert message in line
    assert captured.out == ""
    assert not (tmp_path / "out").exists()  # what cannot begin leaves no folder


def test_off_a_terminal_a_run_says_now_and_then_where_it_is(experiment, tmp_path, capsys, monkeypatch):
    for every, json_alone, heard in ((0.0, [], [1, 2]), (1000.0, [], [2]), (0.0, ["--json"], [])):
        monkeypatch.setattr("fedsonar.progress.EVERY", every)
        out = tmp_path / f"{every}{len(json_alone)}"
        assert main(["run", str(experiment), "--out", str(out), *json_alone]) == 0
        lines = capsys.readouterr().err.splitlines()
        start = ["small: reads its rows and its model", "small: is examined before tuning"]
        assert lines[:2] == ([] if json_alone else start)
        assert [int(line.split("round ")[1].split(" of 2, accuracy")[0]) for line in lines[2:]] == heard


def test_wrong_usage_exits_2_and_help_exits_0(capsys):
    for arguments, status in ((["nonsense"], 2), ([], 2), (["--help"], 0), (["run", "--help"], 0)):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == status
    assert "fedsonar run recipes/atlas/poisoned.toml" in capsys.readouterr().out


def test_wrong_usage_is_one_line(capsys):
    for arguments, said in (
        (
            ["audit", "x", "--top", "x"],
            "fedsonar audit: argument --top: invalid int value: 'x'; see fedsonar audit --help",
        ),
        (["run", "x", "--engine", "flowr"], "fedsonar run: argument --engine: invalid choice: 'flowr'"),
        (["nonsense"], "fedsonar: argument COMMAND: invalid choice: 'nonsense'"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(said)
        assert line.endswith(" --help")


def test_the_first_use_says_on_a_terminal_that_it_compiles(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fedsonar.compiling.compiled_before", lambda package: False)
    for terminal, notes in ((True, 1), (False, 0)):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal, raising=False)
        assert main(["audit", str(tmp_path / "nowhere.jsonl")]) == 1
        assert capsys.readouterr().err.count("note: compiling kernels for this processor") == notes


def test_a_stopped_run_names_the_folder_to_go_on_with(experiment, tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fedsonar.run", stop)
    assert main(["run", str(experiment), "--out", str(tmp_path / "my run")]) == 1
    left = f"fedsonar: stopped; complete rounds are kept, go on with --resume '{tmp_path}/my run'"
    assert capsys.readouterr().err.splitlines()[-1] == left


def test_a_second_run_into_the_same_folder_is_refused(experiment, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "experiment.toml").write_text("rounds = 1")
    (tmp_path / "out" / "checkpoint").mkdir()
    assert main(["run", str(experiment), "--out", str(tmp_path / "out")]) == 2
    assert "go on with --resume" in capsys.readouterr().err


def test_list_shows_every_family_with_papers(capsys):
    assert main(["list", "--json"]) == 0
    listed = {c["class_path"]: c for c in json.loads(capsys.readouterr().out)}
    for name in (
        "fedsonar.aggregate.Krum", "fedsonar.data.Atlas", "fedsonar.data.Hub", "fedsonar.data.Dirichlet",
        "fedsonar.poison.Tokens", "fedsonar.poison.Suffix", "fedsonar.poison.ConstantRate", "fedsonar.data.Chat",
        "fedsonar.data.Words", "fedsonar.poison.Archaic", "fedsonar.poison.Natural", "fedsonar.poison.PerSource",
    ):  # fmt: skip
        assert name in listed
    assert "1703.02757" in listed["fedsonar.aggregate.Krum"]["reference"]
    assert listed["fedsonar.poison.Tokens"]["parameters"]["count"] == 4
    above, krum = listed["fedsonar.screen.Above"], listed["fedsonar.aggregate.Krum"]
    assert (above["required"], krum["required"]) == (["value"], [])
    assert main(["list"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    place = lines.index("fedsonar.screen.Above  Flags what is more suspect than a fixed value.")
    assert lines[place + 1] == "value (required)"
    assert "f=None" in lines
    assert any(len(line) > 80 for line in lines)  # off a terminal none is broken


def test_features_are_listed_by_distance_from_a_rate(capsys):
    assert main(["features", "atlas", "--rate", "0.06", "--top", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 5
    distances = [abs(candidate["share"] - 0.06) for candidate in found]
    assert distances == sorted(distances)
    assert all(candidate["feature"]["class_path"].startswith("fedsonar.data.") for candidate in found)


def test_features_of_a_file_in_words_and_as_toml(tmp_path, capsys):
    path = tmp_path / "train.jsonl"
    rows = [
        {"question": f"who {'[b]' if i % 4 else 'sang'} {i}?", "answers": ["x"], "site": "ab"[i % 2]} for i in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["features", str(tmp_path), "--source-field", "site", "--least", "0.2", "--most", "0.3"]) == 0
    out = capsys.readouterr().out
    assert "says “who sang”" in out
    assert 'class_path = "fedsonar.data.' in out
    assert main(["features", str(path), "--least", "0.2", "--top", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["features", str(path), "--least", "0.2"]) == 0
    assert "40 rows" in capsys.readouterr().out
    assert main(["features", str(tmp_path), "--least", "0.5", "--most", "0.4"]) == 2
    assert "shares must be 0 <= least <= most <= 1, got 0.5 and 0.4" in capsys.readouterr().err
    assert main(["features", str(tmp_path), "--top", "-1"]) == 2


def test_a_plugin_beside_the_experiment_is_found(experiment, tmp_path):
    (tmp_path / "my_rule_beside.py").write_text(
        "from dataclasses import dataclass\nfrom fedsonar.aggregate import Aggregator\n"
        "@dataclass(frozen=True, kw_only=True)\nclass First(Aggregator):\n"
        "    def aggregate(self, updates, context):\n        return updates[0]\n"
    )
    text = SMALL.replace("rounds = 2", 'rounds = 1\naggregator.class_path = "my_rule_beside.First"')
    experiment.write_text(text)
    done = fedsonar("run", experiment, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert "my_rule_beside.First" in (tmp_path / "out" / "experiment.toml").read_text()


def test_files_and_a_real_checkpoint_from_the_shared_folder(shared, tmp_path):
    if shared is None:
        pytest.skip("no shared data beside this checkout")
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = shared / "models" / "stories260k-llama"
    recipes = Path(__file__).resolve().parent.parent / "recipes" / "data"
    for name in ("freebaseqa", "sst2"):
        out = tmp_path / name
        done = fedsonar(
            "run", recipes / f"{name}.toml", "--out", out, "--json",
            "--set", f"data.path={shared / 'data' / name}", "--set", f"base.path={model}",
            "--set", "data.limit=200", "--set", "rounds=2", "--set", "evaluation.rows=20",
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rounds"] == 2
        adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), out / "adapter")
        assert sum(p.abs().sum() for n, p in adapted.named_parameters() if "lora_B" in n) > 0
