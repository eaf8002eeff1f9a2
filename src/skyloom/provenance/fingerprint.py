"""Fingerprints of the code that decides a rule's numbers, for Snakemake's `params`.

Snakemake doesn't see imported modules. A fingerprint hashes the syntax trees (no comments, no
docstrings, no layout) of a verb's module and of every skyloom module it imports, transitively,
so that a changed formula reruns its rule and a comment reruns nothing. What a registry adds by name
is no import: a rule names those modules besides. Libraries that decide numbers count with their version.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from skyloom.provenance import memory

SOURCE = Path(__file__).resolve().parents[1]
# Plumbing that decides no number, and the embedded sky, which stands for the outside world:
# its replies are kept in cache/ as a live archive's are.
INFRASTRUCTURE = ("skyloom", "skyloom.__main__", "skyloom.acquisition", "skyloom.archives.paths", "skyloom.verbs",
                  "skyloom.config", "skyloom.errors", "skyloom.locks", "skyloom.progress", "skyloom.provenance",
                  "skyloom.provenance.canonical", "skyloom.provenance.fingerprint", "skyloom.provenance.memory",
                  "skyloom.registry", "skyloom.schema", "skyloom.signals", "skyloom.surveys", "skyloom.surveys.service",
                  "skyloom.trainings")
OUTSIDE = "skyloom.sky"
# Libraries whose version may change a number: import name -> distribution
LIBRARIES = {"numpy": "numpy", "scipy": "scipy", "sep": "sep", "torch": "torch", "astropy": "astropy", "galsim": "galsim",
             "astropy_healpix": "astropy-healpix", "speclite": "speclite"}


@functools.cache
def fingerprint(verb: str, *more: str) -> str:
    """Hash of the code behind `python -m skyloom <verb>` and of the modules `more` (16 hex digits)."""
    together = hashlib.sha256()
    found = modules(verb, *more)
    for module in found:
        together.update(f"{module}={_facts(module)[0]}\n".encode())
    for library in sorted({library for module in found for library in _facts(module)[2]}):
        together.update(f"{library}={_version(library)}\n".encode())
    return together.hexdigest()[:16]


def modules(verb: str, *more: str) -> list[str]:
    """Names of the modules in the fingerprint of a verb, sorted; `more` are followed as the verb's own is."""
    seen, queue = set(), ["skyloom.verbs." + verb.replace("-", "_"), *more]
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


@functools.cache
def _version(library: str) -> str:
    """A library's version without its build (`+cpu`), empty where it isn't installed."""
    try:
        return version(LIBRARIES[library]).split("+")[0]
    except PackageNotFoundError:
        return ""


@functools.cache
def _path(module: str) -> Path | None:
    """The source of a module of ours, or of a plug-in's package."""
    top, *parts = module.split(".")
    if top == "skyloom":
        source = SOURCE
    else:
        spec = find_spec(top)
        if spec is None or not spec.origin:
            return None
        source = Path(spec.origin).parent
        if not parts:
            return Path(spec.origin)
    base = source.joinpath(*parts)
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _tree(text: str) -> ast.Module:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


@functools.cache
def _facts(module: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(hash of the module's syntax tree, modules of skyloom or of its own package that it imports at its top or inside a
    function, libraries that decide numbers)."""
    text = _path(module).read_bytes()
    top = module.split(".")[0]
    key = hashlib.sha256(top.encode() + text).hexdigest()
    known = memory.recall("fingerprints")
    if key not in known:
        tree = _tree(text.decode())
        known[key] = [hashlib.sha256(ast.dump(tree).encode()).hexdigest(), *_names(tree, top)]
        memory.remember("fingerprints", known)
    digest, names, libraries = known[key]
    found = {".".join(name.split(".")[:k]) for name in names for k in range(1, name.count(".") + 2)}
    return digest, tuple(sorted(name for name in found if _path(name))), tuple(libraries)


def _names(tree: ast.Module, top: str) -> tuple[list[str], list[str]]:
    """Dotted names below skyloom or `top` that a tree imports (importing a.b.c runs a and a.b too), and names of LIBRARIES."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    tops = {name.split(".")[0] for name in found}
    return sorted(name for name in found if name.split(".")[0] in ("skyloom", top)), sorted(tops & set(LIBRARIES))
