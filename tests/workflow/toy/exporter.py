"""JSON, a line a row."""

import json

from skyloom.release.exporters import Exporter


def write(path, blocks, meta):
    """Line after line; the metadata first."""
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(json.dumps(meta) + "\n")
        for block in blocks:
            plain = {name: values.tolist() for name, values in block.items()}
            for row in zip(*plain.values(), strict=True):
                handle.write(json.dumps(dict(zip(plain, row, strict=True))) + "\n")


def read(path):
    """One block."""
    import numpy as np

    with open(path, encoding="utf-8") as handle:
        next(handle)
        rows = [json.loads(line) for line in handle]
    yield {name: np.array([row[name] for row in rows]) for name in rows[0]}


EXPORTER = Exporter("jsonl", "jsonl", "catalog", write, read, size=4.0)
