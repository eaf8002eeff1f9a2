"""Registries: a folder of which every module adds one thing, and entry points by which other packages add theirs.

Listing a registry imports its modules, so they import torch, astropy and pandas inside functions only.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from importlib.metadata import entry_points
from pathlib import Path

from skyloom.errors import InputError


class Registry:
    """The things of one kind by name: a mapping whose order is that of the names.

    `package` is the folder of ours, whose modules hold `attribute`, an instance of `kind`; entry points of `group`
    name such instances elsewhere. Every instance has a `name`.
    """

    def __init__(self, package: str, attribute: str, group: str, kind: type, what: str):
        self.package, self.attribute, self.group, self.kind, self.what = package, attribute, group, kind, what

    @functools.cached_property
    def modules(self) -> dict[str, str]:
        """{name: the module that holds it}, for fingerprints."""
        return {name: module for name, (_, module) in self._found.items()}

    @functools.cached_property
    def _found(self) -> dict:
        folder = Path(importlib.import_module(self.package).__file__).parent
        places = [f"{self.package}.{path.stem}" for path in folder.glob("*.py") if not path.stem.startswith("_")]
        found = [(getattr(importlib.import_module(place), self.attribute, None), place) for place in sorted(places)]
        for point in _points(self.group):
            try:
                found.append((point.load(), point.value.split(":")[0]))
            except (Exception, SystemExit) as error:  # whatever somebody else's package raises
                raise InputError(f"the plug-in {point.name} ({point.value}) can't be loaded: {type(error).__name__} {error}; "
                                 "mend or uninstall its package") from None
        out: dict = {}
        for entry, module in found:
            if not isinstance(entry, self.kind):
                raise InputError(f"{module} holds no {self.what} ({self.attribute} is {type(entry).__name__}, not "
                                 f"{self.kind.__name__}); mend or uninstall it")
            if entry.name in out:
                raise InputError(f"the {self.what} {entry.name} is defined twice, in {out[entry.name][1]} and {module}; "
                                 "uninstall one of them")
            out[entry.name] = entry, module
        return dict(sorted(out.items()))

    def __iter__(self):
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, name) -> bool:
        return name in self._found

    def values(self) -> list:
        """All things."""
        return [entry for entry, _ in self._found.values()]

    def __getitem__(self, name: str):
        """The thing of a name; InputError with the nearest known one for another."""
        if name not in self._found:
            near = difflib.get_close_matches(name, list(self), 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(self)}"
            raise InputError(f"unknown {self.what} {name!r}; {hint}")
        return self._found[name][0]


@functools.cache
def _installed():
    """Entry points of all packages, read once for all registries."""
    return entry_points()


def _points(group: str) -> list:
    return sorted(_installed().select(group=group), key=lambda point: point.name)
