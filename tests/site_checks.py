"""What can be wrong with the built site, as plain functions that return one sentence per fault.

`test_site.py` asks that the real site has none of them; `test_site_checks.py` plants each in a small site and
asks that it is found.
"""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Page, Request, sync_playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
MAX_BYTES = 1_500_000  # transferred for a page without laboratories
# What MathJax leaves where it could not typeset, and what nobody has typeset at all.
UNRENDERED = """() => {
  const bad = [...document.querySelectorAll('mjx-merror, [data-mjx-error]')]
    .map(node => 'does not render: ' + (node.getAttribute('data-mjx-error') || node.textContent));
  const raw = [...document.querySelectorAll('.math')].filter(node => !node.querySelector('mjx-container'))
    .map(node => 'was not typeset: ' + node.textContent.trim());
  return [...bad, ...raw];
}"""
TOO_WIDE = """() => {
  const root = document.documentElement, width = root.clientWidth;
  if (root.scrollWidth <= width) return [];
  const scrolls = node => node && node !== document.body &&
    (getComputedStyle(node).overflowX !== 'visible' || scrolls(node.parentElement));
  const wide = [...document.querySelectorAll('body *')].filter(node =>
    node.getBoundingClientRect().right > width + 1 && !scrolls(node.parentElement));
  const names = wide.slice(0, 3).map(node => node.tagName.toLowerCase() + '.' + node.className);
  return [`the page is ${root.scrollWidth} px wide in a window of ${width} px: ${names.join(', ')}`];
}"""
# axe-core looks at every element and measures the contrast of every word, thousands on a page. This leaves
# one word of code of each kind, which is what the styles may go by: its classes and those of all that holds
# it; and of a formula its box and the <math> read aloud, not their parts.
LESS_OF_THE_SAME = """() => {
  const drawn = [...document.querySelectorAll('mjx-container > mjx-math[aria-hidden=true]')]
    .map(math => [math, math.getBoundingClientRect()]);
  for (const [math, {width, height}] of drawn) {
    math.replaceChildren();
    math.style = `display: inline-block; width: ${width}px; height: ${height}px`;
  }
  document.querySelectorAll('mjx-assistive-mml > math').forEach(math => math.replaceChildren());
  const seen = new Set(), repeated = [];
  for (const word of document.querySelectorAll('.highlight pre span[class], .sig span[class]')) {
    let kind = '';
    for (let node = word; node; node = node.parentElement) {
      kind += `${node.tagName}.${node.className}{${node.getAttribute('style')}}`;
    }
    if (seen.has(kind)) { repeated.push(word); } else { seen.add(kind); }
  }
  repeated.forEach(word => word.replaceWith(...word.childNodes));
  document.querySelectorAll('.highlight pre, .sig').forEach(code => code.normalize());
}"""
# A link whose end is hidden: it cannot even be scrolled to.
CUT = """() => [...document.querySelectorAll('a')].filter(link => link.textContent.trim() &&
    /hidden|clip/.test(getComputedStyle(link).overflowX) && link.scrollWidth > link.clientWidth + 1)
  .map(link => `the end of this link is cut off: ${link.textContent.trim()}`)"""


# Faults that can be seen in the files ---------------------------------------------------------------------


def pages(site: Path) -> list[Path]:
    """Return every HTML page of a site, sorted. What the theme leaves among its assets are templates."""
    return sorted(path for path in site.rglob("*.html") if "_static" not in path.relative_to(site).parts)


def soup(path: Path) -> BeautifulSoup:
    """Return a page, parsed."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def parse(site: Path) -> dict[Path, BeautifulSoup]:
    """Return every HTML page of a site, parsed."""
    return {path: soup(path) for path in pages(site)}


def toc_files(toc: Path) -> list[str]:
    """Return every file that a table of contents names."""

    def walk(node: object) -> Iterator[str]:
        if isinstance(node, list):
            for child in node:
                yield from walk(child)
        elif isinstance(node, dict):
            yield from (node[key] for key in ("root", "file") if key in node)
            yield from walk([node.get(key) for key in ("parts", "chapters", "sections")])

    return list(walk(yaml.safe_load(toc.read_text(encoding="utf-8"))))


def missing_pages(toc: Path, site: Path) -> list[str]:
    """Name the entries of the table of contents that have no HTML page."""
    return [f"{name} is in {toc.name} but has no page" for name in toc_files(toc)
            if not (site / f"{name}.html").is_file()]  # fmt: skip


def broken_links(site: Path, parsed: dict[Path, BeautifulSoup]) -> list[str]:
    """Name the links, images, scripts and styles of the site that lead nowhere inside it."""
    anchors = {
        path: {tag[key] for key in ("id", "name") for tag in page.find_all(attrs={key: True})}
        for path, page in parsed.items()
    }
    faults = []
    for path, page in parsed.items():
        for key in ("href", "src"):
            for tag in page.find_all(attrs={key: True}):
                if fault := _broken(site, path, tag[key], anchors):
                    faults.append(f"{path.relative_to(site)}: {tag[key]!r} {fault}")
    return faults


def _broken(site: Path, path: Path, link: str, anchors: dict[Path, set[str]]) -> str:
    """Say what is wrong with one link, or return an empty string."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return "leads to no file"
    if not target.is_relative_to(site.resolve()) and target != path:
        return "leads out of the site"
    # "#" alone is the top of the page, and the colours of a page are no anchors.
    if parts.fragment and target in anchors and unquote(parts.fragment) not in anchors[target]:
        return "leads to no anchor"
    return ""


def images_without_text(site: Path, parsed: dict[Path, BeautifulSoup]) -> list[str]:
    """Name the images that have nothing to say to a reader who cannot see them."""
    faults = []
    for path, page in parsed.items():
        images = [tag for tag in page.find_all("img") if not _has_text(tag)]
        drawings = [tag for tag in page.find_all("svg") if not _is_named(tag)]
        faults += [f"{path.relative_to(site)}: {str(tag)[:80]} has no text" for tag in images + drawings]
    return faults


def _has_text(image) -> bool:
    """Say whether an image has alt text, or an empty one beside the words of the link it belongs to."""
    link = image.find_parent("a")
    is_decoration = image.get("alt") == "" and link is not None and link.get_text(strip=True)
    return bool(image.get("alt", "").strip() or is_decoration)


def _is_named(drawing) -> bool:
    """Say whether an inline SVG has a name, or is marked as decoration, itself or through a parent."""
    hidden = [drawing, *drawing.parents]
    if any(tag.get("aria-hidden") == "true" for tag in hidden if tag.name):
        return True
    return bool(drawing.get("aria-label") or drawing.find("title"))


# Faults that only a browser sees --------------------------------------------------------------------------


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """A file server that does not print its requests."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class QuietServer(http.server.ThreadingHTTPServer):
    """A server that does not mind a browser that has left."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Report nothing: a page that is closed early breaks its connections."""


@contextmanager
def serve(site: Path) -> Iterator[str]:
    """Serve a folder on loopback and yield its address."""
    handler = functools.partial(QuietHandler, directory=site)
    with QuietServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def chromium_path() -> str | None:
    """Return where Chromium lies, or None."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        yield browser
        browser.close()


def new_page(browser: Browser, **options: object) -> Page:
    """Open an empty page that waits long enough for a machine that has much else to do."""
    page = browser.new_page(**options)
    page.set_default_timeout(120_000)
    return page


def settle(page: Page) -> None:
    """Wait until the page and its mathematics stand still."""
    page.wait_for_load_state("load")
    page.evaluate("() => window.MathJax?.startup?.promise")


def look(page: Page, width: int, scheme: str) -> None:
    """Show the open page in a window of this width, in the colours of this scheme."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    # Colours fade from one state to the next; contrast is that of the final state.
    page.wait_for_timeout(200)


def browser_faults(
    browser: Browser, url: str, views: Sequence[tuple[int, str]] = ((1600, "light"),)
) -> dict[str, list[str]]:
    """Open a page, look at it in windows of some widths and schemes, and return what is wrong, by kind.

    The kinds are "console", "request", "mathematics", "width", "weight" and "accessibility"; each has a list
    of sentences.
    """
    host = urlsplit(url).netloc
    console: list[str] = []
    requests: list[str] = []
    finished: list[Request] = []

    def note_request(request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.netloc != host:
            requests.append(f"asks {address.netloc} for {request.url}")

    width, scheme = views[0]
    page = new_page(browser, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("console", lambda message: message.type == "error" and console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.on("request", note_request)
    page.on("requestfinished", lambda request: finished.append(request))
    try:
        page.goto(url)
        settle(page)
        open_everything(page)
        faults = {"mathematics": page.evaluate(UNRENDERED), "width": [], "accessibility": []}
        for view in views:
            look(page, *view)
            faults["width"] += [f"{view}: {fault}" for fault in page.evaluate(TOO_WIDE) + page.evaluate(CUT)]
        page.evaluate(LESS_OF_THE_SAME)
        for view in reversed(views):  # the last is still shown
            look(page, *view)
            faults["accessibility"] += [f"{view}: {fault}" for fault in accessibility_faults(page)]
        weight = [] if page.locator(".tl-lab").count() else too_heavy(finished)
        return faults | {"console": console, "request": requests, "weight": weight}
    finally:
        page.close()


def too_heavy(requests: list[Request]) -> list[str]:
    """Say so if what the finished requests of a page brought is more than a page may weigh."""
    size = sum(request.sizes()["responseBodySize"] for request in requests)
    return [f"the page brings {size} bytes; at most {MAX_BYTES} are meant"] if size > MAX_BYTES else []


def open_everything(page: Page) -> None:
    """Unfold hints, solutions and hidden code, so that they are looked at too."""
    page.evaluate("""() => {
      document.querySelectorAll('details').forEach(fold => { fold.open = true; });
      document.querySelectorAll('button.toggle-button-hidden').forEach(button => button.click());
    }""")


def accessibility_faults(page: Page) -> list[str]:
    """Return what axe-core finds on the open page that is serious or critical."""
    # preload would fetch style sheets again, from wrong addresses where one imports another.
    violations = (
        Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    )
    return [
        f"{violation['id']} ({violation['impact']}): {violation['help']}: {node['html'][:160]}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"][:5]
    ]
