"""Rubin's Science Platform: SIA2 search of the deep coadds, DataLink to their cutout service, SODA cutouts, and TAP.

Images are in nJy with variance and mask; each tract has a gnomonic WCS of its own, which its overlapping patches share. No
address that a reply names is followed: of a search we keep the ids of datasets, of their links the id that SODA wants.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import numpy as np

from skyloom import wcs
from skyloom.archives import fitsimages, guard, maskplanes, votables
from skyloom.archives.plane import Plane
from skyloom.errors import ReplyError
from skyloom.flux import NJY_ZERO_POINT

SUBTYPE, DETAIL = "lsst.deep_coadd", "MaskedImage"
MARGIN = 2  # px that a cutout is asked for beyond the stamp on each side, so that real pixels fill it after centring
MOST_ROWS = 5000  # of a search
LOOSE = 1.5  # px by which a cutout may reach beyond what was asked for
_SEARCHED = ("access_url", "dataproduct_subtype", "lsst_band", "lsst_tract", "lsst_patch", "s_region")
_SERVICES = ("cutout-sync-maskedimage", "cutout-sync")


@dataclass(frozen=True)
class Coadd:
    """One band of one patch: its id at DataLink, and the corners of its sky region ((ra, dec), ...) in deg."""

    dataset: str
    band: str
    tract: int
    patch: int
    corners: tuple[tuple[float, float], ...]


def search_params(ra: float, dec: float, radius: float) -> dict:
    """Query of all deep coadds that touch a circle (deg)."""
    return {"POS": f"CIRCLE {ra:.6f} {dec:.6f} {radius:.4f}", "CALIB": "3", "DPSUBTYPE": SUBTYPE, "MAXREC": str(MOST_ROWS)}


def parse_search(body: bytes, bands) -> list[Coadd]:
    """The coadds of a search in bands that are wanted; ReplyError as `votables`, `cut_off`, `bad_region`, `no_dataset`."""
    tree = votables.read(body)
    if votables.cut_off(tree):
        raise ReplyError("cut_off", f"the search found more than {MOST_ROWS} coadds")
    rows = votables.columns(tree, _SEARCHED)
    keep = [k for k, (band, kind) in enumerate(zip(rows["lsst_band"], rows["dataproduct_subtype"], strict=True))
            if band in bands and kind == SUBTYPE]
    return [Coadd(_dataset(rows["access_url"][k]), str(rows["lsst_band"][k]), int(rows["lsst_tract"][k]),
                  int(rows["lsst_patch"][k]), _corners(rows["s_region"][k])) for k in keep]


def _dataset(url: str) -> str:
    found = {key.upper(): values for key, values in parse_qs(urlsplit(url).query).items()}.get("ID", [])
    if len(found) != 1 or not found[0].strip():
        raise ReplyError("no_dataset", "an access_url that names no dataset for DataLink")
    return found[0]


def _corners(region: str) -> tuple[tuple[float, float], ...]:
    numbers = [float(text) for text in re.findall(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?", region)]
    if not region.strip().upper().startswith("POLYGON") or len(numbers) < 6 or len(numbers) % 2:
        raise ReplyError("bad_region", f"s_region is {region[:60]!r}")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def links_params(dataset: str) -> dict:
    """Query of a dataset's links."""
    return {"ID": dataset}


def parse_links(body: bytes) -> str:
    """The id by which the cutout service knows the dataset; ReplyError as `votables`, `no_cutouts`.

    The signed link to the whole file, which holds for minutes, is left where it is.
    """
    described = {resource.ID: resource for resource in votables.read(body).resources if resource.type == "meta"}
    for name in _SERVICES:
        if name in described:
            inputs = {param.name: param.value for group in described[name].groups for param in group.entries}
            if inputs.get("ID"):
                return str(inputs["ID"])
    raise ReplyError("no_cutouts", f"no service {' or '.join(_SERVICES)}; it has {', '.join(map(str, described)) or 'none'}")


def cutout_params(soda_id: str, ra: float, dec: float, size: int, scale: float) -> dict:
    """Query of a cutout with image, variance and mask that holds `size` px of `scale` arcsec: SODA's circle gives the square
    around it. The level of detail is always said, because its default has changed."""
    radius = (size / 2 + MARGIN) * scale / 3600
    return {"ID": soda_id, "POS": f"CIRCLE {ra:.10f} {dec:.10f} {radius:.10f}", "CUTOUTDETAIL": DETAIL}


@guard.reading("the cutout")
def parse_cutout(body: bytes, ra: float, dec: float, size: int, coadd: Coadd, scale: float) -> Plane:
    """A Plane in nJy of a cutout for `size` px around a position, which a patch's edge may have cut off.

    ReplyError: `not_fits`, `bad_fits`, `wrong_detail`, `unknown_unit`, `wrong_band`, `wrong_patch`, `wrong_scale`,
    `wrong_size`, `off_centre`, `all_nan`.
    """
    hdus = fitsimages.images(_unpacked(body))
    (top, _), planes = hdus[0], _named(hdus)
    head, image = planes["IMAGE"]
    _check_unit(top, head)
    _check_dataset(top, coadd)
    crval, crpix, cd = fitsimages.tan(head)
    wcs.check_scale(cd, scale)
    _check_place(*wcs.tan_pixel(crval, crpix, cd, ra, dec), image.shape, size)
    mask_head, mask = planes["MASK"]
    if "NO_DATA" not in maskplanes.bits(mask_head):
        raise ReplyError("bad_fits", "the mask's header names no plane NO_DATA")
    bad = (mask & maskplanes.unusable(mask_head)) != 0
    empty = (mask & (1 << maskplanes.bits(mask_head)["NO_DATA"])) != 0
    if empty.all() or not np.isfinite(image).any():
        raise ReplyError("all_nan", "no pixel with data")
    return Plane(image.astype(np.float32), mask.astype(np.int32), bad, planes["VARIANCE"][1].astype(np.float32), NJY_ZERO_POINT,
                 crval, crpix, cd)


def check_cutout(body: bytes, *asked) -> None:
    """ReplyError as `parse_cutout` for a reply that has to be asked for again; one without data is an answer."""
    try:
        parse_cutout(body, *asked)
    except ReplyError as error:
        if error.cause != "all_nan":
            raise


def _unpacked(body: bytes) -> bytes:
    """The file with plain images where it has tile-compressed ones."""
    if b"ZIMAGE" not in body:
        return body
    import io

    from astropy.io import fits

    out = io.BytesIO()
    with fits.open(io.BytesIO(body)) as hdus:
        images = [hdu for hdu in hdus if hdu.is_image]
        fits.HDUList([fits.ImageHDU(hdu.data, hdu.header, name=hdu.name) if isinstance(hdu, fits.CompImageHDU) else hdu
                      for hdu in images]).writeto(out)
    return out.getvalue()


def _named(hdus) -> dict:
    found = {str(head.value("EXTNAME", "")).strip().upper(): (head, pixels) for head, pixels in hdus if pixels is not None}
    missing = [name for name in ("IMAGE", "VARIANCE", "MASK") if name not in found]
    if missing:
        raise ReplyError("wrong_detail", f"no plane {missing[0]}, asked for {DETAIL}; it has {', '.join(found) or 'none'}")
    if len({found[name][1].shape for name in ("IMAGE", "VARIANCE", "MASK")}) > 1 or found["IMAGE"][1].ndim != 2:
        raise ReplyError("bad_fits", "image, variance and mask aren't of one shape")
    return found


def _check_unit(*heads) -> None:
    """Every unit that is named must be nJy, and one must be named: a coadd in counts would pass for nJy otherwise."""
    units = [str(head.value("BUNIT", "") or "").strip() for head in heads]
    if {unit.lower() for unit in units if unit} != {"njy"}:
        raise ReplyError("unknown_unit", f"BUNIT is {' and '.join(repr(unit) for unit in units if unit) or 'missing'}, not nJy")


def _check_dataset(top, coadd: Coadd) -> None:
    """The cards by which the cutout service says what it has cut; a file without them is taken."""
    pairs = [(top.value(f"BTLRK{k:03}"), top.value(f"BTLRV{k:03}")) for k in range(20)]
    said = {str(name).strip(): str(value).strip() for name, value in pairs if name is not None}
    for name, own in (("band", coadd.band), ("tract", coadd.tract), ("patch", coadd.patch)):
        if said.get(name, str(own)) != str(own):
            raise ReplyError("wrong_band" if name == "band" else "wrong_patch", f"{name} {said[name]}, asked for {own}")


def _check_place(x: float, y: float, shape, size: int) -> None:
    """The image must lie within the square that was asked for around pixel (x, y)."""
    half = size / 2 + MARGIN
    for at, length in ((x, shape[1]), (y, shape[0])):
        if length > 2 * (half + LOOSE):
            raise ReplyError("wrong_size", f"{shape[1]} x {shape[0]} px, asked for {2 * half:g}")
        low, high = -0.5 - at, length - 0.5 - at
        if low < -half - LOOSE or high > half + LOOSE:
            raise ReplyError("off_centre", f"px {low:.1f} to {high:.1f} from the position, asked for {half:g} on each side")


def cone(columns, ra: float, dec: float, radius: float, most: int) -> dict:
    """TAP's sync query of the Object table's `columns` in a circle (deg), at most so many rows."""
    adql = (f"SELECT {', '.join(columns)} FROM dp1.Object WHERE CONTAINS(POINT('ICRS', coord_ra, coord_dec), "
            f"CIRCLE('ICRS', {ra:.8f}, {dec:.8f}, {radius:.6f})) = 1")
    return {"REQUEST": "doQuery", "LANG": "ADQL", "RESPONSEFORMAT": "votable", "MAXREC": str(most), "QUERY": adql}


def parse_cone(body: bytes, columns, whole: bool = True) -> dict[str, np.ndarray]:
    """{name: column} of a cone's rows; ReplyError as `votables`, `cut_off` where all were wanted and more were there."""
    tree = votables.read(body)
    if whole and votables.cut_off(tree):
        raise ReplyError("cut_off", "more rows than the service gives at once; ask for a smaller circle")
    return votables.columns(tree, columns)


def object_columns(bands) -> list[str]:
    """Columns of the Object table that `objects` reads."""
    own = [f"{band}_cModelFlux{what}" for band in bands for what in ("", "Err")]
    return ["objectId", "coord_ra", "coord_dec", "refExtendedness", "sersic_reff_x", "sersic_reff_y", "sersic_rho", *own]


def objects(rows: dict, bands, scale: float):
    """DataFrame of the Object table's rows in our words: `object_id, ra, dec, is_star, half_light_radius, q, pa, {band}_flux,
    {band}_flux_err`; `scale` arcsec/px.

    The half-light ellipse of the Sersic fit is given as a covariance: semi-axes squared are the eigenvalues of
    (x^2, rho x y; rho x y, y^2), its angle runs from x, which is west.
    """
    import pandas

    x, y, rho = (np.asarray(rows[f"sersic_{name}"], float) for name in ("reff_x", "reff_y", "rho"))
    half, turn = (x**2 + y**2) / 2, np.hypot((x**2 - y**2) / 2, rho * x * y)
    with np.errstate(divide="ignore", invalid="ignore"):
        long, short = np.sqrt(half + turn), np.sqrt(np.maximum(half - turn, 0))
        angle = (np.pi - 0.5 * np.arctan2(2 * rho * x * y, x**2 - y**2)) % np.pi
        extended = np.asarray(rows["refExtendedness"], float)
        out = {"object_id": np.asarray(rows["objectId"], np.int64), "ra": np.asarray(rows["coord_ra"], float),
               "dec": np.asarray(rows["coord_dec"], float),
               "is_star": np.where(np.isfinite(extended), (extended < 0.5).astype(int), -1),
               "half_light_radius": np.sqrt(long * short) * scale, "q": short / long, "pa": angle}
    for band in bands:
        for ours, theirs in (("flux", "cModelFlux"), ("flux_err", "cModelFluxErr")):
            out[f"{band}_{ours}"] = np.asarray(rows[f"{band}_{theirs}"], float)
    return pandas.DataFrame(out)
