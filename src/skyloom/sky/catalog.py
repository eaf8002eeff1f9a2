"""What the embedded archive's tables say: measured magnitudes, flags, duplicates, and redshifts good and bad.

Rates of the defects are ours, chosen so that each condition of the GalaxiesML query rejects some rows.
"""

from __future__ import annotations

import functools

import numpy as np

from skyloom.sky import geometry, hashing, hsc, photometry, population

FLAGS = {"sdsscentroid_flag": 0.004, "pixelflags_interpolatedcenter": 0.008, "pixelflags_crcenter": 0.003,
         "pixelflags_bad": 0.002, "cmodel_flag": 0.006}
DETECTED = 5.0  # S/N in some band from which a deep sky's catalog lists a source
UNRESOLVED = 0.6  # arcsec: a source this close to a brighter one is no object of its own
REPEATED = 0.7  # share of a source's rows that are repeats of it
FAINTEST = 24.0  # of a deep sky's redshifts
LIMIT = 22.5  # faintest i in the table: the bright tier, so that a query over 1000 deg^2 stays affordable


def _unit(ids: np.ndarray, *parts) -> np.ndarray:
    """Uniform numbers in [0, 1), one an id, independent for different parts."""
    with np.errstate(over="ignore"):
        bits = hashing.splitmix(ids.astype(np.uint64) * hashing.M2 + np.uint64(hashing.key(*parts)))
    return (bits >> np.uint64(11)) / float(1 << 53)


def _normal(ids: np.ndarray, *parts) -> np.ndarray:
    from scipy.stats import norm

    return norm.ppf(np.clip(_unit(ids, *parts), 1e-12, 1 - 1e-12))


@functools.lru_cache(4)
def forced(sky: hsc.Sky, box) -> dict[str, np.ndarray]:
    """Columns of `forced` and `forced2` for a box in deg: one row per measurement of a source, several a source."""
    source = population.in_region(sky.seed, box, _tiers(sky), reddening=sky.reddening)
    keep = (source["i"] < LIMIT) | sky.deep
    source = {name: column[keep] for name, column in source.items()}
    tracts = np.array([geometry.tract_of(a, d) for a, d in zip(source["ra"], source["dec"], strict=True)], int)
    seen = np.zeros(len(tracts), bool)
    pixels = np.zeros((2, len(tracts)))
    for tract in np.unique(tracts):
        here = np.flatnonzero(tracts == tract)
        pixels[:, here] = hsc.pixel_of(tract, source["ra"][here], source["dec"][here])
        for chunk in np.array_split(here, max(1, len(here) // 500)):
            if len(chunk):
                seen[chunk] = hsc.covered(sky, tract, *pixels[:, chunk])
    source = {name: column[seen] for name, column in source.items()}
    tracts, pixels = tracts[seen], pixels[:, seen]
    fluxes = {band: _measured_flux(sky, source, tracts, pixels, band, box) for band in hsc.BANDS}
    if sky.deep:
        seen = _listed(sky, source, fluxes, box)
        source, tracts, pixels = {name: column[seen] for name, column in source.items()}, tracts[seen], pixels[:, seen]
        fluxes = {band: tuple(part[seen] for part in pair) for band, pair in fluxes.items()}
    # geometric number of rows with mean 1 / (1 - REPEATED), at most 12
    u = _unit(source["id"], sky.seed, "rows")
    rows = np.minimum(1 + np.floor(np.log1p(-u) / np.log(REPEATED)), 12).astype(int)
    rows[source["i"] >= LIMIT] = 1
    first = np.repeat(np.cumsum(rows) - rows, rows)
    visit = np.arange(rows.sum()) - first
    fluxes = {band: tuple(np.repeat(part, rows) for part in pair) for band, pair in fluxes.items()}
    source = {name: np.repeat(column, rows, axis=0) for name, column in source.items()}
    return _measured(sky, source, np.repeat(tracts, rows), np.repeat(pixels, rows, axis=1), visit, fluxes)


def _tiers(sky: hsc.Sky) -> tuple:
    """What the catalog is drawn from: a deep sky's lists everything that is seen, any other's the bright tier."""
    return population.tiers(True) if sky.deep else (population.GALAXY_TIERS[0], population.STARS)


def _listed(sky: hsc.Sky, source: dict, fluxes: dict, box) -> np.ndarray:
    """Whether each source is an object of a deep sky's catalog: seen in some band, and not lost in a brighter neighbour."""
    from scipy.spatial import cKDTree

    seen = np.max([flux / error for flux, error in fluxes.values()], axis=0) >= DETECTED
    around = _around(sky, box)
    middle = float(np.median(around["ra"])), float(np.median(around["dec"]))
    here, there = (np.column_stack(geometry.project(*middle, table["ra"], table["dec"])) for table in (source, around))
    pairs = cKDTree(here).sparse_distance_matrix(cKDTree(there), UNRESOLVED, output_type="coo_matrix")
    lost = around["i"][pairs.col] < source["i"][pairs.row]
    seen[pairs.row[lost]] = False
    return seen


def _shapes(sky, source, tracts) -> dict[str, np.ndarray]:
    """Adaptive moments in i (arcsec^2; 1 runs west, 2 north) of each row and of the PSF there: Gaussians of the half-light radii
    of the brighter of disc and bulge."""
    b = hsc.BANDS.index("i")
    part = np.where(source["bulge"][:, b] > source["disc"][:, b], "bulge", "disc")
    size, q = (np.where(part == "bulge", source[f"{name}_bulge"], source[f"{name}_disc"]) for name in ("re", "q"))
    size = np.where(source["kind"] == 0, size / photometry.GAUSS, 0.0) ** 2
    tract, at = np.unique(tracts, return_inverse=True)
    seen = np.array([(hsc.seeing(sky, int(one), "i") / 2.3548) ** 2 for one in tract])[at]
    cos, sin = np.cos(np.pi - source["pa"]), np.sin(np.pi - source["pa"])
    long, short = size / q, size * q
    out = {"11": long * cos**2 + short * sin**2, "22": long * sin**2 + short * cos**2, "12": (long - short) * cos * sin}
    psf = {"11": seen, "22": seen, "12": np.zeros(len(seen))}
    return ({f"i_sdssshape_shape{k}": out[k] + psf[k] for k in out} | {f"i_sdssshape_psf_shape{k}": psf[k] for k in psf})


def _extended(sky, source, ids, fluxes) -> np.ndarray:
    """The pipeline's extendedness in i: 1 where a source is wider than the PSF. A deep sky's faint sources show that badly."""
    if not sky.deep:
        return np.where(source["kind"] == 0, 1.0, 0.0)
    flux, error = fluxes["i"]
    own = np.where(source["kind"] == 0, np.maximum(source["re_disc"], source["re_bulge"]) / photometry.GAUSS, 0)
    wider = (own / (hsc.SEEING["i"] / 2.3548)) ** 2 + 2 * error / np.clip(flux, error, None) * _normal(ids, sky.seed, "extended")
    return np.where(wider > 0.1, 1.0, 0.0)


def _measured(sky, source, tracts, pixels, visit, fluxes) -> dict[str, np.ndarray]:
    patch = np.stack(geometry.patch_of(*pixels), axis=1)
    ids = _object_ids(tracts, patch, source["id"], visit)
    east, north = (0.02 / 3600 * _normal(ids, sky.seed, axis) for axis in ("x", "y"))
    ra, dec = (source["ra"] + east / np.cos(np.radians(source["dec"]))) % 360, np.clip(source["dec"] + north, -90, 90)
    skymap = tracts * 10000 + patch[:, 0] * 100 + patch[:, 1]
    r, d = np.radians(ra), np.radians(dec)
    xyz = np.stack([np.cos(d) * np.cos(r), np.cos(d) * np.sin(r), np.sin(d)], axis=1)
    out = {"object_id": ids, "ra": ra, "dec": dec, "tract": tracts, "patch": patch[:, 0] * 100 + patch[:, 1],
           "coord": np.array([f"({a:.12f}, {b:.12f}, {c:.12f})" for a, b, c in xyz], object),
           "skymap_id": skymap, "isprimary": visit == 0, "source": source["id"], "z": source["z"],
           "kind": source["kind"]}
    out |= _shapes(sky, source, tracts)
    extended = _extended(sky, source, ids, fluxes)
    for band in hsc.BANDS:
        out |= _photometry(sky, ids, visit, band, *fluxes[band])
        out |= {f"{band}_{flag}": _unit(ids, sky.seed, band, flag) < rate for flag, rate in FLAGS.items()}
        out[f"{band}_extendedness_value"] = extended
    centre_flags = _centre_flags(sky, tracts, pixels)
    for band in hsc.BANDS:
        out[f"{band}_pixelflags_saturatedcenter"], out[f"{band}_pixelflags_edge"] = centre_flags
    return out


def _object_ids(tracts, patch, source_id, visit) -> np.ndarray:
    """int64 ids in HSC's style: the tract and patch in the high bits, a number within below."""
    low = (hashing.splitmix(source_id.astype(np.uint64) * np.uint64(16) + visit.astype(np.uint64)) >> np.uint64(26))
    return (((tracts.astype(np.int64) << 7) | (patch[:, 0] * 11 + patch[:, 1])) << 38) + low.astype(np.int64)


def _measured_flux(sky, source, tracts, pixels, band, box) -> tuple[np.ndarray, np.ndarray]:
    """(flux, its error) in nJy of each source as the pipeline sees it on the coadd: pixel noise, neighbours, profiles that
    aren't the model's. An error is what the pipeline can know: the noise of the pixels, the floors."""
    b, ids = hsc.BANDS.index(band), source["id"]
    flux = (source["bulge"][:, b] + source["disc"][:, b]).astype(float)
    noise, sigma = photometry.errors(sky, tracts, pixels, source, band)
    left = photometry.LEFT * _normal(ids, sky.seed, "blend", band) * photometry.overlapping(source, _around(sky, box), band)
    floor = photometry.PROFILE * _normal(ids, sky.seed, "profile") + photometry.BAND * _normal(ids, sky.seed, "floor", band)
    extended = source["kind"] == 0
    known = np.hypot(photometry.PROFILE * extended, photometry.BAND) * flux
    return flux * (1 + floor * np.where(extended, 1, 0.3)) + noise + left, np.hypot(sigma, known)


@functools.lru_cache(2)
def _around(sky: hsc.Sky, box) -> dict[str, np.ndarray]:
    """Every source of a box and its rim that a neighbour's light could come from."""
    ra_min, ra_max, dec_min, dec_max = box
    rim = 6 / 3600
    wide = rim / max(np.cos(np.radians(max(abs(dec_min), abs(dec_max)))), 0.01)
    whole = (ra_min - wide, ra_max + wide, max(dec_min - rim, -90), min(dec_max + rim, 90))
    return population.in_region(sky.seed, whole, _tiers(sky), reddening=sky.reddening)


def _photometry(sky, ids, visit, band, flux, error) -> dict[str, np.ndarray]:
    """cmodel magnitude and its sigma of every row; a source's further rows come from overlapping coadds that share most of the
    exposures: the same noise and a tenth of their own."""
    noisy = flux + np.where(visit > 0, 0.1, 0.0) * error * _normal(ids, sky.seed, "flux", band)
    good = noisy > 0
    safe = np.where(good, noisy, 1.0)
    return {f"{band}_cmodel_mag": np.where(good, 31.4 - 2.5 * np.log10(safe), np.nan),
            f"{band}_cmodel_magsigma": np.where(good, 2.5 / np.log(10) * error / safe, np.nan)}


def _centre_flags(sky, tracts, pixels):
    """(saturatedcenter, edge) of each row from the survey's own masks."""
    saturated, edge = np.zeros(len(tracts), bool), np.zeros(len(tracts), bool)
    for tract in np.unique(tracts):
        here = np.flatnonzero(tracts == tract)
        x, y = pixels[:, here]
        ring = [hsc.covered(sky, tract, x + dx, y + dy) for dx, dy in ((4, 0), (-4, 0), (0, 4), (0, -4))]
        edge[here] = ~np.logical_and.reduce(ring)
        size = int(max(np.ptp(x), np.ptp(y))) + 2
        order = np.argsort(x)
        ordered = x[order]
        for sx, sy, i_mag in hsc.bright_stars(sky, tract, int(x.min()), int(y.min()), size, size):
            r = hsc.saturation_radius(i_mag)
            near = order[slice(*np.searchsorted(ordered, (sx - r - 2, sx + r + 2)))]
            dx, dy = abs(x[near] - sx), abs(y[near] - sy)
            saturated[here[near[(np.hypot(dx, dy) < max(2.0, r)) | ((dx < 1 + 0.15 * r) & (dy < 6 * r))]]] = True
    return saturated, edge


@functools.lru_cache(4)
def specz(sky: hsc.Sky, box) -> dict[str, np.ndarray]:
    """Columns of `specz`: rows matched to every measurement of a source that a spectroscopic survey took.

    Bright sources are taken often, those to i = 22.5 thinly (some 900 per deg^2 in all); some redshifts are
    insecure, wrong, failed (9.9999) or those of stars, some errors out of range, some sources have two names.
    """
    table = forced(sky, box)
    source, kind, mag = table["source"], table["kind"], table["i_cmodel_mag"]
    bright = np.nan_to_num(mag, nan=99.0)
    # the decision uses the source's first row so that all its measurements share it
    _, index, inverse = np.unique(source, return_index=True, return_inverse=True)
    chance = np.where(bright < 19.2, 0.55, 0.042) * np.where(kind == 0, 1, 0.03)
    if sky.deep:
        chance = chance * np.where(bright < LIMIT, 1, np.where(bright < FAINTEST, 0.5, 0))
    taken = (_unit(source[index], sky.seed, "spectrum") < chance[index])[inverse]
    rows = np.flatnonzero(taken)
    twice = rows[_unit(source[rows], sky.seed, "second name") < 0.02]
    second = np.concatenate([np.zeros(len(rows), bool), np.ones(len(twice), bool)])
    rows = np.concatenate([rows, twice])
    ids, z, star = source[rows], table["z"][rows], kind[rows] == 1
    u = _unit(ids, sky.seed, "redshift")
    sigma = 1e-4 * (1 + 4 * _unit(ids, sky.seed, "sigma"))
    measured = z + sigma * _normal(ids, sky.seed, "dz")
    measured = np.where(star, 0.0005 * _normal(ids, sky.seed, "star"), measured)
    measured = np.where(u < 0.01, 0.02 + 1.5 * _unit(ids, sky.seed, "wrong"), measured)
    measured = np.where((u >= 0.01) & (u < 0.025), 9.9999, measured)
    e = _unit(ids, sky.seed, "bad sigma")
    error = np.where(e < 0.01, 0.0, np.where(e < 0.018, 1.5, np.where(e < 0.035, 0.02 * (1 + z), sigma)))
    offset = 0.1 / 3600 * _normal(ids, sky.seed, "offset")
    survey = np.where(bright[rows] < 19.2, "WIDE", "DEEP")
    return {"object_id": table["object_id"][rows],
            "specz_name": np.array([f"{s}-{i:016x}{'-b' if b else ''}"
                                    for s, i, b in zip(survey, ids, second, strict=True)], object),
            "specz_ra": table["ra"][rows] + offset, "specz_dec": table["dec"][rows] - offset,
            "specz_redshift": measured, "specz_redshift_err": error,
            "specz_mag_i": mag[rows] + 0.1 * _normal(ids, sky.seed, "mag"),
            "specz_flag_homogeneous": _unit(ids, sky.seed, "secure") > 0.12,
            "d_pos": np.abs(offset) * 3600}
