"""Stamps from the user's own images."""

from __future__ import annotations

import numpy as np

from skyloom.archives import guard, local, replies
from skyloom.cutouts.stamps import UNUSABLE, Stamp, blank, centred_kernel, fit_kernel, window_stamp
from skyloom.errors import ReplyError


class Files:
    """The stamps of members named by id in a manifest, with the settings of the `stamps` block."""

    service, name, own_scales = "local", "local", True  # every stamp has the scale of its own image

    def __init__(self, settings: dict, object_ids, manifest: str):
        table = local.read_manifest(manifest)
        self.settings, self.object_ids, self.request = settings, object_ids, manifest
        self.size, self.scale, self.bands = settings["size"], settings["pixel_scale"], local.bands_of(table)
        self.rows = {(int(r["object_id"]), r["band"]): r for r in table.to_dict("records")}
        measured = (table["variance_path"] != "") | (table["ivar_path"] != "")
        self.ivar_source = "archive" if measured.all() else "estimated"
        self.digests: dict[str, str] = {}

    def stamps(self, k: int, cache=None, dead=None) -> tuple[list[Stamp], list[np.ndarray], list[str]]:
        """(stamps, PSF kernels, sha256 of the files) of member `k`, one a band; NaN kernels where there is no PSF."""
        options, out = self.settings, ([], [], [])
        for band in self.bands:
            row = self.rows.get((int(self.object_ids[k]), band))
            stamp, kernel = (blank(self.size, "no_coverage"), None) if row is None else stamp_of_file(
                row, self.scale, self.size, options["max_masked_fraction"], options["pad"] == "masked")
            out[0].append(stamp)
            out[1].append(np.full((options["psf_size"],) * 2, np.nan, np.float32) if kernel is None
                          else fit_kernel(centred_kernel(kernel), options["psf_size"]))
            out[2].append("" if row is None else self._digest(row["path"]))
        return out

    def _digest(self, path: str) -> str:
        """sha256 of a file, read once for all the objects on it; empty where it can't be read (the stamp says why)."""
        if path not in self.digests:
            try:
                self.digests[path] = replies.file_digest(path)
            except OSError:
                self.digests[path] = ""
        return self.digests[path]


def stamp_of_file(row, scale: float, size: int, max_masked: float, pad: bool) -> tuple[Stamp, np.ndarray | None]:
    """(stamp, PSF kernel or None) of a manifest row; a file that can't be used gives status `failed` with the cause."""
    try:
        with guard.reading(row["path"]):
            found = local.read_image(row, scale, size)
            image, ivar, unusable = local.calibrated(found)
    except ReplyError as error:
        return blank(size, "failed", str(error)), None
    mask = np.where(unusable, UNUSABLE, np.uint32(0))
    stamp = window_stamp(image, ivar, mask, found.x, found.y, found.zero_point, size, max_masked, pad)
    if stamp.status != "ok":
        stamp.cause += f" ({row['path']})"
    stamp.cause, stamp.pixel_scale, stamp.cd = stamp.cause or found.note, found.pixel_scale, found.cd
    return stamp, found.psf
