"""Dust maps as their authors publish them: which files, which column, which scale; checked and read."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skyloom.archives import wholefile
from skyloom.errors import InputError
from skyloom.measure import dust


@dataclass(frozen=True)
class DustMap:
    """Files with their MD5 (empty = none published), HDU and column, factor to E(B-V), scale, version, source."""

    files: tuple[str, ...]
    md5: tuple[str, ...]
    hdu: str
    column: str
    factor: float
    scale: str
    version: str
    url: str
    source: str


_PLANCK = "http://pla.esac.esa.int/pla/aio/product-action?MAP.MAP_ID="
MAPS = {
    "csfd": DustMap(("csfd_ebv.fits",), ("31cd2eec51bcb5f106af84a610ced53c",), "xtension", "T", 1.0, "sfd", "2023",
                    "https://zenodo.org/record/8207175/files/", "Chiang 2023, ApJ 958, 118"),
    "sfd": DustMap(("SFD_dust_4096_ngp.fits", "SFD_dust_4096_sgp.fits"), ("", ""), "", "", 1.0, "sfd", "1998", "",
                   "Schlegel, Finkbeiner & Davis 1998, ApJ 500, 525 (doi 10.7910/DVN/EWCNL5)"),
    "planck2013": DustMap(("HFI_CompMap_ThermalDustModel_2048_R1.20.fits",), ("8d804f4e64e709f476a63f0dfed1fd11",), "COMP-MAP",
                          "EBV", 1.0, "true", "R1.20", _PLANCK, "Planck Collaboration XI 2014, A&A 571, A11"),
    "gnilc2016": DustMap(("COM_CompMap_Dust-GNILC-Model-Opacity_2048_R2.01.fits",), ("fc385c2ee5e82edf039cbca6e82d6872",), "1",
                         "TAU353", 1.49e4, "true", "R2.01", _PLANCK, "Planck Collaboration XLVIII 2016, A&A 596, A109")}


def place(name: str, client, base: str, folder: Path, own: str = "", md5=()) -> list[Path]:
    """The files of a map: the user's own folder or file where given, else in `folder`, downloaded if absent or not of the
    `md5` given for each.

    InputError in one sentence where a file is missing and nobody serves it.
    """
    chosen = MAPS[name]
    if own:
        where = Path(own)
        paths = [where] if where.is_file() and len(chosen.files) == 1 else [where / file for file in chosen.files]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise InputError(f"the dust map {name} needs {missing[0]}, which is not there; get it from {chosen.source} "
                             "or mend `dust.files`")
        return paths
    if not base:
        raise InputError(f"the dust map {name} is served by no address that lasts; download {', '.join(chosen.files)} "
                         f"({chosen.source}) and name the folder in `dust.files.{name}`")
    sums = [f"md5={value}" if value else "" for value in md5 or [""] * len(chosen.files)]
    return [wholefile.download(client, base + file, Path(folder) / file, checksum=told)
            for file, told in zip(chosen.files, sums, strict=True)]


def check(name: str, paths, expected=None) -> str:
    """sha256 over the files (16 hex digits); InputError if an MD5 differs from the published (or the given) one."""
    together = hashlib.sha256()
    for path, md5 in zip(paths, MAPS[name].md5 if expected is None else expected, strict=True):
        body = Path(path).read_bytes()
        found = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if md5 and found != md5:
            raise InputError(f"{path} has the MD5 {found}, not {md5}; it is not the map {name} or is damaged, fetch it again")
        together.update(body)
    return together.hexdigest()[:16]


def values(name: str, paths, ra, dec) -> np.ndarray:
    """E(B-V) (n,) of a map at ICRS positions (deg), on the map's own scale; InputError for a file of another kind."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    chosen = MAPS[name]
    lon, lat = dust.galactic(ra, dec)
    try:
        with warnings.catch_warnings(action="ignore", category=AstropyWarning):
            if name == "sfd":
                halves = []
                for path in paths:
                    with fits.open(path) as hdus:
                        halves.append((np.asarray(hdus[0].data, float), hdus[0].header.copy()))
                return dust.zea_value(*halves, lon, lat) * chosen.factor
            with fits.open(paths[0]) as hdus:
                hdu = hdus[int(chosen.hdu) if chosen.hdu.isdigit() else chosen.hdu]
                sky = np.asarray(hdu.data[chosen.column], np.float64).ravel()
                nested = str(hdu.header.get("ORDERING", "RING")).upper().startswith("NEST")
        return dust.healpix_value(sky, nested, lon, lat) * chosen.factor
    except (OSError, KeyError, ValueError, IndexError, TypeError) as error:
        raise InputError(f"{paths[0]} is no {name} map ({' '.join(str(error).split())[:100]}); fetch it again") from None
