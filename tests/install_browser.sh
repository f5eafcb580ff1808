#!/usr/bin/env bash
# Sees to it that the report's browser test finds a Chromium; says so where there can be none, and never fails.
# Usage: tests/install_browser.sh FOLDER_WITH_PLAYWRIGHT
set -u
bin=$1

found() {
    command -v chromium chromium-browser google-chrome >/dev/null && return
    "$bin/python" - <<'PYTHON'
import pathlib
import sys

from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    sys.exit(not pathlib.Path(playwright.chromium.executable_path).exists())
PYTHON
}

by_apt() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return
    local install=(timeout 300 apt-get install -y -qq --no-install-recommends chromium)
    export DEBIAN_FRONTEND=noninteractive
    # The package lists of a fresh machine are empty or old.
    "${install[@]}" >/dev/null 2>&1 || { timeout 120 apt-get update -qq && "${install[@]}"; } >/dev/null 2>&1
}

by_playwright() {
    timeout 300 "$bin/playwright" install chromium >/dev/null 2>&1
}

found && exit 0
echo "installing Chromium for the report's browser test ..." >&2
by_apt || by_playwright
found || echo "no Chromium could be installed, so the report's browser test cannot run: put one on PATH" >&2
exit 0
