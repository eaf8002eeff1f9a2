"""What a network finds in tiles, as rows of a table: every source once, in the tile whose core holds it; or what is at given
positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom import wcs
from skyloom.models import families
from skyloom.models.scene import detect, inputs
from skyloom.sample import labels

PZ = ("weight", "mean", "sigma")  # of a mixture, (n, 5) each
SAME = 1.0  # arcsec: nearer to a position that is asked for, a found source is what was asked for


@dataclass
class Place:
    """Where a tile lies: its id, its gnomonic WCS (`crpix` 1-based), and the px (x0, x1, y0, y1) whose sources are its own."""

    tile_id: int
    crval: np.ndarray
    crpix: np.ndarray
    cd: np.ndarray
    core: np.ndarray

    def sky(self, x, y):
        """(ra, dec) in deg of 0-based px."""
        return wcs.tan_position(self.crval, self.crpix, self.cd, x, y)

    def pixel(self, ra, dec) -> tuple[np.ndarray, np.ndarray]:
        """0-based px (x, y) of positions in deg (n,), NaN for those on the other half of the sky."""
        xi, eta, c = wcs.gnomonic(self.crval, np.asarray(ra, float), np.asarray(dec, float))
        dx, dy = np.linalg.inv(np.asarray(self.cd, float)) @ np.stack([xi, eta])
        return np.where(c > 0, dx + self.crpix[0] - 1, np.nan), np.where(c > 0, dy + self.crpix[1] - 1, np.nan)

    def owns(self, x, y) -> np.ndarray:
        """(n,) bool: px inside the core."""
        return labels.owned(x, y, self.core)


def place(handle, k: int) -> Place:
    """Where tile `k` of an open file of scenes lies."""
    return Place(int(handle["tile_id"][k]), *(handle[name][k] for name in ("crval", "crpix", "cd", "core")))


def tile(handle, k: int) -> tuple[inputs.Tile, Place]:
    """Tile `k` of an open file of scenes."""
    about = handle.attrs
    seen = inputs.Tile(handle["image"][k], handle["ivar"][k], handle["psf_fwhm"][k], tuple(str(about["bands"]).split(",")),
                       float(about["pixel_scale"]), str(about.get("unit", "nJy")))
    return seen, place(handle, k)


def found(model, card, seen: inputs.Tile, place: Place, precision: str, device) -> detect.Found:
    """The sources that the tile's core holds."""
    out = families.of(card.model).detected(model, card, seen, precision=precision, device=device)
    return out.of(np.flatnonzero(place.owns(out.x, out.y)))


def every(handle, model, card, device):
    """(place, bands, found) of every tile of an open file of scenes."""
    for k in range(len(handle["tile_id"])):
        seen, where = tile(handle, k)
        yield where, seen.bands, found(model, card, seen, where, card.precision, device)


def forced(model, card, seen: inputs.Tile, x, y, precision: str, device) -> detect.Found:
    """What is at positions (n,) px, among the sources that are found beside them, so that light is shared with these."""
    asked = np.stack([x, y], axis=1)
    others = families.of(card.model).detected(model, card, seen, precision=precision, device=device)
    places = np.stack([others.x, others.y], axis=1)
    apart = ((places[:, None] - asked) ** 2).sum(axis=2) > (SAME / seen.pixel_scale) ** 2
    everything = np.concatenate([asked, places[apart.all(axis=1)]])
    out = families.of(card.model).detected(model, card, seen, positions=everything, precision=precision, device=device)
    return out.of(np.arange(len(asked)))


def table(out: detect.Found, place: Place, bands, detector: str) -> dict[str, np.ndarray]:
    """Columns of sources: id, place, score, class, fluxes in nJy, size in arcsec, flags."""
    from skyloom.measure import scene  # sep is not where networks are trained

    (ra, dec), n = place.sky(out.x, out.y), len(out.x)
    return {"object_id": scene.ids(place.tile_id, detector, n), "ra": ra, "dec": dec,
            "tile_id": np.full(n, place.tile_id, np.int64), **detect.columns(out, bands)}


def together(parts: list[dict]) -> dict[str, np.ndarray]:
    """Columns of several tiles as one."""
    return {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}


def pz(out: detect.Found) -> dict[str, np.ndarray]:
    """The mixtures (n, 5)."""
    return {name: np.asarray(getattr(out, name), np.float32) for name in PZ}


def masks(out: detect.Found, first: int, filled: int) -> dict[str, np.ndarray]:
    """Boxes of the sources' masks and their bits: `row` counts on from `first`, `offset` from `filled` bits."""
    own = detect.masks(out)
    return own | {"row": own["row"] + first, "offset": own["offset"] + filled}
