"""The page in a real browser, without a network."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from fedsonar.report.page import write_report

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run"
)
MakeRun = Callable[..., Path]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        installed = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
        path = next((found for found in installed if found), playwright.chromium.executable_path)
        if not Path(path).exists() and not os.environ.get("CI"):
            pytest.skip("no Chromium on this machine: install chromium or run `playwright install chromium`")
        launched = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page file offline; at the end no script may have complained and nothing may have been asked for."""
    complaints: list[str] = []
    contexts = []

    def go(path: Path, width: int = 1280, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            offline=True,
            color_scheme="dark" if scheme == "dark" else "light",
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        local = ("file:", "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(local) else complaints.append(r.url))
        page.goto(path.as_uri())
        page.wait_for_function("document.querySelectorAll('.plot').length > 0")
        page.wait_for_function("[...document.querySelectorAll('.plot')].every(p => p.querySelector('svg.main-svg'))")
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []


def test_every_plot_of_one_run_is_drawn(four_runs: list[Path], tmp_path: Path, visit: Callable[..., Page]) -> None:
    page = visit(write_report(four_runs[3:], tmp_path / "r.html"))
    for key in ("accuracy", "asr", "loss", "bsnr-crossfit-ratio", "bsnr-crossfit-cumulative-ratio", "poison", "kept-1"):
        assert page.locator(f"figure#{key} svg.main-svg").count() > 0, key
    assert page.locator("figure#asr .scatterlayer .js-line").count() == 3  # a band, attack success, false activation
    assert page.locator("figure#poison .barlayer .point").count() == 10
    assert page.get_by_role("img", name="Attack success rate by round.").count() == 1


@pytest.mark.parametrize("which", ["one", "four", "nasty"])
def test_a_phone_needs_no_sideways_scrolling(
    four_runs: list[Path], make_run: MakeRun, tmp_path: Path, visit: Callable[..., Page], which: str
) -> None:
    long_word = "x" * 300
    example = dict.fromkeys(("id", "prompt", "output", "expected"), long_word) | {"kind": "clean", "hit": True}
    runs = {
        "one": four_runs[1:2],
        "four": four_runs,
        "nasty": [make_run("n", name="<script>alert(1)</script>" + long_word, asr=0.5, affected=2, examples=[example])],
    }[which]
    page = visit(write_report(runs, tmp_path / "r.html"), width=390, scheme="dark")
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    widths = page.evaluate("[...document.querySelectorAll('svg.main-svg')].map(s => s.getBoundingClientRect().width)")
    assert max(widths) <= 390


def test_text_is_readable_in_light_and_in_dark(
    four_runs: list[Path], tmp_path: Path, visit: Callable[..., Page]
) -> None:
    out = write_report(four_runs[3:], tmp_path / "r.html")
    seen = {}
    for scheme in ("light", "dark"):
        page = visit(out, scheme=scheme)
        seen[scheme] = (
            page.eval_on_selector("body", "e => getComputedStyle(e).backgroundColor"),
            page.eval_on_selector("#accuracy .xtick text", "e => getComputedStyle(e).fill"),
        )
    assert seen["light"] == ("rgb(246, 248, 250)", "rgb(85, 96, 110)")
    assert seen["dark"] == ("rgb(16, 22, 29)", "rgb(163, 176, 191)")
