"""measure-structure: annuli and bulge + disc fits of every object of a shard's stamps from one survey."""

from __future__ import annotations

import numpy as np

from skyloom import store
from skyloom.cutouts import stamps
from skyloom.measure import blend, light
from skyloom.progress import Progress
from skyloom.verbs import common

CHUNK = 128  # objects in memory at a time, whose fits run together
NOISE = 48  # stamps, spread over the shard, from whose empty pixels the noise's correlation is measured


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("cutouts")
    parser.add_argument("--survey", required=True)
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write one row an object: `{band}_annulus_...`, `{band}_bulge_flux`, `bulge_re`, ..., with flags; see `measure.light`."""
    import pandas

    with store.reading(args.cutouts) as handle:
        ids, bands = store.column(handle, "object_id"), handle.attrs["bands"].split(",")
        scale, cd = handle["pixel_scale"][:], handle["cd"][:]
        sample = np.unique(np.linspace(0, max(len(ids) - 1, 0), NOISE).astype(int))[:len(ids)]
        correlated = blend.correlations(_stamps(handle, sample), len(bands))
        progress = Progress(total=max(len(ids), 1), label=f"measure-structure {args.survey}")
        parts = []
        for first in range(0, max(len(ids), 1), CHUNK):
            chunk = np.arange(first, min(first + CHUNK, len(ids)))
            parts.append(light.measure_stamps(_stamps(handle, chunk), bands, args.settings, scale[chunk], cd[chunk], correlated,
                                              progress))
    frame = {"object_id": ids} | {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    meta = {"survey": args.survey, "noise_neighbour_correlation": {b: round(float(c[3, 4]), 4) for b, c in
                                                                   zip(bands, correlated, strict=True)}}
    store.write_parquet(args.out, pandas.DataFrame(frame), common.provenance(args.settings) | meta)


def _stamps(handle, chunk):
    """One object at a time from the shard file."""
    ok = stamps.STATUS.index("ok")
    for k in chunk:
        yield (handle["image"][k], handle["ivar"][k], (handle["mask"][k] & stamps.UNUSABLE) != 0, handle["psf"][k],
               handle["status"][k] == ok)
