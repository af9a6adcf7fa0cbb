"""What makes a check a guard: it changes nothing, so that a digest may leave it out."""

import ast
import inspect
import re

import pytest

from tlutils import guards

PARTS = (guards.games, guards.networks, guards.samples, guards.settings)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_a_guard_changes_nothing(part):
    """It gives nothing back, assigns to nothing that it got, and calls no method that works in place."""
    tree = ast.parse(inspect.getsource(part))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert {function.name for function in functions} == set(part.__all__)
    for node in (node for function in functions for node in ast.walk(function)):
        assert not isinstance(node, ast.Assign | ast.AugAssign | ast.Delete | ast.Global | ast.NamedExpr)
        assert not (isinstance(node, ast.Return) and node.value is not None)
        assert not (isinstance(node, ast.Attribute) and re.search(r"[^_]_$", node.attr))


def test_all_guards_have_names_of_their_own():
    names = [name for part in PARTS for name in part.__all__]
    assert sorted(names) == sorted(set(guards.__all__))
    assert all(callable(getattr(guards, name)) for name in names)
