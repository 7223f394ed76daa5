"""Size and speed of a report's page in headless Chromium: `python -m experiments.load.page INDEX_HTML`."""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

from tests.browser.chromium import Browser, chromium, executable

STARTS = 5
# From the event until the browser has drawn what it changed.
_TIMED = """(async () => {{
  const since = performance.now();
  {action};
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  return performance.now() - since;
}})()"""
_TYPE = (
    "const f = document.getElementById('filter'); f.value = 'falsified';"
    "f.dispatchEvent(new Event('input', {bubbles: true}))"
)
ACTIONS = {
    "sort by wall": "document.querySelector('#runs th[data-name=wall_s] button').click()",
    "sort by instance": "document.querySelector('#runs th[data-name=instance] button').click()",
    "filter by text": _TYPE,
    "next page": "document.getElementById('next').click()",
    "open an instance": "location.hash = document.querySelector('#runs tbody a').getAttribute('href')",
}


def loaded(browser: Browser, address: str) -> dict[str, float]:
    """Milliseconds from the start of navigation until the table is there, and until all pictures are.

    The CPU time is that of the page's own thread for all of it, its start included: it depends little on
    what else runs.
    """
    browser.open(address)
    found = browser.run("['ready', 'whole'].map((name) => Number(document.documentElement.dataset[name]))")
    metrics = browser.call("Performance.getMetrics")["metrics"]
    cpu = 1000 * next(float(one["value"]) for one in metrics if one["name"] == "ThreadTime")
    return {"load": float(found[0]), "with gallery": float(found[1]), "CPU of the page": cpu}


def main() -> None:
    """Prints the median over several loads of every page named, each in a browser of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", type=Path, nargs="+")
    program = executable()
    if program is None:
        raise SystemExit("no Chromium on this machine")
    for page in parser.parse_args().pages:
        times: dict[str, list[float]] = {}
        for _ in range(STARTS):
            with chromium(program) as browser:
                # The tests' browser builds a tree for screen readers, as most readers' does not.
                browser.call("Accessibility.disable")
                browser.call("Performance.enable")
                taken = loaded(browser, page.resolve().as_uri())
                taken |= {name: browser.run(_TIMED.format(action=code)) for name, code in ACTIONS.items()}
                for name, value in taken.items():
                    times.setdefault(name, []).append(value)
                heap = browser.run("performance.memory.usedJSHeapSize") / 1e6
        print(f"{page}: {page.stat().st_size / 1e6:.2f} MB, {heap:.0f} MB of JavaScript heap")
        for name, values in times.items():
            print(f"  {name:18} {median(values):7.0f} ms (worst {max(values):.0f})")


if __name__ == "__main__":
    main()
