"""The training config inside a checkpoint, read without executing it."""

import ast
from typing import Any

from mmengine.config import Config

from mmdvis.errors import CheckpointError


def stored_config(meta: dict[str, Any], origin: str) -> Config:
    """The config that a checkpoint was trained with.

    mmengine stores the text of the config, which it would execute. Here only assignments of literals and ``dict(...)``
    calls are evaluated, because checkpoints are not trusted.

    Args:
        meta: meta information of the checkpoint.
        origin: name of the checkpoint for messages.

    Raises:
        CheckpointError: there is no config, or its text is more than assignments of literals.
    """
    text = meta.get('cfg') or meta.get('config')
    if not isinstance(text, str) or not text.strip():
        raise CheckpointError(f'{origin} does not contain its config; name the config file as well')
    try:
        return Config(literal_assignments(text))
    except (SyntaxError, ValueError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise CheckpointError(
            f'the config in {origin} cannot be read ({error}); name the config file as well'
        ) from None


def literal_assignments(text: str) -> dict[str, Any]:
    """``name = literal`` lines of a Python text as a dict.

    Raises:
        ValueError: the text has anything else.
    """
    values = {}
    for node in ast.parse(text).body:
        if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)):
            raise ValueError(f'line {node.lineno} is not an assignment')
        values[node.targets[0].id] = evaluate(node.value)
    return values


def evaluate(node: ast.expr) -> Any:
    """The value of a literal, or of a ``dict(...)`` call of literals.

    Raises:
        ValueError: the expression is anything else.
    """
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        if all(keyword.arg for keyword in node.keywords) and all(isinstance(arg, ast.Dict) for arg in node.args):
            first = evaluate(node.args[0]) if len(node.args) == 1 else {}  # mmengine writes dict({'a.b': 1})
            if len(node.args) < 2:
                return {**first, **{keyword.arg: evaluate(keyword.value) for keyword in node.keywords}}
    if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
        return {ast.literal_eval(key): evaluate(value) for key, value in zip(node.keys, node.values) if key is not None}
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [evaluate(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    return ast.literal_eval(node)
