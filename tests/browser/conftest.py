"""A report over a synthetic run, and one over hostile names, in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.load.synthetic import synthetic_run
from salver.report.page.material import Material, RunText
from salver.report.page.pictures import DrawnPoint, EntryNames, Pictures
from salver.report.write import report_runs
from tests.browser.chromium import Browser, chromium, executable
from tests.builders import judged_runs

RECORDS = 400
HOSTILE = "</script><img src=x onerror=hacked=1>\x1b[31m\u202e"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = executable()
    if program is None:
        pytest.skip("no Chromium: install it (Debian: apt-get install chromium) or set SALVER_CHROMIUM")
    with chromium(program) as opened:
        yield opened


@pytest.fixture(scope="session")
def report_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("load")
    run_dir = synthetic_run(root, RECORDS, points=6)
    report_runs([run_dir], root, "vnncomp2026")
    return run_dir


@pytest.fixture
def page(browser: Browser, report_dir: Path) -> Browser:
    """The synthetic run's report, freshly loaded in light colours."""
    browser.media()
    browser.errors.clear()
    browser.requests.clear()
    browser.open((report_dir / "index.html").as_uri())
    return browser


@pytest.fixture(scope="session")
def hostile_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in which every name and text from outside tries to become markup or to reorder its line."""
    judged = [
        one.model_copy(
            update={
                "run": one.run.model_copy(
                    update={"solver": one.run.solver + HOSTILE, "instance": one.run.instance + HOSTILE}
                ),
                "judgement": one.judgement.model_copy(update={"detail": HOSTILE}),
            }
        )
        for one in judged_runs.judged()
    ]
    instances = {key: i.model_copy(update={"name": HOSTILE}) for key, i in judged_runs.INSTANCES.items()}
    text = RunText(("sh", HOSTILE), {"A": HOSTILE}, HOSTILE, HOSTILE, (True, False))
    table = Pictures(
        (1, 1, 2), (1, 1, 2), DrawnPoint((0.5, 0.0), (2.0, 1.0), 0, (0,)), True,
        EntryNames((HOSTILE, "b"), (HOSTILE, "other")), DrawnPoint((0.25, 0.5), (-1.0, 4.0), 1, (1,)),
        HOSTILE, "correct", 0.5, 3.0,
    )  # fmt: skip
    material = Material({one.run.key: text for one in judged}, {"box-1": table})
    folder = tmp_path_factory.mktemp("hostile")
    found = judged_runs.loaded(folder, judged, instances, title=HOSTILE)
    return judged_runs.reported(found, material, neurons=dict.fromkeys(instances, 7)).parent
