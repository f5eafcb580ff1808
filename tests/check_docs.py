"""Checks that every relative link in the repository's documents leads to a file, and to a heading where it names one.

Prints one line for each that does not, and exits with status 1 if there is any: ``python tests/check_docs.py``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent


def repository_files(*patterns: str) -> list[Path]:
    """The files that belong to the repository, committed or about to be."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in sorted(filter(None, names)) if (ROOT / name).is_file()]


def links(text: str) -> Iterator[str]:
    """Targets of a document's links and images; what stands in code is none."""
    for token in _flat(MarkdownIt().parse(text)):
        target = token.attrGet("href") or token.attrGet("src")
        if target is not None:
            yield str(target)


def anchors(text: str) -> set[str]:
    """Names under which GitHub finds the document's headings."""
    tokens = MarkdownIt().parse(text)
    titles = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(document: Path) -> list[str]:
    """The relative links of `document` that lead nowhere."""
    text, wrong = document.read_text(encoding="utf-8"), []
    for link in links(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        exists = target.exists() and target.is_relative_to(ROOT)
        if not exists or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            wrong.append(link)
    return wrong


def _flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _flat(token.children or [])


def main() -> int:
    """The exit status: 0 when all links hold."""
    wrong = [(document, link) for document in repository_files("*.md") for link in broken(document)]
    for document, link in wrong:
        print(f"{document.relative_to(ROOT)}: {link} leads nowhere", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
