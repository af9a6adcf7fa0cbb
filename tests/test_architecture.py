"""The listing is the architecture: levels, sizes, tests one to one, nothing unused."""

import ast
import functools
from pathlib import Path

import pytest

import tlutils

PACKAGE = Path(tlutils.__file__).parent
MODULES = sorted(path for kind in ("*.py", "generative/*.py", "guards/*.py") for path in PACKAGE.glob(kind))
ROOT = PACKAGE.parent
LEVELS = {
    "runtime": 0, "files": 0, "downloads": 0, "checkouts": 0, "catalogue": 0, "drawn": 0, "toys": 0,
    "cost_model": 0, "layer_table": 0, "claims": 0,
    "extraction": 1,
    "guards": 1, "guards.games": 1, "guards.networks": 1, "guards.samples": 1, "guards.settings": 1,
    "datasets": 1, "tabular": 1, "photographs": 1, "photo_samples": 1, "domains": 1,
    "augmentation": 0, "kernels": 1, "models": 1, "pretrained": 1,
    "metrics": 1, "transferability": 1, "provenance": 1,
    "density_ratio": 2, "instance_based": 2, "weighted_classifier": 2,
    "coral": 2, "feature_based": 2, "estimators": 2, "heads": 2, "efficient_tuning": 2,
    "shallow_dann": 2, "lean_gradients": 2, "training_memory": 2,
    "normalisation": 2, "feature_mappings": 2, "vision_transformer": 2,
    "training": 3, "transferred_features": 3, "model_based": 3, "step_cost": 3, "runs": 3, "repeats": 3,
    "plotting": 4, "widgets": 4, "exercises": 4, "chooser": 4,
    "distributed": 3, "step_times": 3, "tasks": 3,
    "generative.mixtures": 0, "generative.losses": 1, "generative.transport": 1, "generative.networks": 2,
    "generative.game": 3, "generative.conditional": 3, "generative.adversarial": 3, "generative.history": 3,
    "generative.quality": 3, "generative.critics": 3, "generative.trials": 3, "generative": 3,
    "generative.rules": 3, "generative.strategies": 3, "generative.transfer": 3,
    "generative.translation": 3,
    "generative.translation_trials": 3, "generative.transfer_trials": 3,
}  # fmt: skip


def module_name(path):
    """Return the dotted name of a module below tlutils; a package has the name of its folder."""
    return ".".join(part for part in path.relative_to(PACKAGE).with_suffix("").parts if part != "__init__")


def imported_modules(path):
    """Return the tlutils modules that a file imports, at its top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "tlutils":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tlutils."):
            names.add(node.module.removeprefix("tlutils."))
    return names & set(LEVELS)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_down(path):
    if module_name(path) == "":
        assert imported_modules(path) == set(), "import tlutils imports nothing else"
        return
    level = LEVELS[module_name(path)]
    upward = {name for name in imported_modules(path) if LEVELS[name] > level}
    assert not upward, f"{module_name(path)} (level {level}) imports {upward}"
    if level == 4:
        leaves = {name for name in imported_modules(path) if LEVELS[name] == 4}
        assert not leaves, "leaves do not import each other"


def test_no_cycle_within_a_level():
    graph = {module_name(path): imported_modules(path) for path in MODULES if module_name(path)}

    def reaches(start, seen):
        return any(n == start or (n not in seen and reaches_from(n, start, seen | {n})) for n in graph[start])

    def reaches_from(name, start, seen):
        return any(n == start or (n not in seen and reaches_from(n, start, seen | {n})) for n in graph[name])

    assert not [name for name in graph if reaches(name, {name})]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_every_module_has_its_tests(path):
    if path.stem != "__init__":
        assert (ROOT / "tests" / f"test_{module_name(path).replace('.', '_')}.py").is_file()


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_and_functions_stay_readable(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 500
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 60, f"{node.name} has a body of {lines} lines"


@functools.cache
def all_code():
    """Return the text of every program and chapter of the repository."""
    tops = [top for top in ROOT.iterdir() if top.is_dir() and top.name not in {".git", ".venv", "_build"}]
    found = [path for top in tops for kind in ("*.py", "*.ipynb") for path in top.rglob(kind)]
    return {path: path.read_text(encoding="utf-8") for path in [*ROOT.glob("*.py"), *found]}


def public_functions():
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                yield pytest.param(path, node, id=f"{module_name(path)}.{node.name}")


@pytest.mark.parametrize(("path", "node"), list(public_functions()))
def test_public_names_are_documented_and_used(path, node):
    docstring = ast.get_docstring(node)
    assert docstring, "has a docstring"
    first = docstring.splitlines()[0]
    assert first.endswith("."), first
    assert len(first) <= 110, first
    if isinstance(node, ast.FunctionDef):
        raised = {
            ast.unparse(r.exc.func if isinstance(r.exc, ast.Call) else r.exc)
            for r in ast.walk(node) if isinstance(r, ast.Raise) and r.exc is not None
        }  # fmt: skip
        missing = {name for name in raised if name.split(".")[-1] not in docstring and name[0].isupper()}
        assert not missing, f"raises {missing} and does not say so"
    users = [name for name, text in all_code().items() if name != path and node.name in text]
    own = path.read_text(encoding="utf-8").count(node.name) > 2
    assert users or own, "nobody uses it"
