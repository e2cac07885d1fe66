"""As much of GraphQL as RunPod's clients still send: one root field, its selection, variables.

Failures come as HTTP 200 with `errors`, as they do there.
"""

from __future__ import annotations

import re
from typing import Any

TOKEN = re.compile(r"[{}()]|[A-Za-z_]\w*|\$\w+|[^\s{}()]")
Tree = dict[str, Any]  # field -> its selection


class Refusal(Exception):
    """What `errors` says."""


def read(query: str) -> Tree:
    """The selection of an operation, without names, arguments and variables."""
    tokens = TOKEN.findall(re.sub(r"#[^\n]*", "", query))
    start = next((i for i, token in enumerate(_flat(tokens)) if token == "{"), None)
    if start is None:
        raise Refusal("Syntax Error: Unexpected <EOF>.")
    tree, rest = _selection(_flat(tokens)[start + 1 :])
    if rest:
        raise Refusal("Syntax Error: one operation is served here")
    return tree


def _flat(tokens: list[str]) -> list[str]:
    """Without what stands in parentheses."""
    kept, depth = [], 0
    for token in tokens:
        depth += {"(": 1}.get(token, 0)
        if not depth:
            kept.append(token)
        depth -= {")": 1}.get(token, 0)
    return kept


def _selection(tokens: list[str]) -> tuple[Tree, list[str]]:
    tree: Tree = {}
    last = ""
    while tokens:
        token, tokens = tokens[0], tokens[1:]
        if token == "}":
            return tree, tokens
        if token == "{":
            if not last:
                raise Refusal("Syntax Error: Expected Name, found {.")
            tree[last], tokens = _selection(tokens)
        elif token.isidentifier():
            last = token
            tree[token] = {}
        elif token != ",":
            raise Refusal(f"Syntax Error: Unexpected {token}.")
    raise Refusal("Syntax Error: Expected Name, found <EOF>.")


def select(value: Any, tree: Tree, kind: str) -> Any:
    """What of a value was asked for; a field that it has not is a failure."""
    if isinstance(value, list):
        return [select(one, tree, kind) for one in value]
    if not isinstance(value, dict):
        return value
    for name in tree:
        if name not in value:
            raise Refusal(f'Cannot query field "{name}" on type "{kind}".')
    return {name: select(value[name], below, name) for name, below in tree.items()}


def answer(body: object, roots: dict[str, Any]) -> dict[str, Any]:
    """`roots`: what each root field gives, called with the operation's variables."""
    try:
        if not isinstance(body, dict) or not isinstance(body.get("query"), str):
            raise Refusal("Must provide query string.")
        variables = body.get("variables") or {}
        data = {}
        for name, tree in read(body["query"]).items():
            if name not in roots:
                raise Refusal(f'Cannot query field "{name}" on type "Query".')
            data[name] = select(roots[name](variables), tree, name)
    except Refusal as refusal:
        code = {"code": "INTERNAL_SERVER_ERROR"}
        return {"errors": [{"message": str(refusal), "extensions": code}], "data": None}
    return {"data": data}
