"""Show the address of the book's repository, or write another one everywhere it is shown.

Usage: python scripts/set_repository.py [owner/name]

The one source is `repository: url` in _config.yml. Everything else that names the repository (set-up cells,
README, pages, package metadata) is text in tracked files and is rewritten with it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
_NAME = r"([A-Za-z0-9-]+/[A-Za-z0-9._-]+?)(?=\.git\b|[^A-Za-z0-9._-]|[.]?$)"
# Forms in which, in any file, only the book itself can be meant.
ANYWHERE = [
    re.compile(prefix + _NAME, re.M)
    for prefix in (r"git\+https://github\.com/", r"git clone https://github\.com/", r"colab\.[a-z.]+/github/")
]
# Forms that elsewhere may name another project: a mirror of data, a paper's page.
IN_OUR_PAGES = [*ANYWHERE, re.compile(r"https://github\.com/" + _NAME, re.M)]
OUR_PAGES = ("*.md", "book/*.md", "book/*/*.html", "pyproject.toml")
EXAMPLES = Path("tests/test_set_repository.py")  # has addresses that are there to be found wrong
SITE = re.compile(r"https://([A-Za-z0-9-]+)\.github\.io/([A-Za-z0-9._-]*)")


def current(root: Path = ROOT) -> str:
    """Return ``owner/name`` from _config.yml.

    Raises
    ------
    ValueError
        If _config.yml has no ``url: https://github.com/owner/name``.
    """
    found = re.search(r"^  url: https://github\.com/(\S+)$", (root / "_config.yml").read_text("utf-8"), re.M)
    if found is None:
        raise ValueError(f"{root / '_config.yml'} has no line 'url: https://github.com/owner/name'")
    return found.group(1)


def site_address(slug: str) -> tuple[str, str]:
    """Return host name and path of the site on GitHub Pages.

    >>> site_address("Ada/book")
    ('ada', 'book')
    """
    owner, name = slug.split("/")
    return owner.lower(), name


def texts(root: Path) -> dict[Path, str]:
    """Return path → text of every tracked text file."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True
    ).stdout
    found = {}
    for name in filter(None, names.split("\0")):
        try:
            found[root / name] = (root / name).read_text("utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
    return found


def disagreements(root: Path = ROOT) -> list[str]:
    """Name the places that show another address than _config.yml does."""
    slug = current(root)
    faults = []
    for path, text in texts(root).items():
        name = path.relative_to(root)
        if name == EXAMPLES:
            continue
        is_ours = any(
            name.match(pattern) and len(name.parts) == pattern.count("/") + 1 for pattern in OUR_PAGES
        )
        forms = IN_OUR_PAGES if is_ours else ANYWHERE
        shown = {match.group(1) for form in forms for match in form.finditer(text)} - {slug}
        faults += [f"{name} shows {other}, _config.yml shows {slug}" for other in sorted(shown)]
        sites = {match.groups() for match in SITE.finditer(text)} if is_ours else set()
        for other in sorted(sites - {site_address(slug)}):
            faults.append(f"{name} shows the site {'/'.join(other)}, _config.yml shows {slug}")
    return faults


def rewrite(slug: str, root: Path = ROOT) -> list[Path]:
    """Write `slug` wherever the current one stands; return the files that changed.

    Raises
    ------
    ValueError
        If `slug` is not of the form owner/name.
    """
    if not SLUG.fullmatch(slug):
        raise ValueError(f"received {slug!r}; expected owner/name, as in GITHUB_REPOSITORY")
    old = current(root)
    old_site, new_site = ("https://{}.github.io/{}".format(*site_address(each)) for each in (old, slug))
    # Not a longer name that only begins with the old one.
    whole = re.compile(re.escape(old) + r"(?![A-Za-z0-9_-])")
    changed = []
    for path, text in texts(root).items():
        new = whole.sub(slug, text).replace(old_site, new_site)
        if new != text:
            path.write_text(new, "utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    if len(sys.argv) > 1:
        for path in rewrite(sys.argv[1]):
            print(f"rewrote {path.relative_to(ROOT)}")
    print(f"the repository is {current()}")
    for fault in disagreements():
        print(fault)
    sys.exit(bool(disagreements()))
