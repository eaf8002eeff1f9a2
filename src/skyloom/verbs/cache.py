"""cache: what lies in cache/, and how to empty it."""

from __future__ import annotations

import shutil
from pathlib import Path


def arguments(parser) -> None:
    parser.add_argument("--folder", default="cache")
    parser.add_argument("--run", help="one run only")
    parser.add_argument("--prune", action="store_true", help="delete raw replies and training states")


def run(args) -> None:
    """List size by run and service; with --prune delete them."""
    root = Path(args.folder)
    for folder in sorted(root.glob("*/*")):
        if args.run and folder.parent.name != args.run:
            continue
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{folder.parent.name}/{folder.name}: {size / 1e6:.1f} MB" + (" deleted" if args.prune else ""))
        if args.prune:
            shutil.rmtree(folder)
