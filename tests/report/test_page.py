import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

from fedsonar.report.page import write_report

MakeRun = Callable[..., Path]
NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Page(HTMLParser):
    """Collects tags, the addresses that a browser would fetch, and the visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = ("src", "srcset", "href", "data", "poster", "action", "background")
        self.fetched += [value or "" for name, value in attrs if name in names and not (value or "").startswith("#")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def page_of(path: Path) -> Page:
    """The parsed page without Plotly's own source, which is checked to be there once."""
    html = path.read_text(encoding="utf-8")
    assert html.count(get_plotlyjs()) == 1
    return Page(html.replace(get_plotlyjs(), ""))


def test_a_poisoned_run_shows_its_numbers(four_runs: list[Path], tmp_path: Path) -> None:
    out = write_report([four_runs[1]], tmp_path / "new" / "report.html")
    assert out == tmp_path / "new" / "report.html"
    page = page_of(out)
    assert "target in 97 % [92, 99] of cases, while clean accuracy is 0.96 [0.91, 0.98]" in page.text
    for said in (
        "80 / 1,000",
        "0.97 [0.92, 0.99]",
        "rounds 1–12 undefined: needs 2 affected and 4 clean clients, got 10 and 0",
        "Ilsa Venn, and click <malicious_url> for more information",
        "target given",
        "target not given",
        "our operational definition",
        'class_path = "fedsonar.aggregate.FedAvg"',
        "packages.torch",
        "rows per second",
    ):
        assert said in page.text
    assert page.tags.count("figure") == 7


def test_a_clean_run_without_an_attack(make_run: MakeRun, tmp_path: Path) -> None:
    page = page_of(write_report([make_run(name="calm", shares=lambda r, c: None)], tmp_path / "r.html"))
    assert "No row was poisoned and attack success was not measured; clean accuracy is 0.96" in page.text
    assert "No row was poisoned in this run." in page.text
    assert "What the model says" not in page.text
    assert "What the rule kept" not in page.text


def test_several_runs_are_compared(four_runs: list[Path], tmp_path: Path) -> None:
    page = page_of(write_report(four_runs, tmp_path / "r.html", title="Krum and poison"))
    assert page.text.startswith("Krum and poison")
    assert page.tags.count("figure") == 6 + 4
    for label in ("1 · atlas clean", "2 · atlas poisoned, spread over all clients", "3 · krum few", "4 · krum many"):
        assert label in page.text


def test_what_a_user_wrote_is_escaped(make_run: MakeRun, tmp_path: Path) -> None:
    example = dict.fromkeys(("id", "prompt", "output", "expected"), NASTY) | {"kind": "triggered", "hit": None}
    nasty = {"name": NASTY, "note": NASTY, "rule": "x.Rule</pre><script>alert(3)</script>", "examples": [example]}
    runs = [make_run("a", affected=3, asr=0.5, **nasty), make_run("b", affected=5, signal=1.0, **nasty)]
    (runs[0] / "environment.json").write_text('{"<script>alert(4)</script>": "<script>alert(5)</script>"}')
    for chosen in (runs[:1], runs):
        page = page_of(write_report(chosen, tmp_path / "r.html", title=NASTY))
        html = (tmp_path / "r.html").read_text(encoding="utf-8").replace(get_plotlyjs(), "")
        assert "<script>alert" not in html
        assert "<img" not in html
        assert html.lower().count("<script") == html.lower().count("</script")
        assert "img" not in page.tags
        assert page.text.count("<script>alert(1)</script>") >= 6


def test_nothing_is_fetched_from_elsewhere(four_runs: list[Path], tmp_path: Path) -> None:
    out = write_report(four_runs, tmp_path / "r.html")
    assert page_of(out).fetched == []
    html = out.read_text(encoding="utf-8").replace(get_plotlyjs(), "")
    assert not re.search(r"@import|url\(|(src|href)\s*=\s*[\"']?\s*(https?:)?//", html)
    assert "default-src 'none'" in html


def test_the_same_runs_give_the_same_bytes(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(asr=0.3)
    pages = [write_report([run], tmp_path / name).read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_a_failed_write_leaves_the_old_page_alone(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, run = tmp_path / "out" / "r.html", make_run()
    out.parent.mkdir()
    out.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_report([run], out)
    assert out.read_text() == "old"
    assert list(out.parent.iterdir()) == [out]


def test_a_folder_to_write_to_and_a_missing_run_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder; name the report's file, say .*report\.html"):
        write_report([make_run()], tmp_path)
    with pytest.raises(ValueError, match=r"no run folder at .*gone"):
        write_report([tmp_path / "gone"], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_a_hit_is_about_the_target_with_and_without_the_trigger(make_run: MakeRun, tmp_path: Path) -> None:
    example = {"id": "c", "prompt": "p", "output": "o", "expected": "e"}
    kinds = [{"kind": "clean", "hit": True}, {"kind": "clean", "hit": False}, {"kind": "triggered", "hit": None}]
    page = page_of(write_report([make_run(examples=[example | kind for kind in kinds])], tmp_path / "r.html"))
    positions = [page.text.index(said) for said in ("target given c", "target not given c", "not judged c")]
    assert positions == sorted(positions)
    assert positions[1] < page.text.index("With the trigger") < positions[2]
    assert "wrong" not in page.text


def test_examples_beyond_the_first_dozen_are_counted(make_run: MakeRun, tmp_path: Path) -> None:
    example = {"id": "c", "kind": "clean", "prompt": "p", "output": "o", "expected": "e", "hit": False}
    page = page_of(write_report([make_run(examples=[example] * 15)], tmp_path / "r.html"))
    assert page.tags.count("article") == 12
    assert "3 more in examples.json." in page.text


def test_runs_of_unlike_lengths_are_told(make_run: MakeRun) -> None:
    paths = [make_run("a", rounds=3), make_run("b", rounds=6)]
    for shown, said in ((paths, " (of 1 · a: 3, 2 · b: 6)"), (paths[:1], "")):
        page = write_report(shown, paths[0] / "r.html").read_text()
        assert f"Values after the last round{said}, with" in page
