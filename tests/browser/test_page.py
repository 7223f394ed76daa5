"""Clicks, keys, filters, instance view, printing and accessibility of the report's page."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from tests.browser.axe import axe_source
from tests.browser.chromium import Browser
from tests.browser.conftest import RECORDS

COLUMN = "[...document.querySelectorAll('#runs tbody tr')].map((row) => row.cells[{}].textContent)"
HEADS = "[...document.querySelectorAll('#runs thead th')].map((cell) => cell.dataset.name)"
SHOWN = "document.querySelector('#instance h2 + p code').textContent"
VIOLATIONS = """(async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations.map((v) => v.id + ": " + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 99)));
})()"""


@pytest.fixture(scope="module")
def results(report_dir: Path) -> pd.DataFrame:
    return pd.read_parquet(report_dir / "results.parquet")


def shown(page: Browser, name: str) -> list[str]:
    """Texts of a column of the results as they stand in the document."""
    position = page.run(HEADS).index(name)
    cells: list[str] = page.run(COLUMN.format(position))
    return cells


def status(page: Browser) -> str:
    return str(page.run("document.getElementById('shown').textContent"))


def choose(page: Browser, selector: str, value: str) -> None:
    """Chooses an option as the keyboard would: the browser itself sends the events."""
    page.run(f"document.querySelector('{selector}').focus()")
    page.run(
        f"(() => {{ const s = document.querySelector('{selector}'); s.value = '{value}';"
        "s.dispatchEvent(new Event('input', {bubbles: true}));"
        "s.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    page.settle()


def test_only_the_page_itself_is_loaded(page: Browser, report_dir: Path) -> None:
    assert set(page.requests) <= {"about:blank", (report_dir / "index.html").as_uri()}
    assert page.errors == []
    refused = page.run("fetch('data:,x').then(() => 'sent', () => 'refused')")
    assert refused == "refused"


def test_only_one_page_of_rows_is_in_the_document(page: Browser) -> None:
    assert page.run("document.querySelectorAll('#runs tbody tr').length") == 100
    assert status(page) == f"Rows 1 to 100 of {RECORDS}"
    assert page.run("document.getElementById('size').value") == "100"
    page.click("#last")
    assert status(page) == f"Rows {RECORDS - 99} to {RECORDS} of {RECORDS}"
    assert page.run("document.getElementById('next').disabled")
    choose(page, "#size", "500")
    assert page.run("document.querySelectorAll('#runs tbody tr').length") == RECORDS


def test_a_heading_sorts_up_and_then_down(page: Browser, results: pd.DataFrame) -> None:
    wall = results["wall_s"]
    page.click("#runs th[data-name=wall_s] button")
    assert shown(page, "wall_s") == [f"{value:.2f}" for value in wall.round(3).sort_values()[:100]]
    assert page.run("document.querySelector('#runs th[data-name=wall_s]').ariaSort") == "ascending"
    page.click("#runs th[data-name=wall_s] button")
    assert shown(page, "wall_s")[0] == f"{wall.max():.2f}"
    assert status(page).endswith("sorted by wall (s), descending")
    page.click("#runs th[data-name=solver] button")
    assert set(shown(page, "solver")) == {"solver-a", "solver-b", "solver-c"}
    assert page.run("document.querySelectorAll('#runs th[aria-sort]').length") == 1


def test_filters_keep_what_the_results_say(page: Browser, results: pd.DataFrame) -> None:
    choose(page, "#filter-solver", "=solver-c")
    choose(page, "#filter-outcome", "=falsified")
    wanted = results[(results["solver"] == "solver-c") & (results["outcome"] == "falsified")]
    assert sorted(shown(page, "instance")) == sorted(wanted["instance"])
    assert status(page) == f"Rows 1 to {len(wanted)} of {len(wanted)} ({RECORDS} in all)"
    page.click("#filter")
    page.press(*"I1-")
    assert set(shown(page, "instance")) == {name for name in wanted["instance"] if "i1-" in name}
    page.click("#clear")
    assert status(page) == f"Rows 1 to 100 of {RECORDS}"
    page.click("#filter")
    page.press(*"solver-b unknown nowhere")
    assert status(page).startswith("No rows")


def test_a_count_of_the_leaderboard_leads_to_its_runs(page: Browser, results: pd.DataFrame) -> None:
    counted = page.run(
        "document.querySelector('#leaderboard a[href*=solver-d][href*=falsified]').textContent"
    )
    page.click("#leaderboard a[href*=solver-d][href*=falsified]")
    wanted = results[(results["solver"] == "solver-d") & (results["outcome"] == "falsified")]
    assert status(page) == f"Rows 1 to {len(wanted)} of {len(wanted)} ({RECORDS} in all)"
    assert counted == str(len(wanted))
    assert page.focused() == "All results"


def test_an_instance_opens_and_back_leads_to_its_row(page: Browser, results: pd.DataFrame) -> None:
    choose(page, "#filter-outcome", "=falsified")
    page.click("#next")
    name = shown(page, "instance")[7]
    page.click("#runs tbody tr:nth-child(8) a")
    assert page.run("document.title").startswith(name)
    assert page.run(SHOWN) == name
    assert page.focused() == page.run("document.querySelector('#instance h2').textContent")
    assert page.run("document.getElementById('report').hidden")
    labels = page.run(
        "[...document.querySelectorAll('#instance canvas[role]')].map((c) => c.getAttribute('aria-label'))"
    )
    assert [label.split(",")[0] for label in labels] == [
        "Input xhat", "Input of the witness", "Difference of the inputs",
        "Saliency map of xhat", "Saliency map of the witness", "Difference of the saliency maps",
    ]  # fmt: skip
    captions = page.run("[...document.querySelectorAll('#instance figcaption')].map((c) => c.textContent)")
    classes = [caption.rpartition("class ")[2] for caption in captions[:2]]
    assert classes[0] != classes[1]
    told = page.run("document.querySelector('#instance h3 + p').textContent")
    assert f"xhat class {classes[0]} and the witness class {classes[1]}" in told
    runs = page.run("document.querySelectorAll('#instance .runs tbody tr').length")
    assert runs == (results["instance"] == name).sum()
    page.run("history.back()")
    page.wait("document.getElementById('instance').hidden")
    assert page.focused() == name
    assert page.run("document.getElementById('filter-outcome').value") == "=falsified"
    assert page.errors == []


def test_the_pictures_show_the_numbers(page: Browser, report_dir: Path) -> None:
    page.run("location.hash = '#instance/' + '0'.repeat(15) + '1'")
    page.wait("!document.getElementById('instance').hidden")
    page.run("document.querySelectorAll('#instance details').forEach((d) => { d.open = true; })")
    page.wait("document.querySelector('#instance .numbers tbody tr') !== null")
    cells = page.run(
        "[...document.querySelector('#instance .numbers').querySelectorAll('tbody tr')]"
        ".map((r) => r.innerText.split('\\t'))"
    )
    pixels = page.run(
        "[...document.querySelector('#instance canvas').getContext('2d').getImageData(0, 0, 8, 8).data]"
    )
    assert len(cells) == 64
    for (_, xhat, witness, difference), shade in zip(cells, pixels[::4], strict=True):
        assert abs(float(xhat) * 255 - shade) < 1
        assert abs(float(witness) - float(xhat) - float(difference)) < 2e-2
        assert abs(float(difference)) <= 0.3001


def test_command_line_and_logs_are_beside_the_run(page: Browser) -> None:
    page.run("location.hash = '#instance/' + '0'.repeat(16)")
    page.wait("!document.getElementById('instance').hidden")
    page.run("document.querySelectorAll('#instance > details').forEach((d) => { d.open = true; })")
    text = page.run("document.getElementById('instance').innerText")
    assert "OMP_NUM_THREADS=1 solver --timeout 60 query.vnnlib" in text
    assert "stdout of a solver" in text
    assert page.run("document.querySelector('#instance a[href^=\"./logs/\"]').href").startswith("file:")


def test_everything_is_reached_by_keyboard(page: Browser) -> None:
    page.press("Tab")
    assert page.focused() == "Skip to the content"
    page.press("Enter", "Tab")
    assert page.run("document.getElementById('main').contains(document.activeElement)")
    page.run("document.getElementById('filter').focus()")
    page.press(*"solver-a")
    page.run("document.getElementById('by').focus()")
    for _ in range(40):
        page.press("Tab")
        if page.run("document.activeElement.closest('#runs thead') !== null"):
            break
    page.press("Enter")
    assert page.run("document.querySelector('#runs th[data-name=instance]').ariaSort") == "ascending"
    for _ in range(40):
        page.press("Tab")
        if page.run("document.activeElement.matches('#runs tbody th a')"):
            break
    name = page.focused()
    page.press("Enter")
    page.wait("!document.getElementById('instance').hidden")
    assert page.run(SHOWN) == name
    assert page.focused() == page.run("document.querySelector('#instance h2').textContent")
    page.press("Shift+Tab", "Shift+Tab")
    assert page.focused() in ("← Previous instance", "Next instance →")
    page.run("document.getElementById('back').focus()")
    page.press("Enter")
    page.wait("document.getElementById('instance').hidden")
    assert page.focused() == name


def test_arrows_lead_through_the_filtered_instances(page: Browser) -> None:
    choose(page, "#filter-outcome", "=verified")
    choose(page, "#filter-solver", "=solver-b")
    page.click("#runs th[data-name=wall_s] button")
    names = shown(page, "instance")
    page.click("#runs tbody tr:nth-child(2) a")
    assert page.run(SHOWN) == names[1]
    assert f"2 of {len(names)} in the filtered results" in page.run(
        "document.querySelector('#instance nav').innerText"
    )
    page.press("ArrowRight", "ArrowRight")
    assert page.run(SHOWN) == names[3]
    page.press("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert page.run(SHOWN) == names[0]
    page.run("document.querySelector('#instance .wide').setAttribute('tabindex', '0')")
    page.run("document.querySelector('#instance .wide').focus()")
    page.press("ArrowRight")
    assert page.run(SHOWN) == names[0]
    page.run("document.querySelector('#instance h2').focus()")
    page.press("ArrowRight", "ArrowRight", "Escape")
    page.wait("document.getElementById('instance').hidden")
    assert page.focused() == names[2]
    assert shown(page, "instance") == names


def test_back_after_steps_turns_to_the_page_of_the_instance(page: Browser) -> None:
    choose(page, "#size", "50")
    page.click("#runs tbody tr:nth-child(1) a")
    for _ in range(6):
        page.press("ArrowRight")
    name = page.run(SHOWN)
    page.press("Escape")
    page.wait("document.getElementById('instance').hidden")
    assert page.focused() == name
    assert name in shown(page, "instance")


def test_an_instance_is_passed_on_as_a_link(browser: Browser, report_dir: Path) -> None:
    address = (report_dir / "index.html").as_uri() + "#instance/0000000000000003"
    browser.media()
    browser.open(address)
    name = browser.run(SHOWN)
    assert browser.run("document.title").startswith(name)
    browser.run("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    browser.click("#instance nav button")
    assert browser.run("document.querySelector('#instance nav [role=status]').textContent") == address
    kept = (
        "Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (t) => { kept = t; } } })"
    )
    browser.open(address)
    browser.run(f"kept = ''; {kept}; 0")
    browser.click("#instance nav button")
    assert browser.run("kept") == address
    assert browser.run("document.querySelector('#instance nav [role=status]').textContent") == "copied"


def test_an_instance_has_an_address_by_its_name(browser: Browser, report_dir: Path) -> None:
    browser.media()
    browser.open((report_dir / "index.html").as_uri())
    name = shown(browser, "instance")[0]
    browser.open((report_dir / "index.html").as_uri() + f"#instance/{name}")
    assert browser.run(SHOWN) == name
    again = browser.run("document.querySelector('#instance pre').textContent")
    assert again.startswith(f"salver run load --only {name} --solvers solver-")


def test_filters_work_on_shares_and_gallery(page: Browser, results: pd.DataFrame) -> None:
    rows = (
        "[...document.querySelectorAll('#pivot tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))"
    )
    network = sorted(results["network"].unique())[0]
    choose(page, "#filter-network", f"={network}")
    choose(page, "#filter-solver", "=solver-c")
    choose(page, "#by", "network")
    chosen = results[(results["network"] == network) & (results["solver"] == "solver-c")]
    (own, together) = page.run(rows)
    assert own[:3] == [network, "solver-c", str(len(chosen))]
    assert together[:3] == [network, "virtual best", str(len(chosen))]
    for cell, outcome in zip(own[3:5], ("verified", "falsified"), strict=True):
        assert cell.startswith(f"{100 * (chosen['outcome'] == outcome).mean():.0f}% [")
    links = page.run(
        "[...document.querySelectorAll('#gallery a')].map((a) => a.getAttribute('href').slice(10))"
    )
    assert links
    assert set(links) <= set(chosen["instance_id"])
    choose(page, "#filter-outcome", "=timeout")
    assert page.run("document.querySelectorAll('#gallery canvas').length") == 0


def test_filters_work_on_leaderboard_and_plots(page: Browser, results: pd.DataFrame) -> None:
    cells = "[...document.querySelector('.board').tBodies[0].rows].map((r) => [...r.cells]"
    cells += ".map((c) => c.innerText))"
    drawing = "document.querySelector('.drawn.cactus svg').outerHTML"
    whole, drawn = page.run(cells), page.run(drawing)
    network = sorted(results["network"].unique())[0]
    choose(page, "#filter-network", f"={network}")
    page.wait(f"{drawing} !== {json.dumps(drawn)}")
    kept = results[results["network"] == network]
    row = next(row for row in page.run(cells) if row[1] == "solver-c")
    own = kept[kept["solver"] == "solver-c"]
    assert row[3].startswith(f"{own['outcome'].isin(['verified', 'falsified']).sum()}/{len(own)}: ")
    told = page.run("document.getElementById('filtered').innerText")
    assert f"Filtered: {kept['instance_id'].nunique()} of {RECORDS // 10} instances" in told
    assert f"{len(kept)} of {RECORDS} runs" in told
    link = page.run(
        "document.querySelector('.board a[href*=solver-c][href*=falsified]').getAttribute('href')"
    )
    assert f"network={network}" in link
    assert "of these runs alone" not in told
    choose(page, "#filter-outcome", "=timeout")
    page.wait("document.querySelector('.drawn.cactus svg') === null")
    told = page.run("document.getElementById('filtered').innerText")
    assert "outcome timeout (shares and scores are of these runs alone)" in told
    assert "can be drawn" in page.run("document.querySelector('[data-plot=cactus] figcaption').innerText")
    page.click("#reset")
    page.wait(f"document.querySelector('.drawn.cactus svg') !== null && {drawing} === {json.dumps(drawn)}")
    assert page.run(cells) == whole
    assert page.run("document.getElementById('filtered').hidden")
    assert page.errors == []


def test_wide_windows_have_two_columns_and_one_scroll_bar(page: Browser) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=1800, height=900, deviceScaleFactor=1, mobile=False)
    try:
        page.settle()
        left, right = page.run(
            "['leaderboard', 'plots'].map((id) => document.getElementById(id).getBoundingClientRect())"
            ".map((r) => [r.left, r.right, r.top])"
        )
        assert left[1] < right[0]
        assert left[2] == right[2]
        assert page.run("document.documentElement.scrollWidth") == 1800
        board = "document.querySelector('.board').closest('.wide')"
        assert page.run(f"{board}.scrollWidth <= {board}.clientWidth")
        region = "document.querySelector('#runs').closest('.wide')"
        assert (
            page.run(f"{region}.scrollHeight <= {region}.clientHeight && getComputedStyle({region}).overflow")
            == "visible"
        )
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")


def test_the_leaderboard_comes_first_and_facts_are_folded_after_it(page: Browser) -> None:
    tables = page.run("[...document.querySelectorAll('#report table caption')].map((c) => c.firstChild.data)")
    assert tables[:3] == ["Leaderboard, suite load", "Leaderboard, by family", "How these results were made"]
    assert not page.run("document.getElementById('made').open")
    heads = page.run("[...document.querySelector('.board').tHead.rows[0].cells].map((c) => c.textContent)")
    assert heads[1:6] == ["solver", "score", "solved [95%]", "verified", "falsified"]
    assert heads[-3:] == ["PAR-2 (s)", "fastest on", "alone solves"]
    page.click("a[href='#terms']")
    assert page.run("document.getElementById('terms').open")
    assert page.focused().startswith("What the words mean")


def test_what_is_trusted_stands_at_the_top(page: Browser, hostile_dir: Path) -> None:
    assert page.run("document.querySelector('#overview').innerText").startswith(
        "No wrong answers and no disagreements"
    )
    page.open((hostile_dir / "index.html").as_uri())
    told = page.run("document.querySelector('#overview .alarm').innerText")
    assert "2 wrong answers" in told
    assert "instances with disagreements" in told
    page.click("#overview a[href='#wrong']")
    assert page.focused() == "Wrong answers"


def test_no_row_is_said_in_the_table_too(page: Browser) -> None:
    page.click("#filter")
    page.press(*"nothing at all")
    assert shown(page, "instance") == [
        f"No run matches these filters; Clear filters shows all {RECORDS} again."
    ]
    page.click("#clear")
    assert len(shown(page, "instance")) == 100


@pytest.mark.parametrize("view", ["", "#instance/0000000000000001"])
def test_a_narrow_window_scrolls_tables_and_not_the_page(page: Browser, view: str) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=True)
    try:
        page.run(f"location.hash = {view!r}")
        page.settle()
        page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        page.settle()
        assert page.run("document.documentElement.scrollWidth") == 360
        # The solver stays in sight while its row is scrolled.
        table = "#instance .runs" if view else ".board"
        page.run(f"table = document.querySelector('{table}'); table.closest('.wide').scrollLeft = 999")
        moved = page.run(
            "[table.closest('.wide').scrollLeft, table.closest('.wide').getBoundingClientRect().left,"
            "table.querySelector('tbody th').getBoundingClientRect().left]"
        )
        assert moved[0] > 0
        assert abs(moved[1] - moved[2]) < 1
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")


def test_a_table_shows_its_entries_by_name_with_bars(browser: Browser, hostile_dir: Path) -> None:
    browser.media()
    browser.open((hostile_dir / "index.html").as_uri() + "#instance/box-1")
    cells = browser.run(
        "[...document.querySelectorAll('#instance .entries tbody tr')]"
        ".map((r) => [...r.querySelectorAll('th, .amount')].map((c) => c.textContent))"
    )
    assert cells[0][0].startswith("</script>")
    assert [[float(v) for v in row[1:]] for row in cells] == [
        [0.5, 0.25, -0.25, 2, -1, -3],
        [0, 0.5, 0.5, 1, 4, 3],
    ]
    bars = "[...document.querySelectorAll('#instance .entries tbody tr:first-child rect')]"
    assert [float(x) for x in browser.run(f"{bars}.map((bar) => bar.getAttribute('x'))")] == [
        30,
        30,
        15,
        30,
        22.5,
        7.5,
    ]
    told = browser.run("document.querySelector('#instance h3 + p').textContent")
    assert "Out of the top 1:" in told
    framed = "[...document.querySelectorAll('#instance .framed')].map((cell) => cell.textContent)"
    assert browser.run(framed) == ["2 in the top 1", "4 in the top 1"]


def test_a_screen_reader_is_told_the_same(page: Browser) -> None:
    page.click("#runs th[data-name=wall_s] button")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    named = {(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]}
    assert ("table", "One row per run; a column's heading sorts by it") in named
    assert ("searchbox", "Text in any column") in named
    assert ("combobox", "solver") in named
    pictures = [name for role, name in named if role == "image"]
    assert any(name.startswith("Runs solved against wall time") for name in pictures)
    assert {"status", "navigation", "main", "search"} <= {role for role, _ in named}


@pytest.mark.parametrize(
    ("view", "scheme"),
    [
        ("#results?size=50", "light"),
        ("#results?size=50", "dark"),
        ("#instance/0000000000000001", "light"),
        ("#instance/0000000000000001", "dark"),
        ("#results?q=nothing+at+all", "dark"),
        ("#results?network=net-16&outcome=falsified", "light"),
        ("#results?network=net-16", "dark"),
        ("narrow", "light"),
    ],
)
def test_axe_finds_no_violation(page: Browser, view: str, scheme: str) -> None:
    source = axe_source()
    if source is None:
        pytest.skip("no axe-core: it comes from the npm registry")
    page.media(scheme=scheme)
    if view == "narrow":
        page.run("location.hash = '#results?size=50'")
        page.call(
            "Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=True
        )
    else:
        page.run(f"location.hash = {view!r}")
    page.settle()
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.settle()
    page.run(source + "; 0")
    try:
        assert page.run(VIOLATIONS) == []
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", ["", "#instance/box-1"])
def test_axe_finds_no_violation_where_answers_are_wrong(
    browser: Browser, hostile_dir: Path, view: str, scheme: str
) -> None:
    source = axe_source()
    if source is None:
        pytest.skip("no axe-core: it comes from the npm registry")
    browser.media(scheme=scheme)
    browser.open((hostile_dir / "index.html").as_uri() + view)
    browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    browser.run(source + "; 0")
    assert browser.run(VIOLATIONS) == []


def test_print_unfolds_and_leaves_the_controls_out(page: Browser) -> None:
    page.media(kind="print", scheme="dark")
    page.run("dispatchEvent(new Event('beforeprint'))")
    visible = "(s) => document.querySelector(s).getClientRects().length > 0"
    assert page.run(f"['header nav', '#filters', '#pager', '.skip'].filter({visible})") == []
    assert page.run("document.querySelectorAll('details:not([open])').length") == 0
    assert page.run("document.querySelector('#made table').getClientRects().length") > 0
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.run("dispatchEvent(new Event('afterprint'))")
    assert page.run("document.querySelectorAll('details[open]:not(#filters *)').length") == 0
    printed = base64.b64decode(page.call("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF-")


def test_a_printed_instance_has_its_numbers(page: Browser) -> None:
    page.run("location.hash = '#instance/0000000000000001'")
    page.wait("!document.getElementById('instance').hidden")
    numbers = "document.querySelectorAll('#instance details .numbers tbody tr').length"
    assert page.run(f"(() => {{ dispatchEvent(new Event('beforeprint')); return {numbers}; }})()") == 128


def test_rows_are_saved_as_csv(page: Browser, results: pd.DataFrame, tmp_path: Path) -> None:
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    choose(page, "#filter-solver", "=solver-e")
    page.click("#save")
    for _ in range(200):
        if (tmp_path / "results.csv").exists():
            break
        page.settle()
    with (tmp_path / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    wanted = results[results["solver"] == "solver-e"]
    assert [row["instance"] for row in rows] == wanted["instance"].tolist()
    assert [float(row["wall_s"]) for row in rows] == wanted["wall_s"].round(3).tolist()


def test_without_scripts_the_leaderboard_is_there(browser: Browser, report_dir: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.call("Page.navigate", url=(report_dir / "index.html").as_uri())
        browser.wait("document.readyState === 'complete' && document.querySelector('noscript p') !== null")
        assert browser.run("document.querySelectorAll('#leaderboard tbody tr').length") > 10
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_nothing_hostile_becomes_markup(browser: Browser, hostile_dir: Path) -> None:
    browser.media()
    browser.errors.clear()
    browser.open((hostile_dir / "index.html").as_uri())
    for view in ("", "#instance/box-1"):
        browser.run(f"location.hash = '{view}'")
        browser.settle()
        browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert browser.run("typeof hacked") == "undefined"
        assert browser.run("document.querySelectorAll('img, iframe, [onerror]').length") == 0
        text = browser.run("document.querySelector('main').textContent")
        assert "</script><img src=x onerror=hacked=1>" in text
        assert not {"\x1b", "\u202e"} & set(text)
    assert browser.errors == []
