"""CSV in UTF-8: a header line, floats with 10 significant digits, missing values empty; metadata stay in the other files."""

from __future__ import annotations

from skyloom.release.exporters import ROWS, Exporter


def write(path, blocks, meta: dict) -> None:
    """Block after block."""
    import pandas

    with open(path, "w", encoding="utf-8", newline="") as handle:
        for k, block in enumerate(blocks):
            pandas.DataFrame(block).to_csv(handle, index=False, header=not k, float_format="%.10g", lineterminator="\n")


def read(path):
    """Blocks of a file; what looks like a number is one."""
    import pandas

    with pandas.read_csv(path, chunksize=ROWS, encoding="utf-8", keep_default_na=False, na_values=[""]) as chunks:
        for chunk in chunks:
            yield {name: chunk[name].to_numpy() for name in chunk}


EXPORTER = Exporter("csv", "csv", "catalog", write, read, size=2.0)
