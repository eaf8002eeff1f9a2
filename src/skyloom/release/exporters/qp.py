"""qp's HDF5 layout of p(z): `hist`, `mixmod` or `quant`, the ids in `ancil/object_id`. A row without p(z) holds NaN."""

from __future__ import annotations

from skyloom.release.exporters import Exporter


def write(path, blocks, meta: dict) -> None:
    """Datasets of all rows, filled block by block."""
    import numpy as np

    from skyloom import store
    from skyloom.pz import distribution

    with store.writing(path, meta) as handle:
        first, about, data = 0, handle.create_group("meta"), handle.create_group("data")
        ids = None
        for block in blocks:
            name, shared, rows = {"histogram": _hist, "mixture": _mixmod, "quantiles": _quant}[distribution.form(block)](block)
            if ids is None:
                about.create_dataset("pdf_name", data=np.array([name.encode()]), track_times=False)
                for key, values in ({"pdf_version": np.array([0])} | shared).items():
                    store.put(about, key, values)
                for key, values in rows.items():
                    data.create_dataset(key, (blocks.rows, *values.shape[1:]), values.dtype, track_times=False)
                ids = handle.create_group("ancil").create_dataset("object_id", (blocks.rows,), block["object_id"].dtype,
                                                                  track_times=False)
            last = first + len(block["object_id"])
            ids[first:last] = block["object_id"]
            for key, values in rows.items():
                data[key][first:last] = values
            first = last


def _hist(arrays):
    import numpy as np

    density = np.asarray(arrays["pz"], float) / np.diff(arrays["edges"])
    return "hist", {"bins": np.asarray(arrays["edges"], float)[None]}, {"pdfs": density}


def _mixmod(arrays):
    import numpy as np

    return "mixmod", {}, {name: np.asarray(arrays[name], float) for name in ("means", "stds", "weights")}


def _quant(arrays):
    """With the ends of the cdf written out, because qp would put its own there."""
    import numpy as np

    from skyloom.pz import quantiles

    levels, locs = quantiles.ends(arrays["levels"], arrays["locs"])
    # qp takes its default for the shape between quantiles, straight lines of the cdf: it can't read the name back from a file
    return "quant", {"quants": levels[None], "ensure_extent": np.array([False])}, {"locs": locs}


def read(path):
    """Blocks of a file in the forms of `distribution`."""
    import numpy as np

    from skyloom import store
    from skyloom.pz import distribution

    with store.reading(path) as handle:
        name, ids = handle["meta/pdf_name"][0].decode(), handle["ancil/object_id"]
        for some in distribution.blocks(len(ids)):
            rows = {key: values[some] for key, values in handle["data"].items()}
            if name == "hist":
                edges = handle["meta/bins"][0]
                rows = {"pz": rows["pdfs"] * np.diff(edges), "edges": edges}
            elif name == "quant":
                rows = {"levels": handle["meta/quants"][0][1:-1], "locs": rows["locs"][:, 1:-1]}
            yield {"object_id": ids[some], **rows}


EXPORTER = Exporter("qp", "hdf5", "pz", write, read)
