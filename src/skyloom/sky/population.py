"""Galaxies and stars of the sky, cell by cell: each HEALPix cell of each tier has a seed of its own.

Galaxies: two Schechter functions in M_B, Faber et al. (2007)-like, tuned to the counts of the LSST Science
Book; sizes after Shen et al. (2003) with the evolution of van der Wel et al. (2014), both simplified.
Discs hold star-forming knots (point sources with a young SED, as the simulated galaxies of LSST's DC2 do) and neither
discs nor bulges are all of one Sérsic index. Cosmology: flat LCDM, H0 70, Omega_m 0.3. No clustering.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from skyloom.sky import dust, geometry, hashing, seds

SED_SCATTER = 0.05  # mag rms at the knots: without it a table of magnitudes finds the redshift too easily
_Z = np.arange(0.02, 4.2, 0.01) + 0.005
_M = np.arange(-25.0, -11.0, 0.1) + 0.05
_I = seds.BANDS.index("i")
SED_COLUMNS = ("absolute", "bulge", "disc", "fraction", "dust", "young")  # of `sed`, then the SED's knots; a star's are i, g-i
LIGHT = ("bulge", "disc", "knot")  # the fluxes of a source; the knots' are a part of the disc's
KNOTS, YOUNG = 6, 4.0  # most star-forming knots of a galaxy, their SED's type: a starburst
DISC_N, BULGE_N = (0.8, 1.0, 1.3), (2.5, 4.0, 5.5)  # Sérsic indices that occur, a quarter, a half and a quarter of the galaxies


@dataclass(frozen=True)
class Tier:
    """A slice in i-band magnitude drawn on HEALPix cells of `nside`; no stamp reaches further than `margin` arcsec."""

    name: str
    nside: int
    bright: float
    faint: float
    margin: float


GALAXY_TIERS = (Tier("bright", 1024, 0.0, 22.5, 60.0), Tier("faint", 4096, 22.5, 25.3, 10.0))
STARS = Tier("stars", 1024, 14.0, 24.0, 60.0)
DEEP = Tier("deep", 4096, 25.3, 26.5, 10.0)  # fainter than most of HSC's Wide detects; a sky has it as an option


@functools.cache
def _distances():
    """(z grid, distance modulus, comoving volume in Mpc^3 per deg^2 and dz, kpc per arcsec)."""
    z = np.linspace(0, 4.5, 4501)
    inverse = 1 / np.sqrt(0.3 * (1 + z) ** 3 + 0.7)
    step = (inverse[1:] + inverse[:-1]) / 2 * (z[1] - z[0])
    hubble = 299792.458 / 70  # Mpc
    comoving = hubble * np.concatenate([[0.0], np.cumsum(step)])
    volume = hubble * comoving**2 * inverse * (np.pi / 180) ** 2
    use = slice(1, None, 5)
    z, comoving = z[use], comoving[use]
    return z, 5 * np.log10(comoving * (1 + z) * 1e5), volume[use], comoving / (1 + z) * 1e3 / 206265


def _density(red: bool) -> np.ndarray:
    """Schechter (1976) number density per Mpc^3 and mag on the (redshift, M_B) grid."""
    if red:
        m_star = -20.45 - 1.1 * (np.minimum(_Z, 1.5) - 0.3)
        phi, alpha = 2.8e-3 * 10 ** (-0.5 * np.clip(_Z - 0.3, 0, 4)), -0.5
    else:
        m_star = -20.55 - 1.25 * (np.minimum(_Z, 1.2) - 0.3) - 0.25 * np.clip(_Z - 1.2, 0, 3)
        phi, alpha = 4.6e-3 * 10 ** (-0.35 * np.clip(_Z - 1, 0, 4)), -1.3
    x = 10 ** (0.4 * (m_star[:, None] - _M))
    return 0.4 * np.log(10) * phi[:, None] * x ** (alpha + 1) * np.exp(-x)


@functools.cache
def _expectation(tier: Tier) -> tuple[float, np.ndarray]:
    """Mean number per cell and the cumulative distribution over (colour class, redshift, M_B)."""
    z, dm, volume, _ = _distances()
    area = 41252.96 / (12 * tier.nside**2)
    zeros = np.zeros_like(_Z)
    # the smallest K correction of any type bounds which (z, M) can be bright enough
    smallest = np.min([seds.magnitudes(zeros + t, zeros + e, _Z)[:, _I] - seds.magnitudes(zeros + t, zeros + e, zeros)[:, -1]
                       for t in (0, 0.5, 1, 2, 3, 4) for e in (0, 0.3)], axis=0)
    brightest = _M[None] + (np.interp(_Z, z, dm) + smallest)[:, None]
    possible = (brightest < tier.faint + 0.3) & (brightest > tier.bright - 3.5)
    counts = [np.where(possible, _density(red) * (np.interp(_Z, z, volume) * 0.001 * area)[:, None], 0)
              for red in (False, True)]
    flat = np.array(counts).ravel()
    return flat.sum(), np.cumsum(flat) / flat.sum()


@functools.lru_cache(8192)
def cell(seed: int, tier: Tier, pixel: int) -> dict[str, np.ndarray]:
    """Galaxies of one cell: id, ra, dec (deg), z, i (mag), fluxes (n, 5) nJy as in `LIGHT`, sizes, shapes, knots."""
    total, cumulative = _expectation(tier)
    rng = hashing.generator(seed, tier.name, tier.nside, pixel)
    n = rng.poisson(total)
    flat = np.minimum(np.searchsorted(cumulative, rng.random(n)), len(cumulative) - 1)
    red, rest = np.divmod(flat, len(_Z) * len(_M))
    iz, im = np.divmod(rest, len(_M))
    red = red == 1
    z = _Z[iz] + 0.01 * (rng.random(n) - 0.5)
    absolute = _M[im] + 0.1 * (rng.random(n) - 0.5)
    draw = rng.standard_normal((7, n))
    types = _types(red, z, absolute, draw, rng.beta(1.2, 4.5, n), rng.gamma(1.6, 0.05, n))
    knots = SED_SCATTER * rng.standard_normal((n, len(seds.KNOTS)))
    u = rng.random((5, n))
    structure, types["young"] = _structure(hashing.generator(seed, tier.name, tier.nside, pixel, "structure"), types)
    bulge, disc, knot = _fluxes(z, absolute, types, knots)
    out = {"z": z, "kind": np.zeros(n, np.int8), "i": 31.4 - 2.5 * np.log10(bulge[:, _I] + disc[:, _I]),
           "bulge": bulge.astype(np.float32), "disc": disc.astype(np.float32), "knot": knot.astype(np.float32),
           "sed": np.column_stack([absolute, *(types[name] for name in SED_COLUMNS[1:]), knots]).astype(np.float32),
           **_shapes(red, z, absolute, draw, u), **structure}
    out |= _positions(tier, pixel, u)
    out["id"] = _ids(tier, pixel, n)
    keep = (out["i"] >= tier.bright) & (out["i"] < tier.faint)
    return {name: column[keep] for name, column in out.items()}


def _types(red, z, absolute, draw, beta, gamma) -> dict[str, np.ndarray]:
    """Types of disc and bulge (see `seds.TYPES`), bulge fraction in B, and dust: brighter means earlier."""
    late = 2.25 + 0.28 * (absolute + 20.5) + 1.5 * np.clip(z - 0.35, 0, 1) + 0.7 * draw[0]
    # reflect at the ends rather than clip: a pile-up at one type would be a thin line in colour
    late = np.where(late > 4, 8 - late, late)
    disc = np.where(red, np.clip(0.25 + 0.25 * draw[0], 0, 1), np.clip(late, 0.7, 4))
    blue_bulge = np.clip(beta * (0.22 - 0.035 * (absolute + 20.5)) / 0.21, 0, 0.9) * np.clip((3.6 - disc) / 2.2, 0.05, 1.3)
    fraction = np.where(red, np.clip(0.45 + 0.06 * (-20 - absolute) + 0.2 * draw[1], 0.15, 1), blue_bulge)
    bulge = np.where(red, np.abs(0.08 * draw[2]), np.clip(0.15 + 0.3 * np.abs(draw[2]), 0, 1.2))
    dust = np.where(red, np.clip(0.02 + 0.03 * draw[3], 0, 0.2), np.clip(gamma + 0.02 * (-20 - absolute), 0, 0.5))
    return {"disc": disc, "bulge": bulge, "fraction": np.clip(fraction, 0, 1), "dust": dust}


def _structure(rng, types) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(Sérsic indices; the knots' places (n, KNOTS, 2) in half-light radii along the disc's axes and their shares (n, KNOTS) of
    the knots' light; the share (n,) of the disc's B light that is in knots).

    Late discs have the more: up to a third of their blue light, as in HST images of star-forming galaxies (Guo et al. 2015 find
    clumps of 1 to 20 % of the UV light in half of them).
    """
    n = len(types["disc"])
    u, count = rng.random((3, n)), rng.integers(1, KNOTS + 1, n)
    young = 0.35 * u[0] ** 2 * np.clip((types["disc"] - 0.6) / 2.0, 0, 1)
    radius = rng.gamma(2.0, 1 / 1.678, (n, KNOTS)).clip(0, 3.0)  # of an exponential disc's light
    turn = 2 * np.pi * rng.random((n, KNOTS))
    share = rng.exponential(1.0, (n, KNOTS)) * (np.arange(KNOTS) < count[:, None])
    pick = [np.array(choices)[np.searchsorted((0.25, 0.75), row)] for choices, row in ((DISC_N, u[1]), (BULGE_N, u[2]))]
    return {"n_disc": pick[0], "n_bulge": pick[1], "knot_share": (share / share.sum(axis=1, keepdims=True)).astype(np.float32),
            "knot_at": np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=2).astype(np.float32)}, young


def _fluxes(z, absolute, types, knots, survey: str = "hsc") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bulge, disc and, as a part of the disc's, knot fluxes (n, band) in nJy: the SEDs of a galaxy's parts make the colour
    gradients that images add."""
    grid, dm, _, _ = _distances()
    apparent = absolute + np.interp(z, grid, dm)
    deviation = seds.scatter(knots, z, survey)
    out = []
    disc = 1 - types["fraction"]
    for kind, own_dust, share in ((types["bulge"], types["dust"] * 0.3, types["fraction"]),
                                  (types["disc"], types["dust"], disc * (1 - types["young"])),
                                  (np.full_like(z, YOUNG), types["dust"] * 0.5, disc * types["young"])):
        rest_b = seds.magnitudes(kind, own_dust, np.zeros_like(z), survey)[:, [-1]]
        mags = seds.magnitudes(kind, own_dust, z, survey)[:, :-1] - rest_b + apparent[:, None] + deviation
        out.append(share[:, None] * 10 ** (-0.4 * (mags - 31.4)))
    return out[0], out[1] + out[2], out[2]


def _shapes(red, z, absolute, draw, u) -> dict[str, np.ndarray]:
    """Half-light radii (arcsec) and axis ratios of disc and bulge, position angle (rad, from x to y)."""
    grid, _, _, kpc = _distances()
    luminosity = -(absolute + 20.5) / 2.5
    scale = np.interp(z, grid, kpc)
    disc = 4.6 * 10 ** (0.25 * luminosity) * (1 + z) ** -0.75 * 10 ** (0.17 * draw[4])
    bulge = np.where(red, 3.2 * 10 ** (0.6 * luminosity) * (1 + z) ** -1.3,
                     1.3 * 10 ** (0.4 * luminosity) * (1 + z) ** -1.0) * 10 ** (0.18 * draw[5])
    return {"re_disc": np.clip(disc, 0.25, 25) / scale, "re_bulge": np.clip(bulge, 0.15, 20) / scale,
            "q_disc": np.sqrt(0.9775 * u[2] ** 2 + 0.0225), "q_bulge": 0.55 + 0.45 * u[3] ** 0.7, "pa": np.pi * u[4]}


def _positions(tier, pixel, u) -> dict[str, np.ndarray]:
    lon, lat = geometry.healpix(tier.nside).healpix_to_lonlat(np.full(u.shape[1], pixel), dx=u[0], dy=u[1])
    return {"ra": lon.deg, "dec": lat.deg}


def _ids(tier, pixel, n):
    code = {"bright": 1, "faint": 2, "stars": 3, "deep": 4}[tier.name]
    return (np.int64(code) << 56) + (np.int64(pixel) << 16) + np.arange(n, dtype=np.int64)


@functools.lru_cache(4096)
def star_cell(seed: int, pixel: int) -> dict[str, np.ndarray]:
    """Stars of one cell, columns as `cell`: counts dN/dm ~ 10^(0.18 m), 4000 per deg^2 to i = 21; a locus in colour.

    The locus is linear in g-i with the bimodality of halo turn-off and disc M dwarfs (after Covey et al. 2007).
    """
    area = 41252.96 / (12 * STARS.nside**2)
    slope = 0.18 * np.log(10)
    rng = hashing.generator(seed, STARS.name, pixel)
    n = rng.poisson(4000 * area * np.exp(slope * (STARS.faint - 21.0)))
    span = np.exp(slope * (STARS.bright - STARS.faint))
    i = STARS.faint + np.log(span + (1 - span) * rng.random(n)) / slope
    dwarf = rng.random(n) < np.clip(0.1 + 0.09 * (i - 16), 0.1, 0.75)
    g_i = np.where(dwarf, 2.3 + 0.3 * rng.standard_normal(n), 0.55 + 0.18 * rng.standard_normal(n))
    r_i = np.where(g_i < 1.5, 0.25 * g_i, 0.375 + 0.75 * (g_i - 1.5))
    noise = 0.02 * rng.standard_normal((5, n))
    mags = np.stack([i + g_i, i + r_i, i, i - 0.45 * r_i, i - 0.62 * r_i], axis=1) + noise.T
    zeros, ones = np.zeros(n), np.ones(n)
    flux = 10 ** (-0.4 * (mags - 31.4))
    out = {"z": zeros, "kind": np.ones(n, np.int8), "i": mags[:, _I], "sed": _star_sed(i, g_i),
           "bulge": (0 * flux).astype(np.float32),
           "disc": flux.astype(np.float32), "knot": (0 * flux).astype(np.float32), "re_disc": zeros, "re_bulge": zeros,
           "q_disc": ones, "q_bulge": ones, "pa": zeros, "n_disc": ones, "n_bulge": 4 * ones,
           "knot_share": np.zeros((n, KNOTS), np.float32), "knot_at": np.zeros((n, KNOTS, 2), np.float32)}
    out |= _positions(STARS, pixel, rng.random((2, n)))
    out["id"] = _ids(STARS, pixel, n)
    return out


def _star_sed(i, g_i) -> np.ndarray:
    out = np.zeros((len(i), len(SED_COLUMNS) + len(seds.KNOTS)), np.float32)
    out[:, 0], out[:, 1] = i, g_i
    return out


def _star_magnitudes(i, g_i, survey: str) -> np.ndarray:
    """AB magnitudes (n, band) of the bands that HSC doesn't have, linear in g-i: cool stars are blue in W1 (AB) and faint in the
    UV; u-g after the stellar locus of Covey et al. (2007)."""
    if survey == "rubin":
        return (i + 1.9 * g_i + 0.45)[:, None]
    if survey == "galex":
        nuv = i + g_i + 2.5 + 3.0 * g_i
        return np.stack([nuv, nuv + 3.0], axis=1)
    w1 = i + 1.4 - 0.9 * (g_i - 0.55)
    return np.stack([w1, w1 + 0.64], axis=1)


@functools.lru_cache(4096)
def light(seed: int, tier: Tier, pixel: int, survey: str, reddening: float) -> tuple[np.ndarray, ...]:
    """(bulge, disc, the disc's knots) fluxes (n, band) float32 nJy of a cell's sources in a survey's bands, behind the Galaxy's
    dust."""
    part = star_cell(seed, pixel) if tier is STARS else cell(seed, tier, pixel)
    fluxes = (part["bulge"], part["disc"], part["knot"]) if survey == "hsc" else _elsewhere(part, tier, survey)
    if not reddening:
        return fluxes
    seen = dust.transmission(seed, reddening, part["ra"], part["dec"], survey)
    return tuple(flux * seen for flux in fluxes)


def _elsewhere(part: dict, tier: Tier, survey: str) -> tuple[np.ndarray, ...]:
    """Fluxes in another survey's bands; PS1 and Rubin give stars HSC's magnitudes, galaxies get each filter's own."""
    sed = part["sed"].astype(float)
    if tier is STARS:
        disc = part["disc"] if survey == "ps1" else 10 ** (-0.4 * (_star_magnitudes(sed[:, 0], sed[:, 1], survey) - 31.4))
        disc = np.concatenate([disc, part["disc"]], axis=1) if survey == "rubin" else disc
        return np.zeros_like(disc, np.float32), disc.astype(np.float32), np.zeros_like(disc, np.float32)
    types = dict(zip(SED_COLUMNS, sed.T, strict=False))
    found = _fluxes(part["z"], types["absolute"], types, sed[:, len(SED_COLUMNS):], survey)
    return tuple(flux.astype(np.float32) for flux in found)


def tiers(deep: bool) -> tuple[Tier, ...]:
    """The tiers of a sky in their fixed order; the deep one comes last, so that what is there without it stays as it is."""
    return (*GALAXY_TIERS, STARS, *([DEEP] if deep else []))


def near(seed: int, ra: float, dec: float, radius: float, tiers=(*GALAXY_TIERS, STARS), survey: str = "hsc",
         least_margin: float = 0.0, reddening: float = 0.0) -> dict[str, np.ndarray]:
    """Sources of the cells within `radius` arcsec plus each tier's margin, in a fixed order, with their `margin`.

    `least_margin` (arcsec) widens the tiers' margins for a survey whose smallest stamp reaches further; `reddening`
    is the mean E(B-V) of the Galaxy's dust (see `sky.dust`).
    """
    parts = []
    for tier in tiers:
        margin = max(tier.margin, least_margin)
        for pixel in geometry.cells_near(tier.nside, ra, dec, radius + margin):
            part = star_cell(seed, pixel) if tier is STARS else cell(seed, tier, pixel)
            parts.append({**part, **dict(zip(LIGHT, light(seed, tier, pixel, survey, reddening), strict=True)),
                          "margin": np.full(len(part["ra"]), margin)})
    return join(parts)


def in_region(seed: int, box, tiers=(GALAXY_TIERS[0], STARS), reddening: float = 0.0) -> dict[str, np.ndarray]:
    """Sources of the given tiers inside (ra_min, ra_max, dec_min, dec_max) in deg."""
    parts = []
    for tier in tiers:
        for pixel in geometry.cells_in_box(tier.nside, box):
            part = star_cell(seed, pixel) if tier is STARS else cell(seed, tier, pixel)
            parts.append({**part, **dict(zip(LIGHT, light(seed, tier, pixel, "hsc", reddening), strict=True))})
    whole = join(parts)
    keep = geometry.in_box(box, whole["ra"], whole["dec"])
    return {name: column[keep] for name, column in whole.items()}


def join(parts: list[dict]) -> dict[str, np.ndarray]:
    """Concatenate columns of several cells."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
