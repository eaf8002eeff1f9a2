"""Fingerprints of the code that decides a rule's numbers, for Snakemake's `params`.

Snakemake doesn't see imported modules. A fingerprint hashes the syntax trees (no comments, no
docstrings, no layout) of a verb's module and of every skyloom module it imports, transitively,
so that a changed formula reruns its rule and a comment reruns nothing.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

from skyloom import memory

SOURCE = Path(__file__).resolve().parent
# Plumbing that decides no number, and the embedded sky, which stands for the outside world:
# its replies are kept in cache/ as a live archive's are.
INFRASTRUCTURE = ("skyloom", "skyloom.errors", "skyloom.progress", "skyloom.locks", "skyloom.fingerprint",
                  "skyloom.config", "skyloom.trainings", "skyloom.canonical", "skyloom.memory", "skyloom.__main__",
                  "skyloom.verbs")
OUTSIDE = "skyloom.sky"


def fingerprint(verb: str) -> str:
    """Hash of the code behind `python -m skyloom <verb>` (16 hex digits)."""
    together = hashlib.sha256()
    for module in modules(verb):
        together.update(f"{module}={_facts(module)[0]}\n".encode())
    return together.hexdigest()[:16]


def modules(verb: str) -> list[str]:
    """Names of the skyloom modules in the fingerprint of a verb, sorted."""
    start = "skyloom.verbs." + verb.replace("-", "_")
    seen, queue = set(), [start]
    while queue:
        module = queue.pop()
        if module in seen or allowed(module):
            continue
        seen.add(module)
        queue.extend(_facts(module)[1])
    return sorted(seen)


def allowed(module: str) -> bool:
    """True for modules that no fingerprint needs (plumbing, and the embedded sky)."""
    return module in INFRASTRUCTURE or module == OUTSIDE or module.startswith(OUTSIDE + ".")


def _path(module: str) -> Path | None:
    base = SOURCE.joinpath(*module.split(".")[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _tree(text: str) -> ast.Module:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


@functools.cache
def _facts(module: str) -> tuple[str, tuple[str, ...]]:
    """(hash of the module's syntax tree, skyloom modules it imports at its top or inside a function)."""
    text = _path(module).read_bytes()
    key = hashlib.sha256(text).hexdigest()
    known = memory.recall("fingerprints")
    if key not in known:
        tree = _tree(text.decode())
        known[key] = [hashlib.sha256(ast.dump(tree).encode()).hexdigest(), _names(tree)]
        memory.remember("fingerprints", known)
    found = {".".join(name.split(".")[:k]) for name in known[key][1] for k in range(1, name.count(".") + 2)}
    return known[key][0], tuple(sorted(name for name in found if _path(name)))


def _names(tree: ast.Module) -> list[str]:
    """Dotted names below skyloom that a tree imports; importing a.b.c runs a and a.b too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return sorted(name for name in found if name.split(".")[0] == "skyloom")
