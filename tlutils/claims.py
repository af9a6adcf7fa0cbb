"""What becomes of a chapter's claims where its runs are trained anew.

The cells beside the text ``assert`` what it says about the stored runs. Whoever trains gets other digits,
on a GPU above all, and a notebook that stops at the first of them would never be read to its end.
"""

from __future__ import annotations

import ast
import textwrap

__all__ = ["SayInstead", "say_instead_of_stopping"]


class SayInstead(ast.NodeTransformer):
    """Turn each ``assert`` into lines that are printed where it does not hold, one per claim.

    Examples
    --------
    >>> told = SayInstead().visit(ast.parse("assert 1 == 2"))
    >>> exec(compile(ast.fix_missing_locations(told), "cell", "exec"))
    The text here speaks of the stored runs. With what was trained here it does not hold that 1 == 2
    """

    def visit_Assert(self, node: ast.Assert) -> list[ast.If]:
        """Return ``if not ...: print(...)``, one for each claim in ``assert all([...])``."""
        match node.test:
            case ast.Call(func=ast.Name(id="all"), args=[ast.List(elts=[_, *_] as claims)]):
                pass
            case claim:
                claims = [claim]
        return [ast.copy_location(_say(claim), node) for claim in claims]


def _say(claim: ast.expr) -> ast.If:
    if isinstance(claim, ast.Starred):
        claim = ast.Call(ast.Name("all", ast.Load()), [claim.value], [])
    told = (
        "The text here speaks of the stored runs. With what was trained here it does not hold that "
        + textwrap.shorten(ast.unparse(claim), 300, placeholder=" …")
    )
    say = ast.Expr(ast.Call(ast.Name("print", ast.Load()), [ast.Constant(told)], []))
    return ast.If(ast.UnaryOp(ast.Not(), claim), [say], [])


def say_instead_of_stopping() -> None:
    """Let the cells that follow in this notebook say which of their claims do not hold, and go on.

    Outside a notebook nothing happens.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell and not any(isinstance(found, SayInstead) for found in shell.ast_transformers):
        shell.ast_transformers.append(SayInstead())
