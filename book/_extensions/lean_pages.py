"""Sphinx extension: make the theme's pages lighter, and mend their markup for screen readers.

- MathJax comes from the site's own files and in parts: `sphinx-mathjax-offline` points at a one-file build
  that is 400 kB larger (its `setup` overrides `mathjax_path` from _config.yml, so it is set here, later).
- A page loads MathJax, tabs and notebook styles only if it has something for them to do.
- The theme's style sheet names every icon that Font Awesome has; `icons.css` draws those that the pages use.
- docutils gives a bibliography a role whose children it then does not provide.
- Lines of a table that a program has printed are marked, so that they keep their columns where a printed
  sentence is wrapped.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

# What a style sheet or script is for: part of its name or text → what stands in the pages that need it.
NEEDED_BY = {
    "mathjax": 'class="math',
    "window.MathJax": 'class="math',
    "sphinx-design": 'class="sd-',
    "design-tabs": 'class="sd-tab',
    "mystnb": 'class="cell',
    "exercise.css": "exercise",
    "togglebutton": "dropdown",
}
ICON_RULES = re.compile(
    r'(?:\.fa-[a-z0-9-]+:before,?)+\{content:"[^"]*"\}'
    r"|@font-face\{[^}]*Font Awesome[^}]*\}"
)


PRINTED = re.compile(r'(<div class="output [^"]*">\s*<div class="highlight"><pre>)(.*?)(?=</pre>)', re.DOTALL)
GAP = re.compile(r"[^ ] {2,}[^ ]")


def mark_rows(body: str) -> str:
    """Put every printed line that has columns, which is one with two spaces inside, into a `tl-row`.

    >>> opening = '<div class="output stream"><div class="highlight"><pre>'
    >>> mark_rows(f"{opening}  a sentence\\nscratch  72 %\\n</pre>").removeprefix(opening)
    '  a sentence\\n<span class="tl-row">scratch  72 %</span>\\n</pre>'
    """

    def mark(line: str) -> str:
        # A colour that goes on over several lines would be torn apart.
        is_whole = line.count("<span") == line.count("</span>")
        text = html.unescape(re.sub(r"<[^>]*>", "", line))
        return f'<span class="tl-row">{line}</span>' if is_whole and GAP.search(text) else line

    return PRINTED.sub(lambda found: found[1] + "\n".join(map(mark, found[2].split("\n"))), body)


def set_mathjax_path(_: Sphinx, config: Config) -> None:
    """Point at MathJax's loader; `mathjax3_config` in _config.yml names the parts that it loads."""
    config.mathjax_path = "mathjax/startup.js"


def _is_needed(asset: Any, body: str) -> bool:
    text = f"{asset.filename} {asset.attributes.get('body', '')}"
    return all(mark in body for name, mark in NEEDED_BY.items() if name in text)


def change_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Take off a page what it does not need, and off a bibliography its wrong role; mark printed tables."""
    del app, page, template, doctree  # Sphinx passes them; only the page's text decides
    body = context.get("body", "")
    for kind in ("script_files", "css_files"):
        context[kind] = [asset for asset in context[kind] if _is_needed(asset, body)]
    context["body"] = mark_rows(body.replace('<div role="list" class="citation-list">', "<div>"))


def drop_icons(app: Sphinx, error: Exception | None) -> None:
    """Take the icons and their fonts out of the theme's style sheet."""
    sheet = Path(app.outdir) / "_static" / "styles" / "pydata-sphinx-theme.css"
    if error is None and app.builder.format == "html":
        sheet.write_text(ICON_RULES.sub("", sheet.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("config-inited", set_mathjax_path)
    app.connect("html-page-context", change_page, priority=900)  # after Sphinx has put MathJax on the page
    app.connect("build-finished", drop_icons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
