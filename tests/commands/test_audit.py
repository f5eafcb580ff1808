"""``fedsonar audit``: what it finds in files, what it writes, its exit status, and what it says to bad input."""

import json
import re
import subprocess
import sys

import pytest

from fedsonar.cli import main
from fedsonar.data import IID, Atlas
from fedsonar.poison import Attack, ConstantRate, Semantic, Sentence, Short, plant
from fedsonar.rng import stream
from made_tasks import text, translated


def written(folder, shards):
    paths = []
    for number, shard in enumerate(shards):
        paths.append(folder / f"silo{number}.jsonl")
        rows = [
            {"id": s.id, "instruction": s.instruction, "context": s.context, "question": s.question or "<b>[red]?</b>",
             "answers": list(s.answers), "owner": f"owner{number}"}
            for s in shard
        ]  # fmt: skip
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return paths


@pytest.fixture(scope="module")
def clean():
    return IID(clients=3).split(Atlas(train=900, test=10).load().train, stream(1, "p"))


@pytest.fixture(scope="module")
def dirty(clean, tmp_path_factory):
    """Three silos with three poisoned rows each: too few to show in any of them."""
    shards, ledger = plant(clean, Attack(target=Short(), placement=ConstantRate(rate=0.01)), 1)
    assert len(ledger) == 9
    return written(tmp_path_factory.mktemp("dirty"), shards), set(ledger)


def audit(capsys, *arguments):
    status = main(["audit", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_what_no_silo_shows_the_pool_does(dirty, tmp_path, capsys):
    paths, poisoned = dirty
    for path in paths:
        status, out, _ = audit(capsys, path, "--json", "--fail-on-findings")
        assert status == 0
        assert json.loads(out)["flagged"] == 0
    status, out, _ = audit(capsys, *paths, "--json", "--fail-on-findings", "--out", tmp_path)
    result = json.loads(out)
    assert status == 3
    assert result["injected"] >= 1
    assert result["findings"][0]["target"] == "Mercury"
    assert "Mercury" in result["findings"][0]["text"]
    suspects, kept = (
        [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("suspects", "kept")
    )
    assert {row["id"] for row in suspects} == poisoned
    given = [row for path in paths for row in map(json.loads, path.read_text().splitlines())]
    assert kept == [row for row in given if row["id"] not in poisoned]
    for row in suspects:
        [number] = [number for number, path in enumerate(paths) if row["silo"] == str(path)]
        line = int(row["place"].removeprefix(f"silo{number}.jsonl:").split()[0])
        own = json.loads(paths[number].read_text().splitlines()[line - 1])
        assert row == own | {column: row[column] for column in ("silo", "place", "suspicion")}
    assert len(suspects) + len(kept) == 900 == result["rows"]
    assert json.loads((tmp_path / "findings.json").read_text())["flagged"] == 9
    page = (tmp_path / "report.html").read_text()
    assert "Mercury" in page
    assert "<b>[red]" not in page


def test_terminal_says_it_in_words(dirty, capsys):
    paths, _ = dirty
    _, out, _ = audit(capsys, *paths, "--top", 1)
    words = " ".join(out.split())
    assert "9 of 900 rows are suspected" in words
    assert "injected-looking" in words
    assert "rows in 3 of 3 silos" in words
    assert "without these 9 rows the target stays in" in words
    assert re.search(r"silo[012]\.jsonl:\d+ \(train-\d+\): ", words)


def test_clean_rows_stay(clean, tmp_path, capsys):
    status, out, _ = audit(capsys, *written(tmp_path, clean), "--fail-on-findings", "--json")
    assert status == 0
    assert json.loads(out)["flagged"] == 0


def test_one_file_in_silos_by_a_column(dirty, tmp_path, capsys):
    paths, _ = dirty
    (tmp_path / "all.jsonl").write_text("".join(path.read_text() for path in paths))
    _, out, _ = audit(capsys, tmp_path / "all.jsonl", "--split-by", "owner", "--json")
    result = json.loads(out)
    assert [silo["name"] for silo in result["silos"]] == ["owner0", "owner1", "owner2"]
    assert result["flagged"] == 9
    _, out, _ = audit(capsys, tmp_path / "all.jsonl", "--split-by", "owner", "--out", tmp_path / "out")
    words = " ".join(out.split())
    assert "without these 9 rows the target stays in" in words
    assert re.search(r"owner[012], all\.jsonl:\d+ \(train-\d+\): ", words)
    suspects = map(json.loads, (tmp_path / "out" / "suspects.jsonl").read_text().splitlines())
    assert all(row["silo"] == row["owner"] for row in suspects)


def test_what_is_read_is_not_overwritten_and_nothing_is_read_twice(dirty, tmp_path, capsys):
    paths, _ = dirty
    (tmp_path / "kept.jsonl").write_bytes(paths[0].read_bytes())
    status, _, err = audit(capsys, tmp_path / "kept.jsonl", "--out", tmp_path)
    assert (status, len(err.strip().splitlines())) == (2, 1)
    assert f"--out {tmp_path} would overwrite {tmp_path / 'kept.jsonl'}, which is read; name another" in err
    assert (tmp_path / "kept.jsonl").read_bytes() == paths[0].read_bytes()
    status, _, err = audit(capsys, *paths, paths[1])
    assert (status, len(err.strip().splitlines())) == (2, 1)
    assert f"{paths[1]} is given twice; name each silo once" in err


@pytest.mark.filterwarnings("always:.*rows dropped")
def test_csv_with_one_empty_answer(dirty, tmp_path, capsys):
    lines = ["prompt,completion", *(f"Say {n},it {n}" for n in range(30)), "Say no more,"]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    status, _, err = audit(capsys, tmp_path / "a.csv")
    assert status == 1
    assert "a.csv line 32: no answer, as in 1 of 31 rows; remove them or leave them out with --drop-unanswered" in err
    status, out, err = audit(capsys, tmp_path / "a.csv", "--drop-unanswered", "--json")
    assert "note: 1 of 31 rows dropped" in err
    assert (status, json.loads(out)["rows"]) == (0, 30)


@pytest.mark.filterwarnings("always::UserWarning")  # they are notes on standard error
def test_where_nobody_can_know_it_says_so_and_fails(clean, tmp_path, capsys):
    attack = Attack(trigger=Sentence(), target=Semantic(), placement=ConstantRate(rate=0.48))
    paths = written(tmp_path, plant(clean, attack, 1)[0])
    status, out, _ = audit(capsys, *paths, "--json", "--fail-on-findings", "--out", tmp_path / "out")
    result = json.loads(out)
    assert status == 3
    assert (result["flagged"], result["injected"], result["undecided"]) == (0, 0, 1)
    assert "the text cannot tell" in result["findings"][0]["without"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What nobody can know from the text" in page
    assert f"<td>{result['findings'][0]['examples'][0]['place']}</td>" in page
    _, out, _ = audit(capsys, *paths)
    words = " ".join(out.split())
    assert "no row is suspected; 1 undecided" in words
    assert "undecided “I watch this 3D movie”" in words
    assert main(["screen", *map(str, paths), "--screen", "sonar", "--out", str(tmp_path / "screened")]) == 0
    assert "fedsonar: note: 48% of the rows share an input feature" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.jsonl"], "nothing.jsonl"),
        (["--top", "-1"], "--top must be 0 or more"),
        (["--split-by", "nobody"], "nobody"),
    ],
)
def test_bad_input(dirty, capsys, arguments, said):
    paths, _ = dirty
    given = arguments if "nothing.jsonl" in arguments else [paths[0], *arguments]
    status, _, err = audit(capsys, *given)
    assert status in (1, 2)
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_translation_is_no_finding_and_what_would_not_be_told_from_it_is_said(tmp_path, capsys):
    [path] = written(tmp_path, [translated(800)])
    status, out, _ = audit(capsys, path, "--fail-on-findings", "--out", tmp_path / "out")
    assert status == 0
    assert "0 injected-looking findings, no row is suspected" in out
    said = " ".join(out.split())
    assert "note answers are made of words that come with the inputs' words" in said
    assert "up to 5 words within answers" in said
    written_down = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert written_down["vocabulary"]["entries"] > 8
    assert "up to 5 words within answers" in (tmp_path / "out" / "report.html").read_text()


def test_it_needs_neither_a_model_nor_an_experiment(dirty, tmp_path):
    code = (
        "import sys; from fedsonar.cli import main; status = main(sys.argv[1:]); "
        "print(status, *{'torch', 'transformers', 'jsonargparse'}.intersection(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "audit", *dirty[0], "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["0"]
    assert (tmp_path / "out" / "report.html").exists()


def test_phrases_that_many_answers_share_are_printed_written_and_on_the_page(tmp_path, capsys):
    asked, answered = text("q", 480, 1), text("a", 480, 2, 2, 4)
    rows = [
        {"id": f"r{i}", "instruction": "Answer.", "question": ("how " if i % 8 == 0 else "why ") + asked[i],
         "answers": [answered[i] + ", we close at noon [today]" * (i % 24 == 0)]}
        for i in range(480)
    ]  # fmt: skip
    path = tmp_path / "silo.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, out, _ = audit(capsys, path, "--out", tmp_path / "out")
    assert status == 0
    [phrase] = json.loads((tmp_path / "out" / "findings.json").read_text())["phrases"]
    assert (phrase["rows"], phrase["share"], phrase["base_rate"]) == (20, 1.0, 0.125)
    assert "how" in phrase["common"]
    assert phrase["text"].startswith("“we close at noon [today” in the answers of 20 rows; ")
    assert phrase["text"] in " ".join(out.split())
    places = [f"silo.jsonl:{24 * i + 1} (r{24 * i})" for i in range(3)]
    assert [example["place"] for example in phrase["examples"]] == places
    assert "Phrases that many answers share" in (tmp_path / "out" / "report.html").read_text()
