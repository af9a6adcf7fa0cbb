"""Sphinx extension: make the theme's pages lighter, and mend their markup for screen readers.

- MathJax comes from the site's own files, in parts, and only onto pages with an equation. By itself
  `sphinx-mathjax-offline` points at a one-file build that is 400 kB larger (its `setup` overrides
  `mathjax_path` from _config.yml, so the path is set here, later), and Sphinx loads it on every page above one
  with equations.
- The theme's style sheet names every icon that Font Awesome has; `icons.css` draws those that the pages use.
- docutils gives a bibliography a role whose children it then does not provide.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

ICON_RULES = re.compile(
    r'(?:\.fa-[a-z0-9-]+:before,?)+\{content:"[^"]*"\}|@font-face\{[^}]*Font Awesome[^}]*\}'
)


def set_mathjax_path(_: Sphinx, config: Config) -> None:
    """Point at MathJax's loader; `mathjax3_config` in _config.yml names the parts that it loads."""
    config.mathjax_path = "mathjax/startup.js"


def _is_equation(node: nodes.Node) -> bool:
    return isinstance(node, nodes.math | nodes.math_block)


def _is_mathjax(script: Any) -> bool:
    return "mathjax" in str(script.filename) or "window.MathJax" in script.attributes.get("body", "")


def change_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Take MathJax off a page without equations; take the wrong role off a bibliography."""
    del app, page, template  # Sphinx passes them; only the content decides
    equations = () if doctree is None else doctree.findall(_is_equation)
    if not any(True for _ in equations):
        context["script_files"] = [script for script in context["script_files"] if not _is_mathjax(script)]
    if "body" in context:
        context["body"] = context["body"].replace('<div role="list" class="citation-list">', "<div>")


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
