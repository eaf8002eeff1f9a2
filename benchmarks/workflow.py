"""Time of a call with nothing to do, and peak memory of shard jobs, of the finished run in this folder. Prints JSON."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas


def main(run="demo", rounds=3):
    seconds = []
    for command in (["--version"], ["--cores", "16"]):
        times = []
        for _ in range(rounds):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", "snakemake", *command], check=True, capture_output=True)
            times.append(time.perf_counter() - started)
        seconds.append(sorted(times)[rounds // 2])
    memory = {}
    for rule in ("download_cutouts", "measure", "train"):
        files = Path("logs", run, rule).glob("*.benchmark.tsv")
        memory[rule] = max(float(pandas.read_csv(path, sep="\t")["max_rss"].iloc[-1]) for path in files)
    print(json.dumps({"run": run, "snakemake_version_s": round(seconds[0], 2), "nothing_to_be_done_s": round(seconds[1], 2),
                      "peak_rss_mb": {k: round(v) for k, v in memory.items()}}))


if __name__ == "__main__":
    main(*sys.argv[1:2])
