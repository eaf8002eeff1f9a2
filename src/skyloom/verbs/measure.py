"""measure: morphology of every object of a shard, band by band."""

from __future__ import annotations

import numpy as np

from skyloom import store, textfiles
from skyloom.cutouts import stamps
from skyloom.measure import morphology
from skyloom.progress import Progress
from skyloom.verbs import common

CHUNK = 128  # objects whose fits run together: bounds the memory


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("cutouts")
    parser.add_argument("--kernel", required=True, help="detection filter, a SExtractor .conv file")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write one row an object: `{band}_{column}` for every band and measurement, with flags."""
    import pandas
    import torch

    torch.set_num_threads(1)
    kernel = morphology.read_kernel(textfiles.read(args.kernel))
    with store.reading(args.cutouts) as handle:
        ids, status = store.column(handle, "object_id"), handle["status"][:]
        bands, scale, cd = handle.attrs["bands"].split(","), handle["pixel_scale"][:], handle["cd"][:]
        progress = Progress(total=max(len(ids), 1), label="measure")
        parts = []
        for first in range(0, len(ids), CHUNK):
            chunk = np.arange(first, min(first + CHUNK, len(ids)))
            parts.append(morphology.measure_stamps(_stamps(handle, chunk, status), args.settings, kernel, scale[chunk],
                                                   cd=cd[chunk], progress=progress))
    frame = {"object_id": ids}
    names = list(parts[0]) if parts else []
    for name in names:
        values = np.concatenate([part[name] for part in parts])
        frame |= {f"{band}_{name}": values[:, b] for b, band in enumerate(bands)}
    store.write_parquet(args.out, pandas.DataFrame(frame), common.provenance(args.settings))


def _stamps(handle, chunk, status):
    """One object at a time from the shard file."""
    ok = stamps.STATUS.index("ok")
    for k in chunk:
        mask = handle["mask"][k]
        yield (handle["image"][k], handle["ivar"][k], (mask & stamps.UNUSABLE) != 0, handle["psf"][k], status[k] == ok)
