"""Write docs/benchmarks.md from benchmarks/results/*.json; each file is what the script of its name printed."""

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMANDS = {"archives": "python benchmarks/archives.py 2", "attribution": "python benchmarks/attribution.py",
            "client": "python benchmarks/client.py 10", "morphology": "python benchmarks/morphology.py",
            "million": "python benchmarks/million.py (in an empty folder)",
            "photoz_time": "python benchmarks/photoz_time.py results/dc2",
            "structure": "python benchmarks/structure.py 100 PYTHON (an interpreter with statmorph 0.7 and pyimfit 1.1)",
            "workflow": "python benchmarks/workflow.py galaxiesml (in the folder of that finished run)",
            "training": "python -m skyloom bench --model galaxiesml_cnn --size 64 --objects 1024",
            "training_h200": "python -m skyloom bench --model MODEL --encoder ENCODER --batch-size BATCH --precision PRECISION",
            "training_h100": "python -m skyloom bench --model MODEL --size SIZE --objects OBJECTS",
            "attribution_h200": "python benchmarks/attribution.py 4 large; python benchmarks/attribution.py 8 atto",
            "paper_sizes_h200": "the jobs train, predict, attribute of resources/recipes/mantis_shrimp_full.yaml with "
                                "batches: 100, max_epochs: 2, started by hand on a GPU box"}


def rows(value, name=""):
    """Flat (key, value) pairs of a nested mapping."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from rows(inner, f"{name} {key}".strip())
    else:
        yield name, value


def main():
    lines = ["# benchmarks", "", "Written by `python benchmarks/make_page.py` from `benchmarks/results/`.",
             "Two virtual cores of a shared machine, or the GPU that is named: ratios within a run hold better than the rates."]
    for path in sorted((HERE / "results").glob("*.json")):
        lines += ["", f"## {path.stem}", "", f"`{COMMANDS[path.stem]}`", "", "| | |", "|---|---|"]
        lines += [f"| {key} | {value} |" for key, value in rows(json.loads(path.read_text()))]
    (HERE.parent / "docs" / "benchmarks.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
