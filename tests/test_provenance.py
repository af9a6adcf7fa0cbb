"""A digest changes with the code and with nothing else."""

import importlib.util
import linecache
import sys
import types

import pytest

from tlutils import guards, repeats
from tlutils.provenance import code_digest, normalised_source

BASE = '''
FACTOR = 2
def helper(x):
    """Say something."""
    return FACTOR * x
class Base:
    def forward(self, x):
        return helper(x)
class Net(Base):
    pass
def train(x):
    # why
    return Net().forward(x)
'''


@pytest.fixture
def digest(tmp_path):
    """Write a module, import it, and give the digest of its function `train`."""
    modules = []

    def compute(source):
        name = f"digest_module_{len(modules)}"
        path = tmp_path / f"{name}.py"
        path.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("digest_module", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules["digest_module"] = module
        spec.loader.exec_module(module)
        modules.append(module)
        return code_digest(module.train)

    yield compute
    sys.modules.pop("digest_module", None)


@pytest.mark.parametrize(("old", "new"), [
    ("# why", "# because of something else"),
    ('"""Say something."""', '"""Say it in other words."""'),
    ("return FACTOR * x", "return FACTOR*x"),
    ("def train", "\n\n\ndef train"),
])  # fmt: skip
def test_words_and_spaces_do_not_count(digest, old, new):
    assert old in BASE
    assert digest(BASE) == digest(BASE.replace(old, new))


@pytest.mark.parametrize(("old", "new"), [
    ("Net().forward(x)", "Net().forward(x + 1)"),
    ("return FACTOR * x", "return FACTOR + x"),
    ("return helper(x)", "return -helper(x)"),
    ("FACTOR = 2", "FACTOR = 3"),
], ids=["the function", "what it calls indirectly", "what a class inherits", "a constant"])  # fmt: skip
def test_code_counts_wherever_it_stands(digest, old, new):
    assert old in BASE
    assert digest(BASE) != digest(BASE.replace(old, new))


def test_the_text_does_not_depend_on_the_version_of_python():
    """`ast.unparse` writes nested quotes of f-strings in two ways; this is the text in all versions."""
    source = """def f(x):\n    return f'{x["a"]!r:>{x["n"]}} of "{x}"'\n"""
    assert normalised_source(source) == (
        "def f(x):\n    return __fstring__((x['a'], 114, __fstring__('>', (x['n'], -1, None))), ' of \"', "
        "(x, -1, None), '\"')"
    )


GUARDED = """
from tlutils import guards
from tlutils.guards import has_device
def train(x):
    return x
"""


def with_step(step):
    return GUARDED.replace("    return x", f"    {step}\n    return x")


@pytest.mark.parametrize("check", ["guards.has_device(x)", "guards.has_channels(x.mean, len(x.mean))"])
def test_a_check_of_the_input_makes_nothing_stale(digest, check):
    """It stops or does nothing: a training that it lets pass gives the same numbers."""
    assert digest(GUARDED) == digest(with_step(check))


def test_a_check_inside_a_block_makes_nothing_stale(digest):
    plain = GUARDED.replace("    return x", "    for y in x:\n        x = y\n    return x")
    assert digest(plain) == digest(
        plain.replace("        x = y", "        guards.has_device(x)\n        x = y")
    )


@pytest.mark.parametrize("step", [
    "x = guards.has_device(x)", "print(guards.has_device(x))", "has_device(x)", "guards.has_device(next(x))",
    "guards.has_device(x.mul_(2))", "guards.has_device(x := x / 2)", "guards.append(x)",
    "guards.has_device(device=x.pop())",
])  # fmt: skip
def test_what_may_be_more_than_a_check_counts(digest, step):
    assert digest(GUARDED) != digest(with_step(step))


def test_a_guard_whose_result_is_used_counts_with_its_code(digest, monkeypatch):
    source = with_step("x = guards.has_device(x)")
    before = digest(source)
    monkeypatch.setattr(guards, "has_device", guards.not_all_zero)
    assert digest(source) != before


TABLES = """
import functools
SCALE = 2
def one(x):
    return x
def two(x):
    return 2 * x
SOLVERS = {"one": one, "rest": (functools.partial(two, SCALE),)}
class Settings:
    scale = SCALE
def train(x, scale=SCALE):
    return [SOLVERS[x], Settings]
"""


@pytest.mark.parametrize(("old", "new"), [
    ("return 2 * x", "return 3 * x"),
    ('"one": one', '"one": two'),
    ('"rest"', '"others"'),
    ("partial(two, SCALE)", "partial(two, SCALE + 1)"),
], ids=["a function in a table", "another function", "a key", "an argument"])  # fmt: skip
def test_tables_count_with_what_is_in_them(digest, old, new):
    assert old in TABLES
    assert digest(TABLES) != digest(TABLES.replace(old, new))


@pytest.mark.parametrize("user", [
    "def train(x, scale=SCALE):\n    return x\n",
    "def train(x, *, scale=SCALE):\n    return x\n",
    "class Settings:\n    scale = SCALE\ndef train(x):\n    return Settings\n",
    "class Settings:\n    scale: int = SCALE\ndef train(x):\n    return Settings\n",
    "class Settings:\n    def f(self, s=SCALE):\n        pass\ndef train(x):\n    return Settings\n",
])  # fmt: skip
def test_what_is_looked_up_at_a_definition_counts(digest, user):
    assert digest(f"SCALE = 2\n{user}") != digest(f"SCALE = 3\n{user}")


def test_recursion_ends(digest):
    assert digest("def train(n):\n    return 0 if n == 0 else train(n - 1)\n")


def _train_with_the_package(values):
    return repeats.mean_interval(values)


def _another_mean(values):
    return max(values)


def test_digest_reaches_into_the_package(monkeypatch):
    before = code_digest(_train_with_the_package)
    monkeypatch.setattr(repeats, "mean_interval", _another_mean)
    assert code_digest(_train_with_the_package) != before


@pytest.mark.parametrize(("old", "new"), [
    ("return Net().forward(x)", "return Net().forward(x) + 1"),
    ("return helper(x)", "return helper(x) + 1"),
    ("class Base:\n", "class Base:\n    depth = 2\n"),
])  # fmt: skip
def test_what_was_changed_in_place_counts(digest, old, new):
    """IPython's autoreload gives the functions and classes that are there new code."""
    before = digest(BASE)
    module = sys.modules["digest_module"]
    after = digest(BASE.replace(old, new))
    changed = sys.modules["digest_module"]

    module.train.__code__ = changed.train.__code__
    for name, value in vars(changed.Base).items():
        if not name.startswith("__"):
            setattr(module.Base, name, value)
    changed.Base = module.Base

    assert code_digest(module.train) == after != before


def test_string_that_looks_like_a_comment_is_kept():
    assert normalised_source("x = '# no comment'  # a comment\n") == "x = '# no comment'"


def test_a_formatter_changes_nothing():
    assert normalised_source("f(a, b)\n") == normalised_source("f(\n    a,\n    b,\n)\n")
    assert normalised_source('x = "a"\n') == normalised_source("x = 'a'\n")


def test_a_local_name_is_not_a_global_of_the_same_name(digest):
    source = "k = {}\ndef train(x):\n    k = x\n    return k\n"
    assert digest(source.format(1)) == digest(source.format(2))


def test_the_folder_in_which_the_code_lies_does_not_count(digest):
    # Each call of the fixture writes to another file.
    source = BASE.replace("return FACTOR * x", "return FACTOR * x, __file__")
    assert digest(source) == digest(source)


def test_a_class_of_a_notebook_counts(monkeypatch):
    """The module of a notebook has no file, and `inspect` then finds functions, but no class."""

    def digest_of(body):
        source = f"class Game:\n    def loss(self):\n        {body}\n\n"
        source += "def train(config):\n    return Game().loss()\n"
        name = "<cell of a notebook>"
        monkeypatch.setitem(
            linecache.cache, name, (len(source), None, source.splitlines(keepends=True), name)
        )
        notebook = types.ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", notebook)
        exec(compile(source, name, "exec"), vars(notebook))
        return code_digest(notebook.train)

    assert digest_of("return 1") == digest_of("return 1  # why")
    assert digest_of("return 1") != digest_of("return 2")


def test_a_class_without_source_is_an_error(monkeypatch):
    notebook = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    exec("class Game:\n    def loss(self):\n        return 1", vars(notebook))
    with pytest.raises(OSError, match="source code not available"):
        code_digest(notebook.Game)
