"""In a real browser: a rater from the first page to the result, with keys, clicks, taps, reloads and two tabs."""

from __future__ import annotations

import pytest
from chromium import CONTRAST, OVERFLOW, chromium, installed
from small_study import run_through

from synthreal.turing.answers import FILE
from synthreal.turing.summary import summarise

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

GUARD_MS = 320  # a little more than the page waits before it takes an answer
LINES = """cells => cells.map(cell => {
    const text = document.createRange();
    text.selectNodeContents(cell);
    return new Set([...text.getClientRects()].map(box => box.top)).size;
})"""

pytestmark = installed


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def tab(browser):
    """``tab(**options)``: a page in its own context; a message in the console or a failed request fails the test."""
    contexts, logged = [], []

    def watched(page):
        page.set_default_timeout(10_000)
        page.on("console", lambda message: logged.append(message.text))
        page.on("pageerror", lambda error: logged.append(str(error)))
        page.on("requestfailed", lambda request: logged.append(f"failed: {request.url}"))
        return page

    def opened(beside=None, **options):
        if beside is None:
            contexts.append(browser.new_context(**options))
        page = watched((contexts[-1] if beside is None else beside.context).new_page())
        page.logged = logged
        return page

    yield opened
    for context in contexts:
        context.close()
    assert logged == []


def number(page, text):
    """Wait until the page shows this image's number and takes an answer to it."""
    playwright.expect(page.locator("#count")).to_have_text(text)
    page.wait_for_timeout(GUARD_MS)


def overflow(page):
    """Pixels by which the page is wider than its window."""
    return page.evaluate(OVERFLOW)


def start(page, site, name="Ada"):
    page.goto(site.url)
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Start").click()


def test_a_rater_goes_from_the_first_page_to_the_result_with_keys_and_clicks(make, serve, recorded, tab):
    study = make()
    run_through(study, "Bob", 5)
    page = tab()
    start(page, serve(study))
    acts = [
        (lambda: page.keyboard.press("r"), "real"),
        (lambda: page.get_by_role("button", name="Synthetic").click(), "synthetic"),
        (lambda: page.keyboard.press("ArrowLeft"), "real"),
        (lambda: page.keyboard.press("S"), "synthetic"),
        (lambda: page.get_by_role("button", name="Real", exact=False).click(), "real"),
        (lambda: page.keyboard.press("ArrowRight"), "synthetic"),
    ]
    for done, (act, _) in enumerate(acts):
        number(page, f"{done + 1} / 6")
        assert page.locator("#progress").evaluate("bar => [bar.value, bar.max]") == [done, 6]
        assert page.locator(".tiles img").evaluate_all("all => all.filter(one => one.naturalWidth).length") == 20
        act()
    page.wait_for_url("**/result?rater=Ada")
    mine = [line for line in recorded() if line["rater"] == "Ada"]
    assert [line["answer"] for line in mine] == [choice for _, choice in acts]
    assert all(GUARD_MS / 1000 - 0.1 < line["seconds"] < 10 for line in mine)

    result = summarise(study.answers.read())
    own = next(entry for entry in result["raters"] if entry["rater"] == "Ada")
    shown = [
        [int(cell) for cell in table.locator("td").all_inner_texts()[1:]] for table in page.locator(".matrix").all()
    ]
    for numbers, entry in zip(shown, (own, result["total"]["refined"]), strict=True):
        assert numbers == [entry["confusion"][truth][choice] for truth in ("real", "refined")
                           for choice in ("real", "synthetic")]  # fmt: skip
    assert page.locator("#correct").inner_text() == f"{own['correct']} of 6"
    assert page.locator("#accuracy").inner_text() == f"{100 * own['accuracy']:.1f} %"
    assert page.locator("#p").inner_text() == f"{own['p']:.3f}"
    assert page.locator(".raters tbody th").all_inner_texts() == ["Bob", "Ada"]


def test_reload_double_click_and_a_held_key_lose_and_add_no_answer(make, serve, recorded, tab):
    page = tab()
    start(page, serve(make()))
    number(page, "1 / 6")
    before = page.locator("#image").get_attribute("src")
    page.reload()
    number(page, "1 / 6")
    assert page.locator("#image").get_attribute("src") == before
    page.get_by_role("button", name="Synthetic").dblclick()
    number(page, "2 / 6")
    page.reload()
    number(page, "2 / 6")
    for _ in range(8):  # pressed once, then repeated until it is let go
        page.keyboard.down("r")
        page.wait_for_timeout(60)
    page.keyboard.up("r")
    number(page, "3 / 6")
    page.get_by_role("button", name="Real").focus()
    for _ in range(8):
        page.keyboard.down("Enter")
        page.wait_for_timeout(60)
    page.keyboard.up("Enter")
    number(page, "4 / 6")
    page.keyboard.press("Control+s")
    page.keyboard.press("x")
    page.evaluate(
        """() => {
            const click = () => document.querySelector("[data-answer=real]").click();
            const count = document.getElementById("count");
            new MutationObserver(() => setTimeout(click)).observe(count, { childList: true });
            for (let i = 0; i < 9; i++) click();
        }"""
    )  # nine clicks at once, and one the moment the next image appears
    number(page, "5 / 6")
    assert [line["answer"] for line in recorded()] == ["synthetic", "real", "real", "real"]


def test_two_tabs_of_a_rater_show_one_study(make, serve, recorded, tab):
    site = serve(make(images=2))
    one = tab()
    start(one, site)
    number(one, "1 / 4")
    other = tab(beside=one)
    other.goto(one.url)
    number(other, "1 / 4")
    one.keyboard.press("r")
    number(one, "2 / 4")
    other.keyboard.press("s")  # of the image it still shows, which has its answer
    number(other, "2 / 4")
    assert [line["answer"] for line in recorded()] == ["real"]
    other.keyboard.press("s")
    number(other, "3 / 4")
    one.evaluate("window.dispatchEvent(new Event('focus'))")  # looked at again, it asks where the rater is
    number(one, "3 / 4")
    for done in range(2, 4):
        one.keyboard.press("r")
        if done < 3:
            number(one, f"{done + 2} / 4")
    one.wait_for_url("**/result?rater=Ada")
    other.keyboard.press("s")
    other.wait_for_url("**/result?rater=Ada")
    assert len(recorded()) == 4


def test_the_page_continues_after_a_restart_of_the_server(make, serve, recorded, tab):
    first = serve(make())
    page = tab()
    start(page, first)
    number(page, "1 / 6")
    page.keyboard.press("r")
    number(page, "2 / 6")
    first.close()
    page.keyboard.press("r")
    page.get_by_text("The server does not respond").wait_for()
    assert all("fail" in line.lower() for line in page.logged)
    page.logged.clear()
    second = serve(make(), first.port)
    page.get_by_role("button", name="Try again").click()
    number(page, "2 / 6")
    assert page.get_by_text("The server does not respond").is_hidden()
    page.keyboard.press("s")
    number(page, "3 / 6")
    second.close()
    serve(make(), first.port)  # while nobody looked: it knows the page's image by another token
    before = page.locator("#image").get_attribute("src")
    page.keyboard.press("r")
    playwright.expect(page.locator("#image")).not_to_have_attribute("src", before)
    number(page, "3 / 6")
    assert any("404" in line for line in page.logged)
    page.logged.clear()
    page.keyboard.press("r")
    number(page, "4 / 6")
    assert [line["answer"] for line in recorded()] == ["real", "synthetic", "real"]


def test_a_path_in_a_message_is_not_capitalised(make, serve, tmp_path, tab):
    site = serve(make())
    page = tab()
    start(page, site)
    number(page, "1 / 6")
    (tmp_path / FILE).mkdir()
    page.keyboard.press("r")
    letter = "message => getComputedStyle(message, '::first-letter').textTransform"
    playwright.expect(page.locator("#reason")).to_contain_text(f"{tmp_path / FILE}: cannot")
    assert page.locator("#reason").evaluate(letter) == "none"
    page.goto(page.url)
    playwright.expect(page.get_by_role("alert")).to_contain_text(f"{tmp_path / FILE}: cannot")
    assert page.get_by_role("alert").evaluate(letter) == "none"
    assert all("500" in line for line in page.logged)
    page.logged.clear()


def test_a_name_in_use_is_reported(make, serve, recorded, tab):
    site = serve(make())
    one = tab()
    start(one, site)
    number(one, "1 / 6")
    one.keyboard.press("r")
    number(one, "2 / 6")
    other = tab(viewport={"width": 390, "height": 844})
    start(other, site)
    playwright.expect(other.get_by_role("alert")).to_contain_text("Ada has judged 1 of 6")
    assert overflow(other) <= 0
    assert other.get_by_role("link", name="Continue").evaluate(CONTRAST) >= 4.5
    other.get_by_label("Your name").fill("Ada the second")
    other.get_by_role("button", name="Start").click()
    number(other, "1 / 6")
    one.goto(site.url)
    start(one, site)
    one.get_by_role("link", name="Continue").click()
    number(one, "2 / 6")


def test_a_request_without_a_response_times_out_and_can_be_repeated(make, serve, recorded, tab):
    page = tab()
    start(page, serve(make()))
    number(page, "1 / 6")
    page.evaluate(
        """() => {
            const real = AbortSignal.timeout.bind(AbortSignal);
            window.waited = [];
            AbortSignal.timeout = (ms) => { waited.push(ms); return real(ms / 5); };
        }"""
    )
    for path, shown, answers in (("**/answer", "1 / 6", 0), ("**/image/*", "2 / 6", 1)):
        page.route(path, lambda route: None)  # taken, and never answered
        page.keyboard.press("r")
        page.get_by_text("The server does not respond").wait_for()
        assert len(recorded()) == answers
        page.unroute(path)
        page.get_by_role("button", name="Try again").click()
        number(page, shown)
        assert page.get_by_text("The server does not respond").is_hidden()
        assert page.locator("#image").evaluate("image => image.complete && image.naturalWidth > 0")
    assert set(page.evaluate("waited")) == {10_000}
    page.logged.clear()
    page.keyboard.press("s")
    number(page, "3 / 6")
    assert [line["answer"] for line in recorded()] == ["real", "synthetic"]


def test_the_pages_fit_a_phone_and_take_taps(make, serve, recorded, tab):
    study = make()
    site = serve(study)
    page = tab(viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True, is_mobile=True)
    page.goto(site.url)
    assert overflow(page) <= 0
    page.get_by_label("Your name").fill("W" * 40)
    page.get_by_role("button", name="Start").tap()
    number(page, "1 / 6")
    assert overflow(page) <= 0
    buttons = [button.bounding_box() for button in page.locator("[data-answer]").all()]
    assert len(buttons) == 2 and all(box["width"] >= 44 and box["height"] >= 44 for box in buttons)
    assert all(box["y"] + box["height"] < 844 for box in buttons)
    wide = page.locator("#image").evaluate("image => image.getBoundingClientRect().width * devicePixelRatio")
    assert wide > 600 and wide % 9 == 0  # every pixel of the image as wide as any other
    page.set_viewport_size({"width": 844, "height": 390})  # turned on its side
    playwright.expect(page.get_by_role("button", name="Real")).to_be_in_viewport(ratio=1)
    playwright.expect(page.locator("#image")).to_be_in_viewport(ratio=1)
    assert page.locator("#image").bounding_box()["height"] > 160 and overflow(page) <= 0
    page.get_by_role("button", name="Real").tap()
    number(page, "2 / 6")
    run_through(study, "W" * 40, 4)
    page.reload()
    page.wait_for_url("**/result?**")
    assert overflow(page) <= 0
    assert len(recorded()) == 6
    numbers = page.locator(".raters td, .raters thead th")
    assert numbers.count() == 7 and set(numbers.evaluate_all(LINES)) == {1}  # no figure is broken in two


def test_light_and_dark_themes_are_readable(make, serve, tab):
    site = serve(make())
    grounds = set()
    for scheme in ("light", "dark"):
        page = tab(color_scheme=scheme)
        start(page, site)
        playwright.expect(page.locator("#count")).to_have_text("1 / 6")
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for place in ("h1", ".quiet", "[data-answer]", "kbd", "figcaption", ".error"):
            assert page.locator(place).first.evaluate(CONTRAST) >= 4.5, (scheme, place)
        page.goto(site.url)
        assert page.locator(".primary").evaluate(CONTRAST) >= 4.5
    assert len(grounds) == 2
