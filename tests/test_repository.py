"""The repository as a whole: documents, pins and metadata agree with what is there."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib

import pytest
from markdown_it import MarkdownIt
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import fedsonar
from check_docs import ROOT, broken, repository_files
from fedsonar.testing import check_aggregator

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_links_of_all_documents_lead_somewhere():
    done = subprocess.run(
        [sys.executable, "tests/check_docs.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("link", "is_broken"),
    [
        ("other.md", False),
        ("other.md#a-heading-in-two-words", False),
        ("#top", False),
        ("https://example.org/nothing.md", False),
        ("absent.md", True),
        ("other.md#absent", True),
        ("../outside.md", True),
    ],
)
def test_link_check_tells_good_from_bad(link, is_broken, tmp_path, monkeypatch):
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.setattr("check_docs.ROOT", folder)
    (tmp_path / "outside.md").touch()
    (folder / "other.md").write_text("# A heading, in `two words`\n")
    (folder / "page.md").write_text(f"# Top\n\nSee [this]({link}), not `[that](absent.md)`.\n")
    assert broken(folder / "page.md") == ([link] if is_broken else [])


def test_papers_table_names_files_that_exist():
    named = re.findall(r"`((?:src|tests)/[^`]+)`", (ROOT / "docs" / "papers.md").read_text())
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_no_file_names_a_place_on_one_machine():
    place = re.compile(rb"(?<![\w./-])/(?:root|work|home)/|/Users/")
    found = []
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" not in content and place.search(content):
            found.append(str(path.relative_to(ROOT)))
    assert found == ["tests/test_repository.py"]  # the pattern itself


def test_only_the_embedded_model_is_binary():
    binary = [path for path in repository_files() if b"\0" in path.read_bytes()]
    assert [str(path.relative_to(ROOT)) for path in binary] == ["src/fedsonar/model/embedded/model.safetensors"]


def test_every_module_of_the_package_has_a_docstring():
    modules = repository_files("src/*.py")
    assert len(modules) > 20
    assert [str(path) for path in modules if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_version_is_the_same_everywhere():
    assert importlib.metadata.version("fedsonar") == PROJECT["version"] == fedsonar.__version__


def test_every_dependency_is_pinned_within_its_range():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)] == []
    pins = dict(line.split("==") for line in lines)
    for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text


def test_rule_in_the_readme_keeps_the_contract(tmp_path, monkeypatch):
    blocks = [token for token in MarkdownIt().parse((ROOT / "README.md").read_text()) if token.type == "fence"]
    [code] = [block.content for block in blocks if block.info == "python" and "Aggregator" in block.content]
    (tmp_path / "near_median.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    check_aggregator(importlib.import_module("near_median").NearMedian())
