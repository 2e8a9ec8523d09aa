"""The page in a browser, opened from disk: the slider, phones, printing, no console messages."""

from __future__ import annotations

import pytest
from chromium import CONTRAST, OVERFLOW, chromium, installed

from synthreal.report.document import write_report

pytest.importorskip("playwright.sync_api")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

SIZES = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
}

pytestmark = installed


@pytest.fixture(scope="module")
def written(complete, tmp_path_factory):
    """The page of an evaluated run, far from its run directory."""
    return write_report(complete, out=tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser, written, size):
    """The page; a console message or a request for anything but its own file fails the test."""
    context = browser.new_context(**SIZES[size])
    page, messages = context.new_page(), []
    page.set_default_timeout(10_000)
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: request.url.startswith("data:") or messages.append(request.url))
    page.goto(written.as_uri())
    yield page
    context.close()
    assert set(messages) == {written.as_uri()}


def visible_sheet(page):
    """The step of the one visible sheet."""
    (sheet,) = page.locator("[data-sheet]:visible").all()
    assert sheet.evaluate("image => image.complete && image.naturalWidth > 0")
    step = sheet.get_attribute("data-sheet")
    assert page.locator("#step").inner_text() == page.locator("#time").get_attribute("aria-valuetext") == step
    return step


@pytest.mark.parametrize("size", SIZES)
def test_the_slider_selects_a_sheet(page):
    assert visible_sheet(page) == "step 11"
    slider = page.locator("#time")
    slider.focus()
    for key, step in (("ArrowLeft", 8), ("Home", 2), ("ArrowRight", 5), ("End", 11)):
        page.keyboard.press(key)
        assert visible_sheet(page) == f"step {step}"
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
    assert visible_sheet(page) == "step 2"
    page.reload()
    assert visible_sheet(page) == "step 11"


@pytest.mark.parametrize("size", SIZES)
def test_the_page_fits_and_can_be_read(page):
    assert page.evaluate(OVERFLOW) <= 0
    page.locator("summary").click()
    assert page.get_by_text("[data.simulated]").is_visible()
    assert page.evaluate(OVERFLOW) <= 0
    assert page.locator("img").evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")
    for place in ("h1", ".quiet", "nav a", "figcaption", "td", "thead th", "pre", "summary"):
        assert page.locator(place).first.evaluate(CONTRAST) >= 4.5, place
    assert page.locator(".chart img").count() == 4 + 6 + 2
    assert page.locator("#time").bounding_box()["height"] >= 44
    page.emulate_media(media="print")
    assert not page.locator("#controls").is_visible() and not page.locator("nav").is_visible()
    assert page.locator("[data-sheet]:visible").count() == 1


@pytest.mark.parametrize("size", ["desktop"])
def test_one_click_selects_all_commands(page):
    commands = page.locator("#commands")
    commands.click()
    lines = page.evaluate("getSelection().toString()").strip().splitlines()
    assert [line.split()[:2] for line in lines] == [["synthreal", name] for name in ("fit", "evaluate", "report")]
