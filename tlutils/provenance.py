"""Which code made a number: a digest of a function and of everything of ours that it calls."""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import sys
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from types import ModuleType

__all__ = ["code_digest", "normalised_source"]


def normalised_source(source: str) -> str:
    """Return Python source without comments, docstrings and white space.

    Two texts that differ only in these give the same result, so that rewording a docstring does not make a
    stored run stale.

    Examples
    --------
    >>> normalised_source("def f(x):\\n    '''Say.'''\\n    return x  # why\\n")
    'deff(x):returnx'
    """
    source = textwrap.dedent(source)
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef | ast.Module):
            continue
        if ast.get_docstring(node) is not None:
            docstring = node.body[0]
            for number in range(docstring.lineno - 1, docstring.end_lineno):
                lines[number] = "\n"
    for token in tokenize.generate_tokens(io.StringIO("".join(lines)).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column] + "\n"
    return "".join("".join(lines).split())


def code_digest(function: Callable) -> str:
    """Return a SHA-256 over `function` and every function or class of ours that it reaches.

    "Of ours" means of tlutils or of the module (or notebook) in which `function` stands; torch and NumPy
    count through the versions in the provenance record. Plain constants used by name count by their value.

    Parameters
    ----------
    function
        A function or class with source code at hand.

    Returns
    -------
    64 hexadecimal digits.

    Raises
    ------
    OSError
        If the source is not at hand (a function made by `exec`, say).

    Examples
    --------
    >>> len(code_digest(code_digest))
    64
    """
    found: dict[str, str] = {}
    pending = [function]
    while pending:
        item = inspect.unwrap(pending.pop())
        name = f"{item.__module__}.{item.__qualname__}"
        if name in found:
            continue
        source = inspect.getsource(item)
        found[name] = normalised_source(source)
        for used_name, used in _used_objects(item, source):
            if isinstance(used, bool | int | float | str | tuple):
                found[f"{name}:{used_name}"] = repr(used)
            elif _is_ours(used, function.__module__):
                pending.append(used)
    text = "\n".join(f"{name}={found[name]}" for name in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()


def _is_ours(item: object, home: str) -> bool:
    """Say whether `item` is a function or class of tlutils or of the module `home`."""
    if not (inspect.isfunction(inspect.unwrap(item) if callable(item) else item) or inspect.isclass(item)):
        return False
    module = getattr(item, "__module__", "") or ""
    return module == home or module.split(".")[0] == "tlutils"


def _used_objects(item: Callable, source: str) -> Iterator[tuple[str, object]]:
    """Yield what the names in `source` mean where `item` was defined: `name` and `module.name`."""
    namespace = vars(sys.modules[item.__module__])
    for node in ast.walk(ast.parse(textwrap.dedent(source))):
        if isinstance(node, ast.Name) and node.id in namespace:
            yield node.id, namespace[node.id]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = namespace.get(node.value.id)
            if isinstance(owner, ModuleType | type) and hasattr(owner, node.attr):
                yield f"{node.value.id}.{node.attr}", getattr(owner, node.attr)
