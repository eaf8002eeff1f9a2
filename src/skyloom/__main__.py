"""python -m skyloom <verb>: the command line, and what an error looks like to a user."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import traceback

from skyloom import signals
from skyloom.errors import InputError, SkyloomError, disk_is_full
from skyloom.locks import job_lock

VERBS = ("query", "cut", "plan", "plan-shards", "peer", "tune", "download-cutouts", "query-survey", "compile-redshifts",
         "download-map", "measure-dust", "measure-photometry", "measure", "measure-structure", "assign-splits", "pack",
         "pack-multi", "train", "predict", "calibrate", "stack", "choose-z-phot", "support", "weigh", "attribute",
         "summarize-attribution", "degrade", "rank-sweep", "learning", "build-catalog", "evaluate", "report", "forced-photoz",
         "fetch-scenes", "label-scenes", "query-objects", "train-scenes", "detect", "tune-sep", "detect-sep", "judge-scenes",
         "judge-scene-redshifts", "pack-detections", "predict-scenes", "forced-scenes",
         "check-config", "serve-sky", "describe-model", "cache", "run", "bench")
UNLOCKED = ("run", "serve-sky", "check-config", "describe-model", "cache", "bench", "forced-photoz", "forced-scenes")
TIDY = ("query", "query-objects", "query-survey")  # may have a job at an archive, which no signal leaves behind
HANDS_ON = ("run",)  # what follows `--` is for another program


def main(argv=None) -> int:
    """Run one verb; 0 = done, 2 = bad input (one sentence), 1 = anything else."""
    alone, argv = argv is None, sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal can't show is no reason to die
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    top = argparse.ArgumentParser(prog="skyloom", description=__doc__)
    top.add_argument("verb", choices=VERBS)
    if not argv or argv[0] not in VERBS:
        top.parse_args(argv)
    verb = argv[0]
    module = importlib.import_module("skyloom.verbs." + verb.replace("-", "_"))
    parser = argparse.ArgumentParser(prog=f"skyloom {verb}", description=module.__doc__)
    module.arguments(parser)
    end = argv.index("--") if verb in HANDS_ON and "--" in argv else len(argv)
    args = parser.parse_args(argv[1:end])
    args.rest = argv[end + 1:]
    os.environ["SKYLOOM_VERB"] = verb  # whose fingerprint the outputs carry
    try:
        lock = job_lock("" if verb in UNLOCKED else os.environ.get("SKYLOOM_JOBS_LOCK"))
        with lock, signals.raised() if verb in TIDY else contextlib.nullcontext():
            return module.run(args) or 0
    except InputError as error:
        print(f"skyloom: {error}", file=sys.stderr)
        return 2
    except SkyloomError as error:
        print(f"skyloom: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # h5py, sqlite, torch and safetensors tell a full disk each in its own kind
        if not disk_is_full(error):
            traceback.print_exc()
            return 1
        where = getattr(error, "filename", None) or verb
        print(f"skyloom: the disk is full ({where}); free some space and run again", file=sys.stderr, flush=True)
        if alone:
            os._exit(2)  # HDF5 would crash on the way out, closing again what it couldn't write
        return 2


if __name__ == "__main__":
    sys.exit(main())
