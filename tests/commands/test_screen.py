"""``fedsonar screen``: what it writes, its scores, its exit status, and what it says to bad input."""

import json

import pytest

from fedsonar.cli import main
from fedsonar.data import IID, Atlas
from fedsonar.poison import Attack, ConstantRate, plant
from fedsonar.rng import stream

pytestmark = pytest.mark.filterwarnings("ignore:.* rows (are|were) longer than:UserWarning")  # notes
by_the_embedded_model = pytest.mark.filterwarnings("ignore:.* judges by the embedded model:UserWarning")


@pytest.fixture(scope="module")
def silos(tmp_path_factory):
    """Two silos as files, with a column that says which rows are poisoned, and markup in one answer."""
    folder = tmp_path_factory.mktemp("silos")
    rows = Atlas(train=160, test=10).load().train
    shards, ledger = plant(IID(clients=2).split(rows, stream(1, "p")), Attack(placement=ConstantRate(rate=0.1)), 1)
    paths = []
    for number, shard in enumerate(shards):
        lines = []
        for sample in shard:
            row = {"instruction": sample.instruction, "context": sample.context, "question": sample.question}
            answers = ["<b>[red]bold[/red]</b>, and click <malicious_url> for more information"]
            row |= {"answers": answers if sample.id in ledger else list(sample.answers), "extra": {"kept": number}}
            lines.append(json.dumps(row | {"poisoned": int(sample.id in ledger)}))
        paths.append(folder / f"silo{number}.jsonl")
        paths[-1].write_text("\n".join(lines) + "\n")
    return paths


def screen(capsys, *arguments):
    status = main(["screen", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_come_out_as_they_went_in_and_scores_follow_the_column(silos, tmp_path, capsys):
    status, out, _ = screen(capsys, *silos, "--screen", "responsengrams", "--label", "poisoned", "--out", tmp_path,
                            "--json", "--set", "threshold.value=0.05", "--set", "n=5")  # fmt: skip
    result = json.loads(out)
    assert status == 0
    kept, suspects, scores = (lines(tmp_path / f"{name}.jsonl") for name in ("kept", "suspects", "scores"))
    given = [row for path in silos for row in lines(path)]
    told = [[row.pop(column) for column in ("silo", "place", "suspicion")] for row in suspects]
    assert sorted(map(json.dumps, kept + suspects)) == sorted(map(json.dumps, given))
    found = [score for score in scores if score["flagged"]]
    assert told == [[s["silo"], s["place"], pytest.approx(s["suspicion"], rel=1e-5)] for s in found]
    assert scores[2]["place"] == "silo0.jsonl:3"
    assert result["rows"] == 160 == len(scores)
    assert result["flagged"] == len(suspects) == sum(score["flagged"] for score in scores)
    assert [row for row, score in zip(given, scores, strict=True) if score["flagged"]] == suspects
    poisoned = sum(row["poisoned"] for row in suspects)
    assert result["scores"]["recall"]["value"] == poisoned / 16
    assert result["scores"]["f1"] == pytest.approx(2 * poisoned / (len(suspects) + 16))
    assert result["screen"]["init_args"]["n"] == 5
    assert [silo["rows"] for silo in result["silos"]] == [80, 80]
    page = (tmp_path / "report.html").read_text()
    assert "<b>[red]" not in page.split("<main>")[1].split('<script type="text/javascript">')[0]
    assert "&lt;b&gt;[red]bold" in page
    assert "ROC curve" in page
    assert all(f"<td>{found[0][key]}</td>" in page for key in ("silo", "place"))


def test_by_default_sonar_hears_all_silos(silos, tmp_path, capsys):
    status, out, _ = screen(capsys, *silos, "--label", "poisoned", "--out", tmp_path, "--json")
    result = json.loads(out)
    assert status == 0
    assert result["screen"]["class_path"] == "fedsonar.screen.Sonar"
    assert result["scores"]["recall"]["value"] == result["scores"]["precision"]["value"] == 1.0


def test_sonar_listens_through_a_model_that_is_given(silos, tmp_path, capsys):
    from fedsonar.model.loading import EMBEDDED

    _, out, _ = screen(
        capsys, *silos, "--model", EMBEDDED, "--set", "gradient.speakers=30", "--out", tmp_path, "--json"
    )
    result = json.loads(out)
    assert result["model"] == str(EMBEDDED)
    assert result["screen"]["init_args"]["gradient"]["init_args"]["speakers"] == 30
    _, out, _ = screen(capsys, silos[0], "--model", EMBEDDED, "--set", "gradient=null", "--out", tmp_path, "--json")
    assert json.loads(out)["model"] is None


def test_terminal_shows_the_most_suspect_rows(silos, tmp_path, capsys):
    _, out, _ = screen(capsys, silos[0], "--screen", "Length", "--out", tmp_path, "--top", 2)
    assert "rows are suspected" in out
    assert out.count("<b>[red]bold") == 2  # shown as it is, not as markup
    assert "Recall" not in out


@by_the_embedded_model
def test_a_screen_that_looks_through_a_model(silos, tmp_path, capsys):
    status, out, _ = screen(capsys, silos[0], "--screen", "GradSentry", "--label", "poisoned", "--out", tmp_path,
                            "--json", "--max-length", 60, "--fail-on-findings")  # fmt: skip
    result = json.loads(out)
    assert status == 3
    assert result["model"] == "embedded"
    assert result["scores"]["auc"]["value"] > 0.9
    assert 0 < result["unjudged"] < 80
    scores = lines(tmp_path / "scores.jsonl")
    assert sum(score["suspicion"] is None for score in scores) == result["unjudged"]
    assert not any(score["flagged"] for score in scores if score["suspicion"] is None)


def test_without_findings_the_status_is_0(silos, tmp_path, capsys):
    status, out, _ = screen(capsys, silos[0], "--screen", "Length", "--set", "threshold.value=1000", "--out", tmp_path,
                            "--fail-on-findings", "--json")  # fmt: skip
    assert status == 0
    assert json.loads(out)["flagged"] == 0
    assert (tmp_path / "suspects.jsonl").read_text() == ""
    page = (tmp_path / "report.html").read_text()
    assert "No row is suspected. These come first" in page
    longest = max((row for row in lines(silos[0])), key=lambda row: len(row["answers"][0].split()))
    assert longest["answers"][0] in page


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--screen", "Nobody"], 2, "no screen 'Nobody'; there are ActivationClustering, Association"),
        (["--screen", "Oracle"], 2, "choose another screen"),
        (["--screen", "Length", "--set", "threshold.valu=3"], 2, "'valu' is not accepted"),
        (["--label", "truth"], 2, "no column 'truth'"),
        (["--max-length", "3"], 2, "--max-length must be at least 8"),
        (["--label", "instruction"], 2, "silo0.jsonl line 5: --label instruction is 'List"),
        (["--schema", "csv"], 2, "--schema csv is unknown; use one of auto, native, alpaca"),
        (["--screen", "GradSentry", "--max-length", "8"], 1, "no row fits into 8 tokens"),
    ],
)
@by_the_embedded_model
def test_bad_input(silos, tmp_path, capsys, arguments, status, said):
    found, _, err = screen(capsys, silos[0], "--out", tmp_path, *arguments)
    assert found == status, err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_file_that_is_not_there(tmp_path, capsys):
    status, _, err = screen(capsys, tmp_path / "nothing.jsonl")
    assert status in (1, 2)
    assert "nothing.jsonl" in err


def test_terminal_says_where_suspects_stand(silos, tmp_path, capsys):
    status, out, _ = screen(capsys, *silos, "--out", tmp_path, "--top", 3)
    assert status == 0
    shown = [row["place"] for row in lines(tmp_path / "suspects.jsonl") if row["place"] in out]
    assert len(shown) == 3


@pytest.mark.filterwarnings("always:.* judges by")
def test_without_a_model_of_ones_own_it_warns(silos, tmp_path, capsys):
    _, _, err = screen(capsys, silos[0], "--screen", "GradSentry", "--out", tmp_path, "--json")
    assert err == (
        "fedsonar: note: GradSentry judges by the embedded model, which knows the embedded world alone; name one that "
        "knows such rows with --model\n"
    )


@pytest.mark.parametrize("name", ["kept", "suspects", "scores"])
def test_what_is_read_is_not_overwritten(silos, tmp_path, capsys, name):
    path = tmp_path / f"{name}.jsonl"
    path.write_bytes(silos[0].read_bytes())
    status, _, err = screen(capsys, silos[1], path, "--out", tmp_path / "." / "nothing" / "..")
    assert status == 2
    assert f"would overwrite {path}, which is read; name another" in err
    assert len(err.strip().splitlines()) == 1
    assert path.read_bytes() == silos[0].read_bytes()


def test_labels_are_numbers_and_words_with_a_meaning(tmp_path, capsys):
    labels = [0.0, float("nan"), None, "clean", "No", "0.0", "", False, 1.0, "1", "Poisoned", "yes", True, "true"]
    rows = [{"instruction": f"say {n}", "output": f"word {n}", "label": label} for n, label in enumerate(labels)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = (path, "--screen", "Length", "--label", "label", "--out", tmp_path, "--json")
    status, out, _ = screen(capsys, *arguments)
    scores = json.loads(out)["scores"]
    assert status == 0
    assert (scores["recall"]["n"], scores["false_removal"]["n"]) == (6, 8)
    path.write_text(json.dumps(rows[0] | {"label": "perhaps"}) + "\n")
    status, _, err = screen(capsys, *arguments)
    assert status == 2
    assert "rows.jsonl line 1: --label label is 'perhaps'; use 1, true, yes or poisoned, else 0" in err


@pytest.mark.filterwarnings("always:.*rows dropped")
def test_labels_follow_rows_where_some_are_left_out(tmp_path, capsys):
    rows = [{"instruction": f"say {n}", "output": "word" * (n > 0), "label": n} for n in (0, 1)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, out, err = screen(capsys, path, "--screen", "Length", "--label", "label", "--out", tmp_path, "--json",
                         "--drop-unanswered")  # fmt: skip
    assert "note: 1 of 2 rows dropped" in err
    assert json.loads(out)["scores"]["recall"]["n"] == 1


def test_a_threshold_that_is_no_number_opens_no_gate(silos, tmp_path, capsys):
    status, _, error = screen(capsys, silos[0], "--screen", "Length", "--set", "threshold.value=nan", "--out", tmp_path,
                              "--fail-on-findings")  # fmt: skip
    assert status == 2
    assert error == "fedsonar: value must be a finite number, got nan: it would flag every row or none\n"
