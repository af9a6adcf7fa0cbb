"""The address of the repository: one source, shown alike everywhere, rewritten by one command."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load_program():
    """Import scripts/set_repository.py, which is no package."""
    spec = importlib.util.spec_from_file_location("set_repository", ROOT / "scripts" / "set_repository.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


set_repository = load_program()
SLUG = set_repository.current()


@pytest.fixture
def checkout(tmp_path):
    """A small checkout that shows the address in every form, and the addresses of others."""
    owner, name = set_repository.site_address("ada/book")
    files = {
        "_config.yml": "repository:\n  url: https://github.com/ada/book\n  branch: main\n",
        "README.md": "git clone https://github.com/ada/book\ncd book\n[site](https://ada.github.io/book/)\n",
        "setup.ipynb": '%pip install -q \\"tlutils @ git+https://github.com/ada/book\\"',
        "badge.md": "[x](https://colab.research.google.com/github/ada/book/blob/main/x.ipynb)",
        "issue.md": "[y](https://github.com/ada/book/issues).",
        "hook.yml": "repo: https://github.com/astral-sh/ruff-pre-commit, ada/bookshelf, actions/checkout@v4",
        "data.py": "https://raw.githubusercontent.com/other/mirror, https://paper.github.io/page/",
    }
    assert (owner, name) == ("ada", "book")
    for file, text in files.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    return tmp_path


def test_every_place_shows_the_address_of_the_config():
    assert set_repository.disagreements() == []


def test_a_rewrite_reaches_every_place_and_no_other(checkout):
    others = [(checkout / name).read_text(encoding="utf-8") for name in ("hook.yml", "data.py")]
    changed = set_repository.rewrite("Grace/compiler-book", checkout)

    assert set_repository.current(checkout) == "Grace/compiler-book"
    assert set_repository.disagreements(checkout) == []
    assert sorted(path.name for path in changed) == [
        "README.md", "_config.yml", "badge.md", "issue.md", "setup.ipynb"
    ]  # fmt: skip
    assert [(checkout / name).read_text(encoding="utf-8") for name in ("hook.yml", "data.py")] == others
    assert "https://grace.github.io/compiler-book/" in (checkout / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("hook.yml", "pip install git+https://github.com/eve/book"),
        ("setup.ipynb", "git clone https://github.com/ada/books.git"),
        ("data.py", "https://colab.research.google.com/github/eve/book/blob/main/x.ipynb"),
        ("issue.md", "https://github.com/eve/book/issues"),
        ("README.md", "https://github.com/ada/book2"),
        ("README.md", "https://eve.github.io/book/"),
        ("README.md", "https://ada.github.io/other/"),
    ],
)
def test_a_place_that_disagrees_is_found(checkout, file, text):
    (checkout / file).write_text(text, encoding="utf-8")

    (fault,) = set_repository.disagreements(checkout)
    assert fault.startswith(f"{file} shows")


@pytest.mark.parametrize("slug", ["book", "a/b/c", "https://github.com/ada/book", "", "-/book", "ada/bo ok"])
def test_what_is_no_slug_is_refused(checkout, slug):
    with pytest.raises(ValueError, match="expected owner/name"):
        set_repository.rewrite(slug, checkout)
    assert set_repository.current(checkout) == "ada/book"


def test_a_config_without_address_is_refused(tmp_path):
    (tmp_path / "_config.yml").write_text("title: x\n", encoding="utf-8")

    with pytest.raises(ValueError, match="has no line"):
        set_repository.current(tmp_path)
