"""In a real browser, opened from disk: the slider, phones, light and dark, and not a word on the console."""

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
def written(judged, tmp_path_factory):
    """The page of an evaluated run, far from its run directory."""
    return write_report(judged, out=tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(params=list(SIZES))
def size(request):
    return request.param


@pytest.fixture
def page(browser, written, size, scheme):
    """The page; whatever it logs, or asks of anything but its own file, fails the test."""
    context = browser.new_context(color_scheme=scheme, **SIZES[size])
    page, said = context.new_page(), []
    page.set_default_timeout(10_000)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("data:") else None)
    page.goto(written.as_uri())
    yield page
    context.close()
    assert set(said) == {written.as_uri()}


def shown(page):
    """The one sheet on view, and what the page says it is."""
    (sheet,) = page.locator("[data-sheet]:visible").all()
    assert sheet.evaluate("image => image.complete && image.naturalWidth > 0")
    assert page.locator("#step").inner_text() == sheet.get_attribute("data-sheet")
    assert page.locator("#time").get_attribute("aria-valuetext") == sheet.get_attribute("data-sheet")
    return sheet.get_attribute("data-sheet"), sheet.get_attribute("src")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_slider_moves_and_nothing_else_does(page, size):
    last, picture = shown(page)
    assert last == "step 11"
    slider = page.locator("#time")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert shown(page)[0] == "step 8" and shown(page)[1] != picture
    page.keyboard.press("Home")
    assert shown(page)[0] == "step 2"
    page.keyboard.press("ArrowRight")
    assert shown(page)[0] == "step 5"
    page.keyboard.press("End")
    assert shown(page) == (last, picture)
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.click(box["x"] + 3, middle)
    assert shown(page)[0] == "step 2"
    page.mouse.move(box["x"] + 6, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.67, middle, steps=5)
    page.mouse.up()
    assert shown(page)[0] == "step 8"
    later, earlier = (page.get_by_role("button", name=name) for name in ("later", "earlier"))
    (later.tap if size == "phone" else later.click)()
    (later.tap if size == "phone" else later.click)()
    assert shown(page)[0] == "step 11"
    (earlier.tap if size == "phone" else earlier.click)()
    assert shown(page)[0] == "step 8"
    page.reload()
    assert shown(page) == (last, picture)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_can_be_read_and_every_picture_is_there(page, size):
    assert page.evaluate(OVERFLOW) <= 0
    page.locator("summary").click()
    assert page.get_by_text("[data.simulated]").is_visible()
    assert page.evaluate(OVERFLOW) <= 0
    assert page.locator("img").evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")
    for place in (
        "h1",
        ".quiet",
        "nav a",
        "figcaption",
        "td",
        "thead th",
        ".remark",
        "pre",
        "summary",
        ".drawing text",
    ):
        assert page.locator(place).first.evaluate(CONTRAST) >= 4.5, place
    for line in page.locator(".legend line, .arms line").all():
        assert line.evaluate(CONTRAST) >= 3, line.get_attribute("stroke")
    assert page.locator(".drawing:visible").count() == 4 + 6 + 2
    for drawing in page.locator(".drawing:visible").all():
        text = drawing.locator("text").first.evaluate("text => text.getBoundingClientRect().height")
        assert text >= 10, "big enough to read"
    errors = page.locator("#errors-test .drawing:visible").bounding_box()
    assert errors["width"] > 0.85 * page.locator("main").bounding_box()["width"] and errors["height"] > 290
    targets = [button.bounding_box() for button in page.locator("button:visible").all()]
    assert len(targets) >= 2 and all(box["width"] >= 44 and box["height"] >= 44 for box in targets)
    if size == "phone":
        assert page.locator(".arms").first.evaluate("table => table.scrollWidth > table.parentElement.clientWidth")


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light")])
def test_the_commands_are_copied_or_marked(page):
    said = page.locator("#commands").evaluate("box => box.textContent")
    page.get_by_role("button", name="Copy").click()
    page.locator("button", has_text="Press Ctrl-C").or_(page.locator("button", has_text="Copied")).wait_for()
    marked = page.evaluate("getSelection().toString()")
    assert not marked or marked.split() == said.split()
    lines = said.strip().splitlines()
    assert [line.split()[:2] for line in lines] == [["synthreal", name] for name in ("fit", "evaluate", "report")]
    assert all(line == " ".join(line.split()) for line in lines)


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light")])
def test_it_prints(page):
    page.emulate_media(media="print")
    assert not page.locator("#controls").is_visible() and not page.locator("nav").is_visible()
    assert len(page.locator("[data-sheet]:visible").all()) == 1
