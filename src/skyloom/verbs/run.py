"""run: a whole run, safe after any kill: lock, wait for orphans, unlock, plan, build."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from pathlib import Path

from skyloom import config, locks
from skyloom.errors import InputError
from skyloom.release import preflight
from skyloom.sample import plan
from skyloom.schema import ROOT

# target: what it leaves in the run's folder (label, path); without a target it is what `catalog` and `report` leave
TARGETS = {"plan": [("plan", "shards/plan.tsv")], "cutouts": [("cutouts", "cutouts")], "dataset": [("dataset", "dataset")],
           "catalog": [("catalog", "catalog/photoz_catalog.parquet")], "report": [("report", "report.html")]}


def arguments(parser) -> None:
    parser.add_argument("word", nargs="?", default="", metavar="target",
                        help=f"{', '.join(TARGETS)}; default: catalog and report")
    parser.add_argument("--configfile", nargs="+", default=[], help="default: config.yaml")
    parser.add_argument("--target", default="", help="the same as the word")
    parser.add_argument("--directory", default=".")
    parser.epilog = "what follows -- are arguments for snakemake"


def run(args) -> int:
    """Build the target; the exit code of the verb that failed, else snakemake's. Prints where the results are."""
    os.chdir(args.directory)
    target, configfiles = _target(args)
    settings = config.load(configfiles or ["config.yaml"])
    results = Path("results") / settings["run"]
    with locks.run_lock(results / ".run.lock"):
        preflight.check((results, Path("cache") / settings["run"], Path("logs") / settings["run"]), settings)
        locks.wait_for_jobs(results / ".jobs.lock", settings["run_wait_s"], _tell)
        base = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        tail = ["--configfile", *configfiles] if configfiles else []
        environment = {**os.environ, "PYTHONUTF8": "1",
                       "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        subprocess.run([*base, "--unlock", *tail], env=environment, capture_output=True, check=False)
        for call in _calls(results, settings, target):
            code, sentence = _call([*base, *call, *(args.rest or ["--cores", "all"]), *tail], environment)
            if code:
                if sentence:
                    _tell(sentence)
                    return 2
                return 1
    left = TARGETS[target] if target else TARGETS["catalog"] + TARGETS["report"] if settings["models"] else TARGETS["dataset"]
    for label, path in left:
        if (results / path).exists():
            print(f"{label + ':':8} {results / path}")
    return 0


def _target(args) -> tuple[str, list[str]]:
    """(target or nothing, config files); InputError for a target that is none, or two."""
    named, files = [name for name in (args.word, args.target) if name], list(args.configfile)
    if len(files) > 1 and files[-1] in TARGETS and not Path(files[-1]).exists():
        named.append(files.pop())  # --configfile swallows every word after it
    for name in named:
        if name not in TARGETS:
            near = difflib.get_close_matches(name, TARGETS, 1, 0.5)
            raise InputError(f"unknown target {name!r}; {f'did you mean {near[0]}?' if near else 'known: ' + ', '.join(TARGETS)}")
    if len(set(named)) > 1:
        raise InputError(f"two targets, {named[0]} and {named[1]}; name one")
    return named[0] if named else "", files


def _calls(results: Path, settings: dict, wanted: str) -> list[list[str]]:
    """The calls to make: `plan` first, twice where the plan itself is still to be made."""
    known = (results / "shards" / "plan.tsv").exists() or settings["archive"] == "local"
    known = known or plan.shipped(settings["run"], settings["query"]["region"])
    calls = [["plan"]] if known else [["plan"], ["plan"]]
    if wanted == "plan":
        return calls
    return [*calls, [wanted] if wanted else []]


def _call(command, environment) -> tuple[int, str]:
    """(exit code, the last `skyloom: ` sentence that went by) of a command whose output passes through."""
    sentence = ""
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, encoding="utf-8",
                          errors="replace") as process:
        for line in process.stderr:
            sys.stderr.write(line)
            sys.stderr.flush()
            if line.strip().startswith("skyloom: "):
                sentence = line.strip()
    return process.returncode, sentence


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
