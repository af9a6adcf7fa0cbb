"""Find tests that cannot fail: a comparison or closeness call whose result is thrown away,
and test functions with no assertion at all. Standard library only.

Usage: python lint_tests.py tests/
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

CLOSENESS = re.compile(r"(allclose|isclose|array_equal|torch\.equal)$")
ASSERTION = re.compile(r"\bassert\b|assert_\w+|pytest\.(raises|warns)|\.assert\w+\(|benchmark\(")


def inside_raises(tree: ast.AST) -> set[int]:
    """Return the ids of statements inside `with pytest.raises(...)`, which may discard a value."""
    return {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        and any(re.search(r"raises|assertRaises|warns", ast.unparse(i.context_expr)) for i in node.items)
        for child in ast.walk(node)
    }


def lint(path: Path) -> list[str]:
    """Return one message per test statement or test function that cannot fail."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    excused, problems = inside_raises(tree), []
    for function in ast.walk(tree):
        if not (isinstance(function, ast.FunctionDef) and function.name.startswith("test")):
            continue
        for statement in ast.walk(function):
            if not isinstance(statement, ast.Expr) or id(statement) in excused:
                continue
            value = statement.value
            discarded_call = isinstance(value, ast.Call) and CLOSENESS.search(ast.unparse(value.func))
            if isinstance(value, ast.Compare) or (discarded_call and "assert" not in ast.unparse(value.func)):
                problems.append(f"{path}:{statement.lineno}: result thrown away: {ast.unparse(value)[:70]}")
        if not ASSERTION.search(ast.get_source_segment(source, function) or ""):
            problems.append(f"{path}:{function.lineno}: {function.name} asserts nothing")
    return problems


if __name__ == "__main__":
    found = [m for root in sys.argv[1:] for p in sorted(Path(root).rglob("test_*.py")) for m in lint(p)]
    print("\n".join(found) or "no vacuous tests")
    sys.exit(int(bool(found)))
