"""Long names, and what filters do not change, in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from salver.runners.answers import Claim
from tests.browser.chromium import Browser
from tests.builders.judged_runs import reported
from tests.builders.odd_runs import odd_run


@pytest.fixture(scope="module")
def long_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page on which every name is of 200 characters without a place to break."""
    solvers, names = (["s" * 199 + end for end in "ab"], ["i" * 199 + end for end in "abc"])
    folder = tmp_path_factory.mktemp("long")
    return reported(odd_run(folder, solvers, names, lambda number: (Claim.SAT, Claim.UNKNOWN)[number % 2]))


@pytest.mark.parametrize("width", [400, 1800])
@pytest.mark.parametrize("view", ["", "#instance/0"])
def test_long_names_do_not_widen_the_page(browser: Browser, long_page: Path, width: int, view: str) -> None:
    browser.media()
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
    )
    try:
        browser.open(long_page.as_uri() + view)
        assert browser.run("document.documentElement.scrollWidth") == width
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")


def test_what_filters_do_not_change_says_so(browser: Browser, hostile_dir: Path) -> None:
    browser.media()
    browser.open((hostile_dir / "index.html").as_uri())
    shown = "[...document.querySelectorAll('.whole')].filter((one) => one.getClientRects().length).length"
    assert browser.run(shown) == 0
    browser.run("location.hash = '#results?outcome=falsified'")
    browser.wait(f"{shown} > 0")
    assert browser.run("document.querySelector('#wrong h2').innerText").endswith("(whole run, not filtered)")
    browser.click("#clear")
    assert browser.run(shown) == 0
