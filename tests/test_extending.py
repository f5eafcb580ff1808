"""The page on parts of one's own: every example on it is checked and run as it stands."""

import json
import re
import subprocess
import sys

from markdown_it import MarkdownIt

import fedsonar.testing
from check_docs import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


def ran(folder, *arguments):
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)


def test_every_part_on_the_page_keeps_its_contract_and_runs(tmp_path):
    fences = [token.content for token in MarkdownIt().parse(PAGE) if token.type == "fence"]
    named = {match[1]: text for text in fences if (match := re.match(r"# (\w+\.(?:py|toml))\n", text))}
    for name, text in named.items():
        (tmp_path / name).write_text(text)
    checked = ran(tmp_path, "check_mine.py")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    small = ["data.train=96", "data.test=20", "partition.clients=6", "evaluation.rows=4", "rounds=1"]
    options = [part for setting in small for part in ("--set", setting)]
    done = ran(tmp_path, "-m", "fedsonar", "run", "mine.toml", "--out", "out", "--json", *options)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["repair"]["kind"], summary["screen"]["rows"], summary["clients"]) == ("Fading", 0, 6)
    assert "Hello there." in (tmp_path / "out" / "experiment.toml").read_text()


def test_the_page_names_every_check():
    checks = [name for name in vars(fedsonar.testing) if name.startswith("check_")]
    assert [name for name in checks if f"{name}(" not in PAGE] == []
