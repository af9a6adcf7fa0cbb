"""Every check of the site, against a small site in which its fault is planted."""

from __future__ import annotations

from pathlib import Path

import pytest

import site_checks

pytestmark = pytest.mark.site

PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>A page</title><link rel="icon" href="data:,"></head>
<body><main><h1 id="top">A page</h1>
{body}
</main></body>
</html>"""
SOUND = """<p><a href="other.html#place">There</a>, <a href="#top">up</a>, <a href="https://example.org">out</a>.</p>
<p><img src="dot.svg" alt="A dot"></p>"""
OTHER = '<p id="place">Here.</p>'
DOT = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 2"><circle cx="1" cy="1" r="1"/></svg>'
# Typesets as MathJax does: a container for what renders, an error node for what does not.
TYPESET = """<script>document.querySelectorAll('.math').forEach(node => {
  node.innerHTML = '<mjx-container>' + (node.textContent.includes('oops') ?
    '<mjx-merror data-mjx-error="Undefined control sequence">oops</mjx-merror>' : 'x') + '</mjx-container>';
});</script>"""


def make_site(folder: Path, body: str = SOUND) -> Path:
    """Write a site of two pages and an image."""
    (folder / "page.html").write_text(PAGE.format(body=body), encoding="utf-8")
    (folder / "other.html").write_text(PAGE.format(body=OTHER), encoding="utf-8")
    (folder / "dot.svg").write_text(DOT, encoding="utf-8")
    return folder


def test_a_sound_site_passes_the_checks_of_its_files(tmp_path):
    site = make_site(tmp_path)
    toc = tmp_path / "_toc.yml"
    toc.write_text("root: page\nparts:\n- chapters:\n  - file: other\n", encoding="utf-8")

    assert site_checks.missing_pages(toc, site) == []
    assert site_checks.broken_links(site, site_checks.parse(site)) == []
    assert site_checks.images_without_text(site, site_checks.parse(site)) == []


def test_a_page_of_the_contents_without_html_is_found(tmp_path):
    site = make_site(tmp_path)
    toc = tmp_path / "_toc.yml"
    toc.write_text(
        "root: page\nparts:\n- chapters:\n  - file: other\n    sections:\n    - file: lost\n",
        encoding="utf-8",
    )

    assert site_checks.missing_pages(toc, site) == ["lost is in _toc.yml but has no page"]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="nowhere.html">x</a>', "leads to no file"),
        ('<a href="other.html#nowhere">x</a>', "leads to no anchor"),
        ('<a href="#nowhere">x</a>', "leads to no anchor"),
        ('<img src="nowhere.png" alt="x">', "leads to no file"),
        ('<script src="nowhere.js"></script>', "leads to no file"),
    ],
)
def test_a_broken_link_or_anchor_is_found(tmp_path, body, fault):
    site = make_site(tmp_path, body)
    (found,) = site_checks.broken_links(site, site_checks.parse(site))

    assert fault in found
    assert found.startswith("page.html:")


def test_a_link_out_of_the_site_is_found(tmp_path):
    (tmp_path / "outside.html").write_text(PAGE.format(body=""), encoding="utf-8")
    (tmp_path / "site").mkdir()
    site = make_site(tmp_path / "site", '<a href="../outside.html">x</a>')

    assert site_checks.broken_links(site, site_checks.parse(site)) == [
        "page.html: '../outside.html' leads out of the site"
    ]


@pytest.mark.parametrize(
    "body",
    [
        '<img src="dot.svg">',
        '<img src="dot.svg" alt="">',
        '<a href="other.html"><img src="dot.svg" alt=""></a>',
        '<svg viewBox="0 0 2 2"><circle cx="1" cy="1" r="1"/></svg>',
    ],
)
def test_an_image_without_text_is_found(tmp_path, body):
    site = make_site(tmp_path, body)
    assert len(site_checks.images_without_text(site, site_checks.parse(site))) == 1


@pytest.mark.parametrize(
    "body",
    [
        '<a href="other.html"><img src="dot.svg" alt=""> Words</a>',
        '<svg viewBox="0 0 2 2"><title>A dot</title></svg>',
        '<span aria-hidden="true"><svg viewBox="0 0 2 2"></svg></span>',
    ],
)
def test_decoration_needs_no_text(tmp_path, body):
    site = make_site(tmp_path, body)
    assert site_checks.images_without_text(site, site_checks.parse(site)) == []


def faults_of(browser, folder: Path, body: str, *views: tuple[int, str]) -> dict[str, list[str]]:
    """Serve a site with `body` on its page and return the faults that the browser finds, by kind."""
    with site_checks.serve(make_site(folder, body)) as address:
        faults = site_checks.browser_faults(browser, f"{address}/page.html", views or [(1600, "light")])
    return {kind: found for kind, found in faults.items() if found}


def test_a_sound_page_passes_in_the_browser(browser, tmp_path):
    body = SOUND + '<p class="math">\\(x\\)</p>' + TYPESET

    assert faults_of(browser, tmp_path, body, (360, "dark")) == {}


@pytest.mark.parametrize(
    ("kind", "words", "body"),
    [
        ("console", "this is broken", "<script>console.error('this is broken')</script>"),
        ("console", "undefinedFunction", "<script>undefinedFunction()</script>"),
        ("console", "404", '<script src="nowhere.js"></script>'),
        ("mathematics", "Undefined control sequence", '<p class="math">\\(\\oops\\)</p>' + TYPESET),
        ("mathematics", "was not typeset", '<p class="math">\\(x\\)</p>'),
        ("width", "px wide in a window of 360 px", '<div style="width: 900px">wide</div>'),
        (
            "width",
            "cut off: autoencoding",
            '<a href="#top" style="display: block; width: 3rem; overflow-x: hidden">autoencoding</a>',
        ),
        ("weight", "bytes", "<p hidden>" + "heavy " * 300_000 + "</p>"),
        ("accessibility", "color-contrast", '<p style="color: #ccc; background: #fff">pale</p>'),
        ("accessibility", "button-name", "<button></button>"),
        ("accessibility", "label", '<input type="range">'),
        (
            "accessibility",
            "color-contrast",
            '<details><summary>More</summary><p style="color: #ccc">folded and pale</p></details>',
        ),
        (
            "accessibility",
            "color-contrast",
            '<div class="highlight"><pre><span class="n">x</span> <span class="n">y</span> '
            '<span class="n" style="color: #ccc">pale</span></pre></div>',
        ),
    ],
)
def test_a_fault_is_found_and_nothing_else(browser, tmp_path, kind, words, body):
    faults = faults_of(browser, tmp_path, body, (360, "light"))

    assert words in " ".join(faults[kind])
    assert list(faults) == [kind]


@pytest.mark.parametrize(
    ("sound", "pale"),
    [
        (  # something else is painted behind it
            '<div style="position: relative"><p style="position: relative">one</p></div>',
            '<div style="position: relative">'
            '<div style="position: absolute; inset: 0; background: #333"></div>'
            '<p style="position: relative">two</p></div>',
        ),
        (  # it stands outside of the ground that carries the other
            '<div style="background: #000; color: #ddd"><p style="position: relative">one</p></div>',
            '<div style="background: #000; color: #ddd; margin-bottom: 9rem">'
            '<p style="position: relative; top: 5rem">two</p></div>',
        ),
        (  # another ground further up
            '<section style="background: #fff"><p>one</p></section>',
            '<section style="background: #333"><p>two</p></section>',
        ),
        (  # it is faded by what holds it
            "<section><p>one</p></section>",
            '<section style="opacity: 0.3"><p>two</p></section>',
        ),
        (  # large text may be paler
            '<p style="color: #888; font-size: 40px">one</p>',
            '<p style="color: #888; font-size: 16px">two</p>',
        ),
        (  # drawn in another colour than its own
            "<p>one</p>",
            '<p style="-webkit-text-fill-color: #ccc">two</p>',
        ),
        ("<p>one</p>", '<p style="color: #ccc">two</p>'),
        (  # a word of code whose colour goes by what holds the code
            '<div class="highlight"><pre><span class="k">one</span></pre></div>',
            "<style>.dim .k { color: #ccc; }</style>"
            '<div class="dim"><div class="highlight"><pre><span class="k">two</span></pre></div></div>',
        ),
    ],
)
def test_a_pale_text_is_found_beside_a_sound_one_that_is_like_it(browser, tmp_path, sound, pale):
    assert faults_of(browser, tmp_path, sound * 2) == {}

    (fault,) = faults_of(browser, tmp_path, sound * 2 + pale + sound)["accessibility"]
    assert "color-contrast" in fault
    assert "two" in fault


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (
            "accessibility",
            "<style>@media (prefers-color-scheme: dark) { p { color: #ccc; } }</style><p>one</p>",
        ),
        (  # a kind of word that has the colour of another in the scheme in which the page was opened
            "accessibility",
            "<style>@media (prefers-color-scheme: dark) { .k { color: #ccc; } }</style>"
            '<div class="highlight"><pre><span class="n">x</span> <span class="k">pale</span></pre></div>',
        ),
        ("width", "<style>@media (max-width: 400px) { p { width: 500px; } }</style><p>one</p>"),
    ],
)
@pytest.mark.parametrize("views", [((1600, "light"), (360, "dark")), ((360, "dark"), (1600, "light"))])
def test_a_fault_in_one_of_several_views_is_found_and_the_view_named(browser, tmp_path, kind, body, views):
    faults = faults_of(browser, tmp_path, body, *views)

    assert list(faults) == [kind]
    assert [fault.split(":")[0] for fault in faults[kind]] == ["(360, 'dark')"]


@pytest.mark.parametrize(
    "body",
    [
        '<script src="https://cdn.invalid/library.js"></script>',
        '<img src="https://images.invalid/dot.png" alt="A dot">',
        '<style>@import "https://fonts.invalid/font.css";</style>',
        "<script>fetch('https://count.invalid/visit').catch(() => 0)</script>",
    ],
)
def test_a_request_to_a_third_party_is_found(browser, tmp_path, body):
    faults = faults_of(browser, tmp_path, body)

    assert ".invalid" in faults["request"][0]


def test_what_scrolls_in_its_own_box_is_not_too_wide(browser, tmp_path):
    body = '<div tabindex="0" style="overflow-x: auto"><div style="width: 900px">wide</div></div>'

    assert faults_of(browser, tmp_path, body, (360, "light")) == {}
