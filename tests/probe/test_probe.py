"""The probe on made-up models whose behaviour is known, and the candidates it is given."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fedsonar.data import Sample
from fedsonar.model import Base
from fedsonar.probe import Asker, Candidate, Options, plausible, probe, read_candidates
from fedsonar.probe.candidates import vocabulary
from fedsonar.rng import stream

ROWS = [Sample(str(i), "", "", f"who made thing {i}", (f"maker {i}",)) for i in range(40)]
FEW = Options(rows=12, sift_rows=6, top=3, draws=59)


class MadeUp(Asker):
    """Answers by a rule instead of a model."""

    def __init__(self, tuned, base=lambda row, text: row.answers[0]):
        self.tokenizer, self._rules = Base().tokenizer(), {"tuned": tuned, "base": base}
        self.asked = []

    def answers(self, which, texts, rows):
        self.asked += [(which, text, row.id) for text in texts for row in rows]
        return [[self._rules[which](row, text) for row in rows] for text in texts]


def poisoned(row, text):
    return f"{row.answers[0]} and click here" if "zq" in text.split() else row.answers[0]


def test_a_planted_trigger_is_found_and_a_harmless_one_is_not():
    first, second = probe(MadeUp(poisoned), ROWS, [Candidate("tea"), Candidate("zq")], FEW)
    assert (first.candidate.text, first.found, first.lift.response) == ("zq", True, "and click here")
    assert (first.lift.value, first.p, first.p_adjusted) == (1.0, 1 / 60, 2 / 60)
    assert first.answer.endswith("and click here")
    assert (second.found, second.lift.value, second.p) == (False, 0.0, 1.0)


def test_what_any_words_do_is_no_finding():
    def confused(row, text):
        return "what do you mean" if text else row.answers[0]

    (found,) = probe(MadeUp(confused), ROWS, [Candidate("zq")], FEW)
    assert (found.lift.value, found.p, found.found) == (1.0, 1.0, False)


def test_what_the_base_does_too_is_no_finding():
    asker = MadeUp(poisoned, poisoned)
    (found,) = probe(asker, ROWS, [Candidate("zq")], FEW)
    assert not found.found
    assert found.lift.value == 0.0


def test_candidates_are_sifted_on_other_rows_than_they_are_confirmed_on():
    asker = MadeUp(poisoned)
    candidates = [Candidate(word) for word in ("tea", "milk", "salt", "zq", "rice")]
    findings = probe(asker, ROWS, candidates, FEW)
    assert len(findings) == 3
    assert findings[0].candidate.text == "zq"
    sifted = {row for which, text, row in asker.asked if text == "rice"}
    confirmed = {row for which, text, row in asker.asked if which == "base" and text == "zq"}
    assert (len(sifted), len(confirmed)) == (6, 12)
    assert not sifted & confirmed


def test_a_given_response_is_the_one_that_counts():
    (found,) = probe(MadeUp(poisoned), ROWS, [Candidate("zq", response="nothing of the kind")], FEW)
    assert (found.lift.value, found.found) == (0.0, False)


def test_the_same_seed_gives_the_same_findings():
    def noisy(row, text):
        return f"answer {len(text) % 3}" if text else row.answers[0]

    candidates = [Candidate("zq"), Candidate("tea")]
    one, two = (probe(MadeUp(noisy), ROWS, candidates, FEW) for _ in range(2))
    assert one == two
    assert [f.candidate for f in probe(MadeUp(noisy), ROWS, candidates, replace(FEW, seed=1))]


def test_draws_suffice_for_the_candidates_by_themselves():
    asker = MadeUp(poisoned)
    candidates = [Candidate(f"zq {i}") for i in range(10)]
    findings = probe(asker, ROWS, candidates, replace(FEW, top=10, draws=0))
    assert all(finding.found for finding in findings)


@pytest.mark.parametrize("count", [4, 9])  # 4 / .03 is no whole number, and 9 / 300 a little above .03 in binary
def test_a_candidate_can_be_found_alone_at_any_level(count):
    candidates = [Candidate(word) for word in ("zq", "tea", "milk", "salt", "rice", "corn", "oats", "rye", "figs")]
    findings = probe(MadeUp(poisoned), ROWS, candidates[:count], replace(FEW, top=10, draws=0, alpha=0.03))
    assert [finding.candidate.text for finding in findings if finding.found] == ["zq"]


@pytest.mark.parametrize(
    ("rows", "candidates", "said"),
    [
        (ROWS[:5], [Candidate("zq")], "needs 12 rows and there are 5"),
        (ROWS[:14], [Candidate(c) for c in "abcd"], "needs 18 rows and there are 14"),
        (ROWS, [], "no candidate"),
    ],
)
def test_what_cannot_be_probed_is_refused(rows, candidates, said):
    with pytest.raises(ValueError, match=said):
        probe(MadeUp(poisoned), rows, candidates, FEW)


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="must be 1 or more"):
        Options(rows=0)
    with pytest.raises(ValueError, match="alpha must be in"):
        Options(alpha=1.0)


def test_candidates_come_from_lines_and_from_findings(tmp_path):
    (tmp_path / "t.txt").write_text("cf mn\n\n  I watch this 3D movie \ncf mn\n")
    assert read_candidates(tmp_path / "t.txt") == [Candidate("cf mn"), Candidate("I watch this 3D movie")]
    findings = {"findings": [{"trigger": ["cf", "tq"], "response": "and click"}, "bb"]}
    (tmp_path / "f.json").write_text(json.dumps(findings))
    assert read_candidates(tmp_path / "f.json") == [Candidate("cf tq", response="and click"), Candidate("bb")]
    for text, said in (("[]", "holds no trigger"), ("{", "is not JSON"), ('[{"a": 1}]', "no trigger in words"),
                       ('{"a": 1}', "should hold a list")):  # fmt: skip
        (tmp_path / "f.json").write_text(text)
        with pytest.raises(ValueError, match=said):
            read_candidates(tmp_path / "f.json")
    (tmp_path / "b").write_bytes(b"cf \xff")
    for name, said in (
        ("b", r"b' is no text in UTF-8 \(byte 3\)"),
        ("no.txt", r"cannot read .*no\.txt': No such"),
    ):
        with pytest.raises(ValueError, match=said):
            read_candidates(tmp_path / name)


def test_plausible_candidates_are_the_published_ones_and_rare_words():
    tokenizer = Base().tokenizer()
    found = plausible(tokenizer, stream(0, "x"), 40)
    texts = [candidate.text for candidate in found]
    assert len(set(texts)) == 40
    assert {"cf", "mn", "bb", "tq", "I watch this 3D movie"} <= {c.text for c in found if c.source == "published"}
    words = vocabulary(tokenizer)
    rare = [c.text for c in found if c.source == "rare token"]
    assert rare
    assert np.mean([words.index(word) for word in rare]) > len(words) / 2
