"""A table of a million objects through every step: seconds and peak memory of each job.

    python benchmarks/million.py [OBJECTS] [TRAINING]      # in an empty folder with 20 GB to spare; prints JSON

Toy galaxies in six bands with errors, some not detected; `tabular`, temperature and pit; two cores. A job's peak is the kernel's
own (VmHWM), read until it ends.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import yaml

ROOT = Path(__file__).resolve().parents[1]
BANDS = ("u", "g", "r", "i", "z", "y")
DEPTH = (25.0, 26.5, 26.0, 25.5, 24.8, 23.8)  # magnitudes of 5 sigma
CONFIG = {"run": "million", "archive": "local", "cuts": {"z_min": 0.0, "sigma_z": "none", "magnitudes": False},
          "split": {"method": "hash"}, "models": {"tabular": {"max_epochs": 10}},
          "calibration": {"methods": ["temperature", "pit"]}, "train": {"threads": 2},
          "local": {"tables": {"training": "training.csv", "evaluation": "evaluation.csv"},
                    "columns": {"id": "id", "ra": "ra", "dec": "dec", "redshift": "truth", "magnitudes": {b: b for b in BANDS},
                                "errors": {b: f"e{b}" for b in BANDS}}}}


def table(n: int, first: int, seed: int) -> pandas.DataFrame:
    """Galaxies whose colours tell z, with noise that grows; 99 below two sigma."""
    rng = np.random.default_rng(seed)
    z = rng.gamma(3.0, 0.25, n)
    bright = rng.uniform(20, 25.5, n)
    out = {"id": np.arange(first, first + n), "ra": rng.uniform(0, 60, n), "dec": rng.uniform(-30, 0, n), "truth": z}
    for k, (band, depth) in enumerate(zip(BANDS, DEPTH, strict=True)):
        truth = bright + (2 - k) * 0.25 + (0.9 - 0.3 * k) * np.sin(2.2 * z + 0.4 * k)
        flux, noise = 10 ** (-0.4 * truth), 10 ** (-0.4 * depth) / 5
        seen = flux + noise * rng.standard_normal(n)
        there = seen > 2 * noise
        out[band] = np.where(there, -2.5 * np.log10(np.where(there, seen, 1)), 99.0)
        out[f"e{band}"] = np.where(there, 1.0857 * noise / np.where(there, seen, 1), 99.0)
    return pandas.DataFrame(out).round(5)


def peaks(process) -> dict:
    """{verb: [seconds, MB]} of every job of skyloom below a process, the longest and the largest of a verb, until it ends."""
    jobs: dict = {}
    while process.poll() is None:
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                words = (status.parent / "cmdline").read_text().split("\0")
                facts = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            except OSError:
                continue  # it has just ended
            if "-m" in words and "skyloom" in words and "VmHWM" in facts and str(Path.cwd()) == _folder(status.parent):
                one = jobs.setdefault((status.parent.name, words[words.index("skyloom") + 1]), [time.time(), 0.0, 0])
                one[1:] = time.time() - one[0], max(one[2], int(facts["VmHWM"].split()[0]) // 1024)
        time.sleep(0.1)
    out: dict = {}
    for (_, verb), (_, seconds, size) in jobs.items():
        known = out.get(verb, [0, 0])
        out[verb] = [round(max(known[0], seconds), 1), max(known[1], size)]
    return out


def _folder(process: Path) -> str:
    try:
        return str((process / "cwd").readlink())
    except OSError:
        return ""


def main(objects: int = 1_000_000, training: int = 20_000) -> None:
    table(training, 1, 1).to_csv("training.csv", index=False)
    table(objects, 10_000_001, 2).to_csv("evaluation.csv", index=False)
    Path("million.yaml").write_text(yaml.safe_dump(CONFIG))
    for name in ("Snakefile", "workflow", "profiles", "resources", "envs", "src"):
        if not Path(name).exists():
            Path(name).symlink_to(ROOT / name)
    started = time.time()
    with Path("million.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "million.yaml"],
                                   stdout=subprocess.DEVNULL, stderr=log)
        jobs = peaks(process)
    if process.returncode:
        sys.exit(Path("million.log").read_text()[-2000:])
    print(json.dumps({"objects": objects, "training": training, "cores": 2, "minutes": round((time.time() - started) / 60, 1),
                      "seconds_and_peak_mb": {verb: f"{seconds} s, {size} MB" for verb, (seconds, size) in jobs.items()}}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
