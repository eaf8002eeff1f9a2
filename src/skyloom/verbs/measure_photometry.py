"""measure-photometry: magnitudes of a shard's targets in every band of every imaging survey."""

from __future__ import annotations

import numpy as np

from skyloom import store
from skyloom.cutouts.stamps import STATUS, UNUSABLE
from skyloom.measure import photometry
from skyloom.progress import Progress
from skyloom.surveys import imaging
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("cutouts", nargs="+", help="the shard's stamps, one file a survey")
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Write the magnitudes of a shard's targets; see `magnitudes`."""
    magnitudes(args.settings, args.cutouts, args.out)


def magnitudes(settings: dict, cutouts, out) -> None:
    """Write object_id and `{survey}_{band}_{mag,mag_err,flux,flux_err,detected}` of files of stamps, one a survey; bands without
    data are NaN."""
    import pandas

    columns = {}
    for path in cutouts:
        columns |= _survey(path)
    store.write_parquet(out, pandas.DataFrame(columns), common.provenance(settings))


def _survey(path) -> dict[str, np.ndarray]:
    with store.reading(path) as handle:
        survey, bands = handle.attrs["service"], handle.attrs["bands"].split(",")
        ids, aperture = store.column(handle, "object_id"), imaging.REGISTRY[survey].aperture
        out = {"object_id": ids} | {f"{survey}_{band}_{name}": np.full(len(ids), np.nan)
                                    for band in bands for name in photometry.COLUMNS}
        progress = Progress(total=len(ids), label=f"measure-photometry {survey}")
        usable = np.isin(handle["status"][:], [STATUS.index("ok"), STATUS.index("masked")])
        for k in range(len(ids)):
            for b in np.flatnonzero(usable[k]):
                ivar = handle["ivar"][k, b]
                bad = ((handle["mask"][k, b] & UNUSABLE) != 0) | (ivar == 0)
                measured = photometry.measure(handle["image"][k, b], ivar, bad, aperture)
                for name, value in measured.items():
                    out[f"{survey}_{bands[b]}_{name}"][k] = value
            progress.step(1)
    return out
