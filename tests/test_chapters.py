"""The house rules of a chapter, and definitions that stand in a chapter and in the package."""

import ast
import importlib
import inspect
import json
import pkgutil
import re

import pytest

import tlutils
from chapters import PATHS, ROOT, cells, definitions, markdown, tagged, tags
from tlutils import runs

SETUP = """\
try:
    import tlutils
except ModuleNotFoundError:
    %pip install -q "tlutils @ git+https://github.com/"""

each_chapter = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def package_definitions():
    """Return the source tree of every function and class in tlutils, by name."""
    found = {}
    for module in pkgutil.iter_modules(tlutils.__path__):
        if module.ispkg:
            continue
        source = inspect.getsource(importlib.import_module(f"tlutils.{module.name}"))
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[node.name] = node
    return found


def test_the_table_of_contents_has_every_chapter():
    listed = re.findall(r"chapters/(\w+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    assert sorted(listed) == [path.stem for path in PATHS]


@each_chapter
def test_a_chapter_follows_the_template(path):
    found = cells(path)
    code = [cell for cell in found if cell["cell_type"] == "code"]
    assert re.match(r"# \S", found[0]["source"]), "starts with its title"
    cost = r"[Rr]eplays?\s+in\s.*[Tt]rains?\s+in\s.*GPU"
    assert re.search(cost, found[0]["source"], re.S), "says what it costs"
    own = [runs.load(name).provenance for name in runs.available() if name.startswith(f"{path.stem}/")]
    has_gpu_runs = any("cuda" in provenance["environment"]["device"] for provenance in own)
    assert has_gpu_runs or "GPU: not measured" in found[0]["source"], "claims no time that nobody measured"
    minutes = sum(provenance["duration_s"] for provenance in own) / 60
    said = re.search(r"trains\s+in\s+(?:about\s+)?(\d+)\s+min|less than a minute", found[0]["source"])
    assert int(said[1] or 0) == pytest.approx(minutes, rel=0.05, abs=0.6), "says how long its runs took"
    assert "setup" in tags(code[0])
    assert code[0]["source"].startswith(SETUP)
    assert "imports" in tags(code[1])
    for heading in (r"when it hurts", r"summary", r"exercises", r"references"):
        assert re.search(rf"^#+ .*{heading}", markdown(path), re.M | re.I), heading
    assert tagged(path, "lab"), "has a slider"
    assert tagged(path, "claim"), "asserts what it says"
    assert "{bibliography}" in markdown(path)


@each_chapter
def test_no_sum_of_money_opens_a_formula(path):
    """Two amounts in dollars made one formula of all that stood between them; say "dollars"."""
    assert not re.findall(r".{20}\d \$[\s,.;:)]", re.sub(r"`[^`]*`", "", markdown(path)))


def test_every_chapter_installs_the_package_alike():
    assert len({tagged(path, "setup")[0]["source"] for path in PATHS}) == 1


@each_chapter
def test_a_chapter_is_small_and_carries_no_widget_state(path):
    assert path.stat().st_size < 1_000_000
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert "widgets" not in notebook["metadata"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)


@each_chapter
def test_cells_are_short(path):
    lengths = [sum(bool(line.strip()) for line in c["source"].splitlines()) for c in cells(path)
               if c["cell_type"] == "code"]  # fmt: skip
    assert max(lengths) <= 30
    assert sum(lengths) <= 300


@each_chapter
def test_figures_have_caption_name_and_alternative_text(path):
    names = []
    for cell in cells(path):
        if any(
            {"image/png", "image/jpeg"} & set(output.get("data", {})) for output in cell.get("outputs", [])
        ):
            layout = cell["metadata"].get("mystnb", {})
            names.append(layout["figure"]["name"])
            assert len(layout["figure"]["caption"]) > 40, "the caption says what to see"
            assert len(layout["image"]["alt"]) > 40, "and so does the text for those who cannot"
            assert layout["image"]["alt"] != layout["figure"]["caption"]
    assert names
    assert len(set(names)) == len(names)


@each_chapter
def test_stored_outputs_are_clean(path):
    for cell in cells(path):
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error" or "raises-exception" in tags(cell)
            assert output.get("name") != "stderr", "".join(output.get("text", ""))[:200]
            text = "".join(output.get("text", "")) + "".join(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"/(home|root|Users|tmp|work)/\w| at 0x[0-9a-f]{6}|Warning:", text), text[
                :200
            ]


@each_chapter
def test_every_code_cell_has_run(path):
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))


@each_chapter
def test_labs_stay_under_400_kilobytes(path):
    outputs = [output for cell in tagged(path, "lab") for output in cell["outputs"]]
    pages = ["".join(output.get("data", {}).get("text/html", "")) for output in outputs]
    sizes = [len(page) for page in pages if page]
    assert sizes
    assert max(sizes) <= 400_000


def test_no_name_is_defined_in_two_chapters():
    homes = {}
    for path in PATHS:
        for name in definitions(path):
            if name != "Config":
                homes.setdefault(name, []).append(path.stem)
    assert not {name: chapters for name, chapters in homes.items() if len(chapters) > 1}


def without_docstring(node):
    """Return a definition as text, without docstring and annotations."""
    node = ast.parse(ast.unparse(node)).body[0]
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(part):
            part.body = part.body[1:]
        if isinstance(part, ast.FunctionDef):
            part.returns = None
        if isinstance(part, ast.arg):
            part.annotation = None
    return ast.unparse(node)


@each_chapter
def test_a_definition_that_also_stands_in_the_package_is_tested_against_it(path):
    """The two may differ in checks and docstring; a test in tests/ that names both must compare them."""
    twins = set(definitions(path)) & set(package_definitions())
    tests = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").glob("test_*.py"))
    for name in twins:
        same = without_docstring(definitions(path)[name]) == without_docstring(package_definitions()[name])
        assert same or re.search(rf'twins?\(.*"{name}"|chapter_function\(.*"{name}"', tests), name
