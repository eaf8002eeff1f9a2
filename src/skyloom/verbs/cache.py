"""cache: what lies in cache/, how to ask again for what failed, and how to empty it."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path

import numpy as np

from skyloom import locks, store
from skyloom.archives import replies
from skyloom.errors import InputError


def arguments(parser) -> None:
    parser.add_argument("--folder", default="cache")
    parser.add_argument("--results", default="results", help="where the runs' stamps lie")
    parser.add_argument("--run", help="one run only")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--prune", action="store_true", help="delete raw replies and training states")
    what.add_argument("--retry-failed", action="store_true",
                      help="forget failed replies and the stamps made of them: the next run asks again, for these only")


def run(args) -> None:
    """List size by run and service; with --prune delete them, with --retry-failed what failed."""
    root = Path(args.folder)
    if args.run and not (root / args.run).is_dir():
        raise InputError(f"{root} has no run {args.run}; it has {', '.join(sorted(p.name for p in root.glob('*'))) or 'none'}")
    for folder in sorted(path for path in root.glob(f"{args.run or '*'}/*") if path.is_dir()):
        if args.retry_failed:
            _retry_failed(folder, Path(args.results) / folder.parent.name)
            continue
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{folder.parent.name}/{folder.name}: {size / 1e6:.1f} MB" + (" deleted" if args.prune else ""))
        if args.prune:
            shutil.rmtree(folder)


def _retry_failed(folder: Path, results: Path) -> None:
    """Forget the failed replies of one service, and the files of stamps that were made of them or hold a failed one."""
    with contextlib.ExitStack() as stack:
        if results.is_dir():
            stack.enter_context(locks.run_lock(results / ".run.lock"))
            locks.wait_for_jobs(results / ".jobs.lock", 0)
        forgotten = {path.stem: replies.forget_failed(path) for path in sorted(folder.glob("*.sqlite"))}
        stamps = sorted((results / "cutouts" / folder.name).glob("*.h5"))
        made = [path for path in stamps if forgotten.get(path.stem) or _has_failed(path)]
        for path in made:
            path.unlink()
    if any(forgotten.values()) or made:
        print(f"{folder.parent.name}/{folder.name}: {sum(forgotten.values())} failed replies forgotten, {len(made)} files of "
              "stamps to be made again by the next run")


def _has_failed(path: Path) -> bool:
    """Whether a file of stamps holds a failed one, or one without a PSF; one that can't be read is left to the run."""
    try:
        with store.reading(path) as handle:
            names = str(handle.attrs["status_names"]).split(",")
            status = handle["status"][:]
            no_psf = np.isnan(handle["psf"][:, :, 0, 0]) & (status == names.index("ok"))
            return bool((status == names.index("failed")).any() or no_psf.any())
    except (InputError, KeyError, ValueError) as error:
        print(f"skyloom: warning: {path} is left as it is: {error}", file=sys.stderr)
        return False
