"""Reports opened in a real browser, as they are on the disk: they draw, and ask for nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from batchkms.loadtest.report import render_loadtest
from batchkms.reporting.batchfigures import read_batch
from batchkms.reporting.html.batch import render_batch
from tests.loadtest.samples import FAILED, HELD, calls, record
from tests.loadtest.test_report import HOSTILE, counted, with_errors
from tests.reporting.browser import BROWSERS, Page, browser_path, opened_browser
from tests.reporting.test_batch_report import run_of

pytestmark = pytest.mark.skipif(
    browser_path() is None, reason=f"no browser is installed: none of {', '.join(BROWSERS)}"
)


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with opened_browser(tmp_path / "profile") as opened:
        yield opened


def _reports(folder: Path) -> dict[Path, list[str]]:
    """Reports of every kind, and the plots that must be in each."""
    hostile = record(invalid=[HOSTILE], settings={HOSTILE: HOSTILE}, slos=[HELD, FAILED])
    over_time = ["latency", "percentiles", "throughput"]
    loadtests = {
        "errors.html": (with_errors(), [hostile], [*over_time, "errors"]),
        "one.html": (list(calls(1)), [record(), record(target_rate=50.0)], over_time),
        "empty.html": ([], [record(state="interrupted")], []),
    }
    made = {}
    for name, (sample, records, plots) in loadtests.items():
        html = render_loadtest(counted(sample), records, HOSTILE)
        (folder / name).write_text(html, encoding="utf-8")
        made[folder / name] = plots
    html = render_batch(read_batch(str(run_of(folder))), "a batch run")
    (folder / "batch.html").write_text(html, encoding="utf-8")
    made[folder / "batch.html"] = ["rate", "percentiles", "attempts"]
    return made


_DRAWN = """
[...document.querySelectorAll(".plot")].map((place) => {
  const shown = place.querySelector("svg.main-svg");
  const box = shown ? shown.getBoundingClientRect() : { width: 0, height: 0 };
  const marks = [...place.querySelectorAll(
    "path.js-line, .trace.bars path, .scatterlayer .points path"
  )];
  const drawn = marks.filter((mark) => {
    const path = mark.getBBox();
    return mark.getAttribute("d") && (path.width > 0 || path.height > 0);
  });
  return [place.id, box.width, box.height, drawn.length, place.querySelectorAll(".trace").length];
})
"""

_SIZES = "[document.documentElement.scrollWidth, innerWidth]"


async def test_reports_draw_every_plot_and_ask_for_nothing(page: Page, tmp_path: Path) -> None:
    reports = _reports(tmp_path)
    for path, plots in reports.items():
        await page.open(path)
        drawn = await page.value(_DRAWN)
        assert [name for name, *_ in drawn] == plots, path.name
        for name, width, height, marks, traces in drawn:
            assert width > 300 and height > 200, (path.name, name)
            assert marks >= traces > 0, (path.name, name)
        assert await page.value("document.title") == await page.value(
            "document.querySelector('h1').textContent"
        )
        assert await page.value("document.querySelectorAll('img, iframe, a[href]').length") == 0
    assert page.problems == []
    asked = [url for url in page.requests if not url.startswith(("data:", "blob:"))]
    assert asked == [path.as_uri() for path in reports]

    # The policy is what keeps a script from running that got onto a page after all.
    await page.value(
        "document.body.append(Object.assign(document.createElement('script'), "
        "{textContent: 'window.ran = true'}))"
    )
    assert await page.value("window.ran") is None
    refused = await page.value("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")
    assert refused == "refused" and any("Security" in each for each in page.problems)


async def test_a_report_fits_a_telephone_a_dark_screen_and_paper(
    page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    html = render_loadtest(counted(with_errors()), [record()], "a test")
    path.write_text(html, encoding="utf-8")
    await page.call(
        "Emulation.setDeviceMetricsOverride",
        width=400,
        height=800,
        deviceScaleFactor=1,
        mobile=True,
    )
    await page.open(path)
    scrolled, shown = await page.value(_SIZES)
    assert scrolled <= shown == 400
    text = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    light = await page.value(text)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    await page.call("Emulation.setEmulatedMedia", features=dark)
    # Drawn anew by an event of the page's, which comes with its next frame.
    frame = "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"
    await page.value(f"{frame}.then(() => 0)")
    assert await page.value(text) != light
    await page.value("dispatchEvent(new Event('beforeprint')), 0")
    assert await page.value(text) == light
    await page.value("dispatchEvent(new Event('afterprint')), 0")
    assert await page.value(text) != light
    assert page.problems == []
