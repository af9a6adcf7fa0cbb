"""The rails: pins, hooks, Makefile and the pages that describe them agree with each other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import tlutils
from chapters import ROOT

PINS = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)$", (ROOT / "requirements.txt").read_text("utf-8"), re.M))
REFERENCES = re.findall(r"(@\w+\{.*?\n\})", (ROOT / "book/references.bib").read_text("utf-8"), re.S)


def test_every_requirement_is_pinned_exactly():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    named = [line for line in lines if line.strip() and not line.startswith("#")]

    assert len(named) == len(PINS)
    assert (PINS["torch"], PINS["torchvision"]) == ("2.15.0", "0.29.2")
    assert PINS["jupyter-book"].startswith("1."), "version 2 does not read _config.yml"


def test_the_package_declares_lower_bounds_only():
    package = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]

    names = {re.fullmatch(r"([a-z0-9-]+)>=[0-9.]+", entry).group(1) for entry in package}
    assert names <= set(PINS)


def test_hooks_have_the_versions_of_the_requirements():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    revisions = {Path(hook["repo"]).name.removesuffix("-pre-commit"): hook["rev"] for hook in hooks}

    assert revisions == {
        "ruff": f"v{PINS['ruff']}",
        "check-jsonschema": PINS["check-jsonschema"],
        "zizmor": f"v{PINS['zizmor']}",
    }


def test_every_dependency_has_its_sentence():
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("## Dependencies")[1]
    explained = re.findall(r"^\| ([A-Za-z0-9-]+) \| \w", table, re.M)

    assert sorted(explained) == sorted(["Package", *PINS])


def test_the_version_stands_twice_and_is_the_same():
    package = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

    assert tlutils.__version__ == package
    assert f"## {package}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_module_has_an_api_page():
    modules = {path.stem for path in (ROOT / "tlutils").glob("*.py") if path.stem != "__init__"}
    parts, guards = (
        {path.stem for path in (ROOT / "tlutils" / folder).glob("*.py") if path.stem != "__init__"}
        for folder in ("generative", "guards")
    )
    toc = (ROOT / "_toc.yml").read_text("utf-8")
    listed = set(re.findall(r"book/api/(\w+)", toc)) - {"index"}

    pages = tuple(f"generative{part}" for part in ("", "_loop", "_measures", "_trials", "_transfer"))
    assert listed == modules | {*pages, "guards"}
    for part in guards:
        assert f"automodule:: tlutils.guards.{part}\n" in (ROOT / "book/api/guards.md").read_text("utf-8")
    for part in parts:
        page = "".join((ROOT / f"book/api/{name}.md").read_text("utf-8") for name in pages)
        assert f"automodule:: tlutils.generative.{part}\n" in page
    for module in modules:
        assert f"automodule:: tlutils.{module}\n" in (ROOT / f"book/api/{module}.md").read_text("utf-8")
        assert f"[`{module}`]({module}.md)" in (ROOT / "book/api/index.md").read_text("utf-8")


def test_make_help_lists_the_commands():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    commands = set(re.findall(r"^make (\S+)", said, re.M))
    assert commands >= {"book", "serve", "test", "lint", "execute", "retrain", "bench", "set-repository"}


def test_an_old_python_is_refused_with_the_way_out(tmp_path):
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.1"\nexit 1\n', encoding="utf-8")
    old.chmod(0o755)
    command = ["make", "book", f"PYTHON3={old}", f"VENV={tmp_path / 'venv'}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert ran.returncode != 0
    assert "Python 3.11 or newer is needed" in ran.stdout
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(("is_ci", "verdict"), [("true", "1 failed"), ("", "1 skipped")])
def test_a_skip_is_a_failure_where_ci_is_set(tmp_path, is_ci, verdict):
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text("import pytest\n\n\ndef test_it():\n    pytest.skip('no browser')\n")
    command = [sys.executable, "-m", "pytest", "--quiet", "--rootdir", tmp_path, tmp_path]
    ran = subprocess.run(command, env=os.environ | {"CI": is_ci}, capture_output=True, text=True)

    assert verdict in ran.stdout
    assert "no browser" in ran.stdout or not is_ci


STAGES = ["book", "chapters", "chapters on Colab", "lint", "site", "stored runs", "unit tests"]


@pytest.mark.parametrize(
    ("word", "fails"),
    [
        ("nothing of this name", []),
        ("build .", ["book"]),
        ("--nbval-sanitize-with", ["chapters"]),
        ("--maxschedchunk", ["chapters on Colab"]),
        ("lint.sh", ["lint"]),
        ("-m site", ["site"]),
        ("quiet tests/test_stored_runs.py", ["stored runs"]),
        ("--ignore", ["unit tests"]),
        ("-", ["book", "chapters", "chapters on Colab", "site", "stored runs", "unit tests"]),
    ],
)
def test_every_stage_has_its_line_and_one_that_fails_shows_all_it_said(tmp_path, word, fails):
    """Programs that fail where their arguments contain a word stand in for those that the stages call."""
    program = (
        '#!/bin/bash\ncase "$0 $*" in *"$WORD"*) echo "first of $*"; echo last; exit 3;; esac\necho well\n'
    )
    for name in ("python", "jupyter-book", "scripts/lint.sh"):
        path = tmp_path / name if "/" in name else tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(program, encoding="utf-8")
        path.chmod(0o755)
    shutil.copy(ROOT / "scripts" / "test_stages.sh", tmp_path / "scripts")
    (tmp_path / "_build/logs/speaking").mkdir(parents=True)  # as a run that was broken off leaves it
    variables = os.environ | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "WORD": word}
    command = [tmp_path / "scripts" / "test_stages.sh"]
    ran = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)

    lines = re.findall(r"^(ok|FAILED) +(\w.*?) +\d+ s  (\w+)$", ran.stdout, re.M)
    assert sorted(name for _, name, _ in lines) == STAGES
    assert sorted(name for verdict, name, _ in lines if verdict == "FAILED") == fails
    assert ran.stdout.count("\nfirst of ") == len(fails)
    assert ran.returncode == bool(fails)


@pytest.mark.parametrize("entry", REFERENCES)
def test_every_reference_has_a_doi_or_an_address(entry):
    assert re.search(r"^  (doi|url) *= \{\S+\}", entry, re.M), entry.splitlines()[0]


def test_the_glossary_gives_each_term_in_two_languages_and_its_chapter():
    text = (ROOT / "book/glossary.md").read_text("utf-8").split("```{glossary}\n")[1].split("```")[0]
    terms = [block for block in text.strip().split("\n\n") if block and block != ":sorted:"]

    assert len(terms) >= 20
    for block in terms:
        assert re.search(r'<span lang="zh">[\u4e00-\u9fff]', block), block
        assert re.search(r"\{doc\}`/chapters/\w+`\.$", block), block
