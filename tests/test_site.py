"""The built site, in a real browser. `make book` builds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import site_checks
from tlutils import chooser

pytestmark = pytest.mark.site

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
TOC = ROOT / "_toc.yml"
PAGES = [f"{name}.html" for name in site_checks.toc_files(TOC)]
CHAPTERS = [page for page in PAGES if page.startswith("chapters/")]
API, NUMBERS = ([page for page in PAGES if page.startswith(f"book/{part}/")] for part in ("api", "numbers"))
OPENED = [*PAGES, "search.html", "genindex.html"]


@pytest.fixture(scope="module")
def site():
    """The folder of the built site."""
    if not SITE.is_dir():
        pytest.skip("there is no built site in _build/html; make book builds it")
    return SITE


@pytest.fixture(scope="module")
def parsed(site):
    """Every page of the site, parsed once for the tests of the files, which stand together."""
    return site_checks.parse(site)


@pytest.fixture(scope="module")
def address(site):
    """The site, served on loopback."""
    with site_checks.serve(site) as address:
        yield address


@pytest.fixture
def open_page(browser, address):
    """Open a page of the site in a window of its own; return the page."""
    opened = []

    def open_one(name: str, **options: object):
        page = site_checks.new_page(browser, **{"viewport": {"width": 1280, "height": 900}, **options})
        opened.append(page)
        page.goto(f"{address}/{name}")
        site_checks.settle(page)
        return page

    yield open_one
    for page in opened:
        page.close()


@pytest.fixture(scope="module", params=CHAPTERS)
def chapter_page(browser, address, request):
    """A chapter, opened once for all tests of what moves on it; pytest runs these one after the other."""
    page = site_checks.new_page(browser, viewport={"width": 1280, "height": 900})
    page.goto(f"{address}/{request.param}")
    site_checks.settle(page)
    yield page
    page.close()


def test_an_equation_that_the_book_s_mathjax_cannot_render_is_found(open_page):
    page = open_page("book/notation.html")
    assert page.evaluate(site_checks.UNRENDERED) == []

    page.evaluate("() => { document.querySelector('.math').textContent = '\\\\(\\\\oops_{x}\\\\)'; }")
    page.evaluate("() => MathJax.typesetPromise()")

    faults = page.evaluate(site_checks.UNRENDERED)
    assert any("Undefined control sequence" in fault for fault in faults)


def test_every_page_of_the_contents_has_html(site):
    assert site_checks.missing_pages(TOC, site) == []


def test_no_link_or_anchor_is_broken(site, parsed):
    assert site_checks.broken_links(site, parsed) == []


def test_every_image_has_text(site, parsed):
    assert site_checks.images_without_text(site, parsed) == []


def views(page: str) -> list[tuple[int, str]]:
    """Return the widths and schemes in which a page is looked at."""
    # The pages of the API are one page with other docstrings, those of the numbers one with other runs: what
    # is too wide shows in the narrow window, and one of them shows the colours of the other scheme.
    seen = [(360, "dark")] if page in API[1:] + NUMBERS[1:] else [(360, "dark"), (1600, "light")]
    # Width and colours have nothing to do with each other; three pages show that it stays so.
    return seen + [(360, "light"), (1600, "dark")] * (page in (PAGES[0], *CHAPTERS[:2]))


@pytest.mark.parametrize("page", OPENED)
def test_the_browser_finds_no_fault(browser, address, page):
    faults = site_checks.browser_faults(browser, f"{address}/{page}", views(page))

    assert {kind: found for kind, found in faults.items() if found} == {}


def test_every_page_names_its_language(site):
    for page in [*OPENED, "index.html"]:
        start = (site / page).read_text(encoding="utf-8")[:400]
        assert re.search(r"<html[^>]* lang=\"en\"", start), page


@pytest.mark.parametrize("page", [PAGES[0], CHAPTERS[0], "search.html"])
@pytest.mark.parametrize("width", [360, 1600])
def test_there_is_one_search_field(open_page, page, width):
    opened = open_page(page, viewport={"width": width, "height": 900})

    fields = opened.locator("input[type=search]")
    assert fields.count() == 1


def test_the_search_finds_a_term_without_a_network(open_page):
    page = open_page(PAGES[0])
    page.locator("input[type=search]").fill("covariate shift")
    page.keyboard.press("Enter")

    found = page.locator("#search-results ul li a", has_text="Glossary").first
    found.wait_for()
    assert re.split("[?#]", found.get_attribute("href"))[0].endswith("book/glossary.html")


def test_the_root_leads_to_the_landing_page(open_page):
    page = open_page(PAGES[0])

    page.goto(page.url.replace(PAGES[0], ""))
    page.wait_for_url(f"**/{PAGES[0]}")

    assert page.locator("h1").first.inner_text().startswith("Transfer learning")


def test_the_first_stop_of_the_keyboard_is_the_skip_link(open_page):
    page = open_page(PAGES[0])
    page.keyboard.press("Tab")

    focused = page.locator(":focus")
    assert focused.get_attribute("href") == "#main-content"
    assert focused.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"


def test_the_colour_mode_can_be_switched(open_page):
    page = open_page(PAGES[0], color_scheme="light")

    def background() -> str:
        return page.evaluate("() => getComputedStyle(document.body).backgroundColor")

    before = background()
    while page.evaluate("() => document.documentElement.dataset.mode") != "dark":
        page.locator(".theme-switch-button").first.press("Enter")

    assert background() != before


def test_the_colours_follow_those_of_the_system(open_page):
    page = open_page(PAGES[0], color_scheme="light")
    theme = "() => document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "light"

    page.emulate_media(color_scheme="dark")

    page.wait_for_function(f"({theme})() === 'dark'")


@pytest.mark.parametrize("name", [PAGES[0], CHAPTERS[0]])
def test_a_page_is_printed_in_the_colours_of_paper(open_page, name):
    page = open_page(name, color_scheme="dark")
    theme = "() => document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"

    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav.bd-links").is_visible()

    page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(theme) == "dark"


def test_screen_readers_are_given_the_mathematics(open_page):
    page = open_page("book/notation.html")

    assert page.locator("mjx-assistive-mml").count() == page.locator("mjx-container").count() > 0


def test_a_lab_is_moved_by_the_keyboard(chapter_page):
    labs = chapter_page.locator(".tl-lab")
    assert labs.count() > 0

    for lab in labs.all():
        slider, frame = lab.locator("input[type=range]").first, lab.locator(".tl-lab-frame")
        before = frame.get_attribute("src"), lab.locator(".tl-lab-says").inner_text()
        slider.focus()
        slider.press("End" if slider.input_value() != slider.get_attribute("max") else "Home")
        assert frame.get_attribute("src") != before[0]
        assert lab.locator(".tl-lab-says").inner_text() != before[1]
        assert slider.get_attribute("aria-valuetext") == lab.locator("output").first.inner_text()


def test_a_quiz_gives_a_reason_for_every_option(chapter_page):
    questions = chapter_page.locator("fieldset.tl-quiz")
    assert questions.count() > 0

    for question in questions.all():
        button, status = question.locator("button"), question.locator("[role=status] p:visible")
        button.press("Enter")
        assert status.inner_text() == "Choose an answer first."
        verdicts = []
        for option in question.locator("input").all():
            option.check()
            button.press("Enter")
            verdicts.append(status.inner_text().split(".")[0])
        assert verdicts.count("Correct") == 1
        assert verdicts.count("Not quite") == len(verdicts) - 1


def test_the_method_chooser_answers_to_the_keyboard(open_page):
    page = open_page("chapters/method_families.html")
    questions = page.locator(".tl-chooser fieldset").all()

    for question in questions:
        question.locator("input:checked").focus()
        for _ in range(question.locator("input").count() + 1):  # once round, and on to another answer
            page.keyboard.press("ArrowDown")
            chosen = [each.locator("input:checked").get_attribute("value") for each in questions]
            method = chooser.choose(dict(zip(chooser.QUESTIONS, chosen, strict=True)))
            shown = page.locator(".tl-chooser [data-method]:visible").all()
            assert [answer.get_attribute("data-method") for answer in shown] == [method]


def test_a_printed_sentence_is_wrapped_and_a_printed_table_is_not(chapter_page):
    printed = chapter_page.locator(".cell_output pre")
    is_cut = (
        "boxes => boxes.filter(b => !b.querySelector('.tl-row') && b.scrollWidth > b.clientWidth + 1).length"
    )
    tops = "new Set([...row.getClientRects()].map(box => box.top))"
    is_torn = f"rows => rows.filter(row => {tops}.size > 1).length"

    assert printed.count() > 0
    assert printed.evaluate_all(is_cut) == 0
    assert chapter_page.locator(".tl-row").evaluate_all(is_torn) == 0


def test_hints_and_solutions_are_folded_and_open(chapter_page):
    solutions = chapter_page.locator("div.solution.dropdown")
    exercises = chapter_page.locator("div.exercise").count()
    assert solutions.count() == exercises > 0
    assert chapter_page.locator("details.sd-dropdown").count() >= 2 * exercises

    for solution in solutions.all():
        body = solution.locator(".section, .toggle-details__container, > *:not(.admonition-title)").first
        assert not body.is_visible()
        solution.locator("button").first.press("Enter")
        assert body.is_visible()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_can_be_opened_in_colab_and_downloaded(site, chapter):
    url = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    slug, notebook = url.removeprefix("https://github.com/"), chapter.replace(".html", ".ipynb")
    links = [link["href"] for link in site_checks.soup(site / chapter).find_all("a", href=True)]

    assert links.count(f"https://colab.research.google.com/github/{slug}/blob/main/{notebook}") == 1
    assert sum(link.endswith(f"_sources/{notebook}") for link in links) == 1
