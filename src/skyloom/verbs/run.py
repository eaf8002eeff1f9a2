"""run: a whole run, safe after any kill: lock, wait for orphans, unlock, plan, build."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from skyloom import config, locks
from skyloom.config import ROOT
from skyloom.sample import plan

TARGETS = ("plan", "cutouts", "dataset", "catalog", "report")


def arguments(parser) -> None:
    parser.add_argument("--configfile", nargs="+", default=[], help="default: config.yaml")
    parser.add_argument("--target", choices=TARGETS, help="default: catalog and report")
    parser.add_argument("--directory", default=".")
    parser.add_argument("snakemake", nargs="*", help="after --: arguments for snakemake")


def run(args) -> int:
    """Build the target; the exit code of the verb that failed, else snakemake's. Prints where the results are."""
    os.chdir(args.directory)
    files = args.configfile or ["config.yaml"]
    settings = config.load(files)
    results = Path("results") / settings["run"]
    with locks.run_lock(results / ".run.lock"):
        locks.wait_for_jobs(results / ".jobs.lock", settings["run_wait_s"], _tell)
        base = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        tail = ["--configfile", *args.configfile] if args.configfile else []
        options = args.snakemake or ["--cores", "all"]
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        subprocess.run([*base, "--unlock", *tail], env=environment, capture_output=True, check=False)
        for target in _targets(results, settings, args.target):
            code, sentence = _call([*base, *options, *target, *tail], environment)
            if code:
                if sentence:
                    _tell(sentence)
                    return 2
                return 1
    print(f"catalog: {results / 'catalog' / 'photoz_catalog.parquet'}\nreport:  {results / 'report.html'}")
    return 0


def _targets(results: Path, settings: dict, wanted: str | None) -> list[list[str]]:
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
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        for line in process.stderr:
            sys.stderr.write(line)
            sys.stderr.flush()
            if line.strip().startswith("skyloom: "):
                sentence = line.strip()
    return process.returncode, sentence


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
