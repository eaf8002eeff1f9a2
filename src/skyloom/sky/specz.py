"""What eight spectroscopic surveys publish of the embedded galaxies, each in its own columns.

Selections are simplified from each survey's own (limits in i stand for other bands'); failure rates, repeats and
footprints are ours, chosen so that every cut of a compilation rejects some rows.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from skyloom.sky import hashing, hsc, population

LIGHT = 299792.458  # km/s


@dataclass(frozen=True)
class Survey:
    """Selection and quality of one survey: i range, z range, share taken, part of the footprint (x0, x1, y0, y1 of 1),
    sigma_z / (1 + z), share of insecure redshifts, share of wrong ones among the secure, share of repeated rows."""

    name: str
    bright: float
    faint: float
    z_min: float
    z_max: float
    share: float
    part: tuple[float, float, float, float]
    sigma: float
    insecure: float
    wrong: float
    repeats: float


SURVEYS = {survey.name: survey for survey in (
    Survey("sdss", 14.0, 19.6, 0.0, 0.8, 0.30, (0, 1, 0, 1), 1e-4, 0.03, 0.003, 0.04),
    Survey("desi", 16.0, 21.5, 0.0, 1.6, 0.05, (0, 1, 0, 1), 5e-5, 0.06, 0.004, 0.10),
    Survey("deep2", 18.5, 22.5, 0.7, 1.5, 0.20, (0.0, 0.5, 0.0, 0.5), 1e-4, 0.25, 0.01, 0.0),
    Survey("gama", 15.0, 19.4, 0.0, 0.6, 0.30, (0.3, 1, 0.2, 1), 2e-4, 0.05, 0.004, 0.08),
    Survey("vvds", 17.5, 22.5, 0.0, 1.5, 0.03, (0.2, 0.7, 0.2, 0.7), 9e-4, 0.40, 0.03, 0.0),
    Survey("vipers", 17.5, 22.5, 0.4, 1.2, 0.06, (0.4, 1, 0, 0.6), 5e-4, 0.15, 0.01, 0.0),
    Survey("6df", 10.0, 17.2, 0.0, 0.2, 0.6, (0, 1, 0, 1), 2e-4, 0.05, 0.004, 0.05),
    Survey("wigglez", 17.5, 21.0, 0.2, 1.0, 0.04, (0, 0.6, 0.3, 1), 3e-4, 0.30, 0.02, 0.0))}


def _footprint(sky: hsc.Sky, survey: Survey):
    ra0, ra1, dec0, dec1 = sky.footprint
    x0, x1, y0, y1 = survey.part
    return ra0 + x0 * (ra1 - ra0), ra0 + x1 * (ra1 - ra0), dec0 + y0 * (dec1 - dec0), dec0 + y1 * (dec1 - dec0)


@functools.lru_cache(16)
def observed(sky: hsc.Sky, name: str) -> dict[str, np.ndarray]:
    """Common facts of a survey's rows: source id, ra, dec, z (measured), sigma, secure, star, visit (0, 1 a repeat), i."""
    survey = SURVEYS[name]
    field = population.in_region(sky.seed, _footprint(sky, survey), reddening=sky.reddening)
    star = field["kind"] == 1
    wanted = (field["i"] > survey.bright) & (field["i"] < survey.faint)
    wanted &= star | ((field["z"] > survey.z_min) & (field["z"] < survey.z_max))
    unit = functools.partial(_unit, sky, name)
    wanted &= unit(field["id"], "taken") < np.where(star, 0.02, 1) * survey.share
    field = {key: column[wanted] for key, column in field.items()}
    again = unit(field["id"], "repeat") < survey.repeats
    field = {key: np.concatenate([column, column[again]]) for key, column in field.items()}
    visit = np.concatenate([np.zeros(len(again), int), np.ones(again.sum(), int)])
    ids = field["id"] * 2 + visit
    z, secure = field["z"], unit(ids, "secure") >= survey.insecure
    sigma = survey.sigma * (1 + z) * (0.5 + unit(ids, "sigma"))
    measured = z + sigma * _normal(unit(ids, "dz"))
    off = np.where(secure, unit(ids, "wrong") < survey.wrong, unit(ids, "wrong") < 0.5)
    measured = np.where(off, 0.02 + 1.5 * unit(ids, "where"), measured)
    measured = np.where(field["kind"] == 1, 3e-4 * _normal(unit(ids, "star")), measured)
    shift = 0.15 / 3600 * _normal(unit(ids, "east")), 0.15 / 3600 * _normal(unit(ids, "north"))
    order = np.argsort(unit(ids, "order"))  # no survey's table is in the order of ours
    out = {"id": field["id"], "ra": (field["ra"] + shift[0] / np.cos(np.radians(field["dec"]))) % 360,
           "dec": np.clip(field["dec"] + shift[1], -90, 90),
           "z": measured, "sigma": sigma, "secure": secure, "star": field["kind"] == 1, "visit": visit, "i": field["i"],
           "u": unit(ids, "quality")}
    return {key: np.asarray(column)[order] for key, column in out.items()}


def _unit(sky: hsc.Sky, name: str, ids, what: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        bits = hashing.splitmix(np.asarray(ids).astype(np.uint64) * hashing.M2 + np.uint64(hashing.key(sky.seed, name, what)))
    return (bits >> np.uint64(11)) / float(1 << 53)


def _normal(unit) -> np.ndarray:
    from scipy.stats import norm

    return norm.ppf(np.clip(unit, 1e-12, 1 - 1e-12))


def table(sky: hsc.Sky, name: str) -> dict[str, np.ndarray]:
    """A survey's published columns."""
    return _TABLES[name](observed(sky, name))


def _names(prefix: str, o) -> np.ndarray:
    return np.array([f"{prefix}{i % 10**9:09d}" for i in o["id"].tolist()], object)


def _sdss(o):
    klass = np.where(o["star"], "STAR", np.where(o["u"] < 0.02, "QSO", "GALAXY")).astype(object)
    person = (o["u"] > 0.98) & ~o["star"]
    noqso = o["u"] > 0.4
    ids = (o["id"] * 2 + o["visit"]) % 2**62 + 10**15
    # where the pipeline took a quasar's template, or a person looked, the plain z is off
    plain = np.where(person, o["z"] + 0.3, np.where(noqso & (o["u"] < 0.43), o["z"] + 0.5, o["z"]))
    return {"specObjID": ids, "bestObjID": o["id"] % 2**60, "ra": o["ra"], "dec": o["dec"], "z": plain, "zErr": o["sigma"],
            "zWarning": np.where(o["secure"], 0, np.where(o["u"] < 0.5, 4, 16)), "class": klass,
            "z_noqso": np.where(noqso, np.where(person, o["z"] + 0.3, o["z"]), 0.0),
            "zErr_noqso": np.where(noqso, o["sigma"], 0.0), "z_person": np.where(person, o["z"], 0.0),
            "sciencePrimary": 1 - o["visit"]}


def _desi(o):
    return {"TARGETID": o["id"] % 2**62, "SURVEY": np.array(["sv3"] * len(o["z"]), object), "Z": o["z"], "ZERR": o["sigma"],
            "ZWARN": np.where(o["secure"], 0, 4).astype(np.int64),
            "SPECTYPE": np.where(o["star"], "STAR", np.where(o["u"] < 0.02, "QSO", "GALAXY")).astype(object),
            "TARGET_RA": o["ra"], "TARGET_DEC": o["dec"], "ZCAT_PRIMARY": o["visit"] == 0}


def _deep2(o):
    quality = np.where(o["secure"], np.where(o["u"] < 0.3, 3, 4), np.where(o["u"] < 0.5, 2, 1))
    return {"OBJNO": o["id"] % 10**8, "RA": o["ra"], "DEC": o["dec"], "MAGI": o["i"], "Z": o["z"] + 2e-4, "ZBEST": o["z"],
            "ZERR": np.where(o["u"] < 0.02, -1.0, o["sigma"]), "ZQUALITY": np.where(o["star"], -1, quality).astype(np.int64),
            "CLASS": np.where(o["star"], "STAR", "GALAXY").astype(object)}


def _gama(o):
    quality = np.where(o["secure"], np.where(o["u"] < 0.1, 3, 4), 2).astype(np.int64)
    return {"SPECID": _names("G", o) + np.array([f"_{v}" for v in o["visit"]], object),
            "SURVEY": np.array(["GAMA"] * len(o["z"]), object), "RA": o["ra"], "DEC": o["dec"], "Z": o["z"], "NQ": quality,
            "PROB": np.where(o["secure"], 0.97, 0.5), "CATAID": o["id"] % 10**7, "IS_BEST": o["visit"] == 0}


def _vvds(o):
    flag = np.where(o["secure"], np.where(o["u"] < 0.5, 3, 4), np.where(o["u"] < 0.6, 2, 9))
    flag = np.where(o["u"] > 0.95, flag + 20, flag)
    return {"NUM": o["id"] % 10**8, "ALPHA": o["ra"], "DELTA": o["dec"], "Z": np.where(o["u"] > 0.985, 9.9999, o["z"]),
            "ZFLAGS": flag.astype(float), "MAG_I": o["i"]}


def _vipers(o):
    flag = np.where(o["secure"], np.where(o["u"] < 0.3, 2, np.where(o["u"] < 0.6, 3, 4)), np.where(o["u"] < 0.5, 1, 9))
    decimal = np.where(o["u"] * 10 % 1 < 0.7, 0.5, 0.2)
    return {"id_IAU": _names("VIPERS ", o), "num": o["id"] % 10**9, "alpha": o["ra"], "delta": o["dec"], "selmag": o["i"],
            "zspec": np.where(o["u"] > 0.98, 9.9999, o["z"]), "zflg": flag + decimal,
            "classFlag": np.where(o["star"], -1, np.where(o["u"] < 0.08, 2, 1)).astype(np.int64)}


def _sixdf(o):
    ra, dec = o["ra"] / 15, np.abs(o["dec"])
    quality = np.where(o["star"], 6, np.where(o["secure"], np.where(o["u"] < 0.2, 3, 4), 2))
    return {"targetid": o["id"] % 10**7, "rah": ra.astype(int), "ram": (ra * 60 % 60).astype(int), "ras": ra * 3600 % 60,
            "decd": np.array([f"{'-' if d < 0 else '+'}{int(abs(d)):02d}" for d in o["dec"]], object),
            "decm": (dec * 60 % 60).astype(int), "decs": dec * 3600 % 60, "bJ": o["i"] + 1, "cz": o["z"] * LIGHT,
            "czerr": o["sigma"] * LIGHT, "quality": quality}


def _wigglez(o):
    quality = np.where(o["secure"], np.where(o["u"] < 0.5, 4, 5), np.where(o["u"] < 0.5, 3, 1))
    return {"Name": _names("W", o), "RAJ2000": o["ra"], "DEJ2000": o["dec"], "z": o["z"],
            "q_z": np.where(o["star"], 6, quality)}


_TABLES = {"sdss": _sdss, "desi": _desi, "deep2": _deep2, "gama": _gama, "vvds": _vvds, "vipers": _vipers, "6df": _sixdf,
           "wigglez": _wigglez}


def gama_at_vizier(sky: hsc.Sky) -> dict[str, np.ndarray]:
    """GAMA's rows as VizieR has them, under other names."""
    own = table(sky, "gama")
    return {"CATAID": own["CATAID"], "RAJ2000": own["RA"], "DEJ2000": own["DEC"], "z": own["Z"], "q_z": own["NQ"],
            "IsBest": own["IS_BEST"].astype(int), "Survey": own["SURVEY"]}
