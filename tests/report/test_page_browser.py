"""The page in a real browser: nothing fetched, no error, hover, sort and filter work, at two widths, dark and light."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import roofline as rf

pytest.importorskip("plotly")
webdriver = pytest.importorskip("selenium.webdriver")
exceptions = pytest.importorskip("selenium.common.exceptions")
ui = pytest.importorskip("selenium.webdriver.support.ui")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs Chromium and chromedriver")

NAME = "<b onmouseover=alert(1)>net</b>"
WIDTHS, SCHEMES = (1280, 400), ("light", "dark")


@pytest.fixture(scope="module")
def report() -> rf.Report:
    return rf.simulate("efficientnet-x-b0", "tpu-v3", batch=128)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("profile")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
    for flag in (*flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        found = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    except exceptions.SessionNotCreatedException as error:
        pytest.skip(f"the browser does not start here: {str(error.msg).splitlines()[0]}")
    found.get("about:blank")
    found.get_log("performance")
    yield found
    found.quit()


@pytest.fixture(scope="module")
def place(report: rf.Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.save(tmp_path_factory.mktemp("page") / "report.html")


def show(driver: Any, place: Path, width: int = 1280, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    driver.get(place.as_uri())
    assert js(driver, "document.documentElement.dataset.ready") == "yes"


def js(driver: Any, expression: str) -> Any:
    return driver.execute_script(f"return {expression}")


def column(driver: Any, number: int, table: str = "kernel-table") -> list[str]:
    rows = f"[...document.getElementById('{table}').tBodies[0].rows].filter(row => !row.hidden)"
    return list(js(driver, f"{rows}.map(row => row.cells[{number}].textContent)"))


def requests(driver: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_error_no_request_no_overflow(driver: Any, place: Path, width: int, scheme: str) -> None:
    show(driver, place, width, scheme)
    assert driver.get_log("browser") == []
    assert {url for url in requests(driver) if not url.startswith("data:")} == {place.as_uri()}
    driver.execute_script("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert js(driver, "document.documentElement.scrollWidth <= innerWidth")
    for box in js(
        driver, "[...document.querySelectorAll('.figure, h1, h2, p')].map(e => [e.scrollWidth, e.offsetTop])"
    ):
        assert box[0] <= width
    tall = js(driver, "[...document.querySelectorAll('.figure')].map(e => [e.clientHeight, e.scrollHeight])")
    assert all(inside <= box for box, inside in tall), "a figure runs over what follows it"
    remarks = "[...document.querySelectorAll('.facts td:last-child')].filter(cell => cell.textContent.length > 20)"
    assert min(js(driver, f"{remarks}.map(cell => cell.clientWidth)")) > 100, "a remark has a letter per line"


def luminance(colour: str) -> float:
    """Return the relative luminance of ``rgb(r, g, b)`` (WCAG 2)."""
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_words_stand_out_in_both_themes(driver: Any, place: Path, scheme: str) -> None:
    show(driver, place, scheme=scheme)
    paper = luminance(js(driver, "getComputedStyle(document.body).backgroundColor"))
    assert (paper < 0.2) == (scheme == "dark")
    for selector, property_name in {
        "h1": "color",
        "p": "color",
        "td": "color",
        "a": "color",
        ".xtick text": "fill",
    }.items():
        ink = luminance(js(driver, f"getComputedStyle(document.querySelector('{selector}')).{property_name}"))
        high, low = max(ink, paper), min(ink, paper)
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"contrast of {selector} (WCAG 2, AA)"


def test_figures_follow_the_theme_without_reloading(driver: Any, place: Path) -> None:
    show(driver, place, scheme="light")
    before = js(driver, "getComputedStyle(document.querySelector('.xtick text')).fill")
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    changed = f"getComputedStyle(document.querySelector('.xtick text')).fill !== '{before}'"
    wait(driver, changed)


def wait(driver: Any, condition: str) -> None:
    ui.WebDriverWait(driver, 10).until(lambda d: js(d, condition))


def test_hovering_a_bubble_names_the_kernel(driver: Any, place: Path, report: rf.Report) -> None:
    show(driver, place)
    bubble = driver.find_element("css selector", "#roofline .scatterlayer .points path.point")
    webdriver.ActionChains(driver).scroll_to_element(bubble).move_to_element(bubble).perform()
    wait(driver, "document.querySelector('#roofline .hovertext') !== null")
    words = js(driver, "document.querySelector('#roofline .hovertext').textContent")
    assert "of the latency" in words and any(bound in words for bound in report.bound_shares)


def test_heads_sort_by_value(driver: Any, place: Path, report: rf.Report) -> None:
    show(driver, place)
    heads = driver.find_elements("css selector", "#kernel-table thead button")
    titles = [head.text for head in heads]
    time, name = titles.index("time µs"), titles.index("kernel")
    slowest = report.kernels.sort_values("time_s", ascending=False, kind="stable")["kernel"]
    driver.execute_script("arguments[0].click()", heads[time])
    assert column(driver, name)[:20] == list(slowest)[:20]
    assert js(driver, "document.querySelector('#kernel-table [aria-sort]').ariaSort") == "descending"
    driver.execute_script("arguments[0].click()", heads[time])
    assert float(column(driver, time)[0].replace(",", "")) == pytest.approx(
        report.kernels["time_s"].min() * 1e6, rel=1e-2
    )
    driver.execute_script("arguments[0].click()", heads[titles.index("no.")])
    driver.execute_script("arguments[0].click()", heads[titles.index("no.")])
    assert column(driver, name) == list(report.kernels["kernel"])


def test_the_filter_keeps_rows_with_all_words(driver: Any, place: Path, report: rf.Report) -> None:
    show(driver, place)
    box = driver.find_element("css selector", "input[type=search]")
    box.send_keys("depthwise vector")
    wanted = report.kernels.query("kind == 'depthwise' and bound == 'vector'")
    assert column(driver, 1) == list(wanted["kernel"])
    said = js(driver, "document.querySelector('.tool output').value")
    share = f"{100 * wanted['share'].sum():.1f}"
    assert said == f"{len(wanted)} of {len(report.kernels)} rows, {share} % of the latency"
    driver.execute_script("arguments[0].value = ''; arguments[0].dispatchEvent(new Event('input'))", box)
    assert len(column(driver, 1)) == len(report.kernels)


def test_the_waterfall_of_a_stage(driver: Any, place: Path, report: rf.Report) -> None:
    show(driver, place)
    choice = ui.Select(driver.find_element("id", "waterfall-of"))
    choice.select_by_visible_text("stage s1")
    times_ms = js(driver, "document.querySelector('[data-figure=waterfalls]').data[0].x")
    assert sum(times_ms) == pytest.approx(report.kernels.query("stage == 's1'")["time_s"].sum() * 1e3, rel=1e-9)


def test_a_name_with_markup_is_shown_as_written(driver: Any, tmp_path: Path) -> None:
    b = rf.GraphBuilder(NAME)
    x = b.linear(b.input("x", (8, 64)), 64, name=NAME)
    place = rf.simulate(b.graph([b.relu(x)]), "v100").save(tmp_path / "evil.html")
    show(driver, place)
    assert driver.get_log("browser") == []
    assert NAME in js(driver, "document.querySelector('h1').textContent")
    assert NAME in column(driver, 1)
    assert js(driver, "document.querySelectorAll('[onmouseover], b').length") == 0
