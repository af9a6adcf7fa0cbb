"""Which code made a number: a digest of a function and of everything of ours that it calls."""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import linecache
import sys
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType

from tlutils import guards

__all__ = ["code_digest", "normalised_source"]


class _PlainStrings(ast.NodeTransformer):
    """Write f-strings as calls, because `ast.unparse` quotes them in another way from Python 3.12 on."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Call:
        # Early releases of 3.12 leave an empty text at the end of a nested format.
        parts = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
        return ast.Call(ast.Name("__fstring__", ast.Load()), [*map(self.visit, parts)], [])

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.Tuple:
        spec = ast.Constant(None) if node.format_spec is None else self.visit(node.format_spec)
        return ast.Tuple([self.visit(node.value), ast.Constant(node.conversion), spec], ast.Load())


def normalised_source(source: str) -> str:
    """Return Python source as its syntax tree says it: without comments, docstrings, layout and guards.

    Two texts that differ only in these give the same result, so that neither rewording a docstring nor a
    formatter makes a stored run stale, nor a check of the input (`guards`) that all its inputs pass. The
    result is the same in every version of Python that knows the syntax.

    Examples
    --------
    >>> normalised_source("def f(x):\\n    '''Say.'''\\n    guards.has_device(x)\\n    return (x,)  # why\\n")
    'def f(x):\\n    return (x,)'
    """
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef | ast.Module):
            node.body = node.body[ast.get_docstring(node) is not None :]
        if isinstance(steps := getattr(node, "body", None), list):  # of a lambda it is an expression
            node.body = [step for step in steps if not _is_guard(step)] or [ast.Pass()]
    return ast.unparse(_PlainStrings().visit(tree))


def _is_guard(statement: ast.stmt) -> bool:
    """Say whether a statement is a guard by itself that is given only what is there already.

    ``guards.has_channels(x, len(mean))`` is one; ``guards.has_channels(next(batches), 3)`` moves the batches
    on, and so does count.
    """
    match statement:
        case ast.Expr(ast.Call(ast.Attribute(ast.Name("guards"), name), arguments, [])):
            return name in guards.__all__ and all(map(_is_there, arguments))
    return False


def _is_there(argument: ast.expr) -> bool:
    """Say whether an expression is a constant, a name, an attribute of such, or the length of such."""
    match argument:
        case ast.Constant() | ast.Name():
            return True
        case ast.Attribute(owner) | ast.Call(ast.Name("len"), [owner], []):
            return _is_there(owner)
    return False


def code_digest(function: Callable) -> str:
    """Return a SHA-256 over `function` and every function or class of ours that it reaches.

    "Of ours" means of tlutils or of the module (or notebook) in which `function` stands; torch and NumPy
    count through the versions in the provenance record. Plain constants used by name count by their value,
    and so do the contents of dictionaries, tuples and `functools.partial`: a table of functions counts with
    their code.

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
        found[name] = _normalised(item, _state(item))
        for used_name, used in _used_objects(item):
            for place, part in _parts(used_name, used):
                if isinstance(part, bool | int | float | str):
                    found[f"{name}:{place}"] = repr(part)
                elif _is_ours(part, function.__module__):
                    pending.append(part)
    text = "\n".join(f"{name}={found[name]}" for name in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()


def _parts(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield what a value is made of, each part with a name of its own; what is no table is one part.

    A list or a set is no table: what a program adds to is a record of the past and not a setting.

    >>> list(_parts("a", {"b": (1, 2)}))
    [('a.0', 'b'), ('a.1.0', 1), ('a.1.1', 2)]
    """
    match value:
        case dict():
            inner = [part for entry in value.items() for part in entry]
        case frozenset():
            inner = sorted(value, key=repr)
        case functools.partial():
            inner = [value.func, *value.args, *(part for entry in value.keywords.items() for part in entry)]
        case tuple():
            inner = value
        case _:
            yield name, value
            return
    for i, part in enumerate(inner):
        yield from _parts(f"{name}.{i}", part)


def _source(item: Callable) -> str:
    """Return the source of a function or class; `inspect` does not find that of a class in a notebook."""
    try:
        return inspect.getsource(item)
    except OSError:
        for member in vars(item).values() if inspect.isclass(item) else ():
            lines = linecache.getlines(member.__code__.co_filename) if inspect.isfunction(member) else []
            for node in ast.parse("".join(lines)).body:
                if isinstance(node, ast.ClassDef) and node.name == item.__name__:
                    return ast.unparse(node)
        raise


def _is_ours(item: object, home: str) -> bool:
    """Say whether `item` is a function or class of tlutils or of the module `home`.

    This module is left out: `repeats.sweep` asks it for names of files, and how a digest is made does not
    change what a training gives.
    """
    if not (inspect.isfunction(inspect.unwrap(item) if callable(item) else item) or inspect.isclass(item)):
        return False
    module = getattr(item, "__module__", "") or ""
    return module == home or (module.split(".")[0] == "tlutils" and module != __name__)


def _functions(item: Callable) -> list[FunctionType]:
    """Return a function by itself, or the functions of a class."""
    members = list(vars(item).values()) if inspect.isclass(item) else [item]
    functions = [getattr(member, "__func__", getattr(member, "fget", member)) for member in members]
    return [function for function in functions if inspect.isfunction(function)]


def _state(item: Callable) -> tuple:
    """Return what is another where IPython's autoreload has changed a definition in place."""
    plain = [value for value in vars(item).values() if isinstance(value, bool | int | float | str)]
    return (*plain, *(function.__code__ for function in _functions(item)))


# A chapter asks for the digests of many runs whose code is nearly the same: what a definition says is worked
# out once. What its names mean may change, and is looked up each time.
@functools.cache
def _normalised(item: Callable, _key: tuple) -> str:
    """Return the normalised source of a function or class."""
    return normalised_source(_source(item))


def _used_objects(item: Callable) -> Iterator[tuple[str, object]]:
    """Yield what the global names in the source of `item` mean where it was defined: `name`, `module.name`.

    A class also uses the classes that it extends.
    """
    if inspect.isclass(item):
        yield from ((base.__qualname__, base) for base in item.__bases__)
    namespace = vars(sys.modules[item.__module__])
    for name, attribute in _used_names(item, _state(item)):
        if attribute is None and name in namespace:
            yield name, namespace[name]
        owner = namespace.get(name)
        if attribute is not None and isinstance(owner, ModuleType | type) and hasattr(owner, attribute):
            yield f"{name}.{attribute}", getattr(owner, attribute)


@functools.cache
def _used_names(item: Callable, key: tuple) -> list[tuple[str, str | None]]:
    """Return the global names in the source of `item`: (name, None), and (owner, attribute)."""
    tree = ast.parse(_normalised(item, key))
    # `__file__` and its kind say where the code lies, which differs between machines, not what it does.
    used = {name for name in _global_names(item) | _names_at_definition(tree) if not name.startswith("__")}
    found: dict[tuple[str, str | None], None] = {}  # each once, in their order
    for node in ast.walk(tree):
        match node:
            case ast.Name(name) if name in used:
                found[name, None] = None
            case ast.Attribute(ast.Name(name), attribute) if name in used:
                found[name, attribute] = None
    return [*found]


def _global_names(item: Callable) -> set[str]:
    """Return the names that the code of `item` looks up outside itself; its local names do not count."""
    pending = [function.__code__ for function in _functions(item)]
    names = set()
    while pending:
        code = pending.pop()
        names |= {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
        pending += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return names


def _names_at_definition(tree: ast.Module) -> set[str]:
    """Return the names that are looked up when a definition runs: in defaults, decorators, class bodies."""
    evaluated: list[ast.AST] = []
    inside = (step for node in tree.body if isinstance(node, ast.ClassDef) for step in node.body)
    for node in (*tree.body, *inside):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                evaluated += [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.decorator_list]
            case ast.ClassDef():
                evaluated += node.decorator_list
            case ast.AnnAssign() if node.value is not None:
                evaluated.append(node.value)
            case ast.Assign():
                evaluated.append(node.value)
    return {name.id for part in evaluated for name in ast.walk(part) if isinstance(name, ast.Name)}
