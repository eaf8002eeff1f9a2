"""HSC-SSP's wide survey: lists of cutouts and PSFs from DAS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyloom.surveys.clients import Cutouts
from skyloom.surveys.imaging import ImagingSurvey
from skyloom.surveys.service import Service

if TYPE_CHECKING:
    import numpy as np

    from skyloom.archives.replies import Replies
    from skyloom.cutouts.stamps import Stamp


class Hsc(Cutouts):
    """The stamps of a shard's members; the PSF is DAS's own."""

    def __init__(self, survey: ImagingSurvey, settings: dict, ra, dec):
        from skyloom.archives import hsc_das

        super().__init__(survey, settings, ra, dec, settings["rerun"])
        where = list(zip(ra, dec, strict=True))
        self.rows = [hsc_das.cutout_rows(r, d, self.size, self.request, self.bands, self.scale) for r, d in where]
        self.psf_rows = [hsc_das.psf_rows(r, d, self.request, self.bands) for r, d in where]

    def missing(self, cache: Replies) -> int:
        """Number of requests without a final reply."""
        have = cache.have()
        return sum(row not in have for group in (*self.rows, *self.psf_rows) for row in group)

    def fetch(self, client, urls: dict, options: dict, cache: Replies, progress) -> dict[str, str]:
        """Ask for what is missing; {row: cause} of what was never answered."""
        from skyloom.archives import hsc_das
        from skyloom.cutouts import lists

        rows, psf_rows = ([row for group in groups for row in group] for groups in (self.rows, self.psf_rows))
        dead = lists.fetch(client, urls["cutout_url"], hsc_das.CUTOUT, rows, check_cutout, cache, options["attempts"], progress)
        return dead | lists.fetch(client, urls["psf_url"] + "?bulk=on", hsc_das.PSF, psf_rows, check_psf, cache,
                                  options["attempts"], progress)

    def frames(self, service, cache: Replies) -> list[tuple | None]:
        """The grid of the tract that the service takes for each position, from cutouts of a few pixels in one band, in the next
        where that has none."""
        from skyloom.archives import hsc_das
        from skyloom.cutouts import lists
        from skyloom.errors import ServiceError

        found: list[tuple | None] = [None] * len(self.ra)
        for band in sorted(self.bands, key=lambda name: abs(self.survey.bands[name] - 770)):  # the deepest ones first
            asked = {hsc_das.cutout_rows(self.ra[k], self.dec[k], 1, self.request, [band], self.scale)[0]: k
                     for k, grid in enumerate(found) if grid is None}
            have, dead = cache.have(), {}
            if any(row not in have for row in asked):
                client, urls, _, options = service()
                dead = lists.fetch(client, urls["cutout_url"], hsc_das.CUTOUT, list(asked), check_cutout, cache,
                                   options["attempts"])
            if dead:
                raise ServiceError(f"HSC's cutout service didn't tell where {len(dead)} tiles lie ({next(iter(dead.values()))})")
            for row, k in asked.items():
                reply = cache.get(row)
                if reply is not None and reply[0] == "ok":
                    plane = hsc_das.parse_cutout(reply[3], self.scale)
                    found[k] = plane.crval, plane.crpix, plane.cd
        return found

    def stamps(self, k: int, cache: Replies, dead: dict) -> tuple[list[Stamp], list[np.ndarray], list[str]]:
        """(stamps, PSF kernels, sha256 of the replies) of member `k`, one a band."""
        options, found = self.settings, [cache.get(row) for row in self.rows[k]]
        made = [stamp_of_reply(reply, self.ra[k], self.dec[k], self.size, options["max_masked_fraction"],
                               options["pad"] == "masked", dead.get(row, ""))
                for reply, row in zip(found, self.rows[k], strict=True)]
        kernels = [psf_of_reply(cache.get(row), options["psf_size"]) for row in self.psf_rows[k]]
        return made, kernels, [reply[2] if reply else "" for reply in found]


def check_cutout(row: str, name: str, body: bytes) -> None:
    """ReplyError unless the member is the cutout of the row's filter, readable, at the right scale."""
    from skyloom.archives import hsc_das

    _check_filter(row, name)
    hsc_das.parse_cutout(body, SURVEY.scale)


def check_psf(row: str, name: str, body: bytes) -> None:
    """ReplyError unless the member is a PSF kernel of the row's filter."""
    from skyloom.archives import hsc_das

    _check_filter(row, name)
    hsc_das.parse_psf(body)


def _check_filter(row: str, name: str) -> None:
    from skyloom.errors import ReplyError

    if f"-{row.split()[2]}-" not in name:
        raise ReplyError("wrong_band", f"{name} for {row.split()[2]}")


def stamp_of_reply(reply, ra, dec, size: int, max_masked: float, pad: bool, dead: str = "") -> Stamp:
    """The stamp of a stored reply (see `replies.Replies.get`), or of none with the cause `dead`."""
    from skyloom.archives import hsc_das, replies
    from skyloom.cutouts.stamps import blank, cut_stamp
    from skyloom.errors import ReplyError

    if reply is None:
        return blank(size, "failed", dead or "never answered")
    state, cause, _, body = reply
    if state == replies.NO_COVERAGE:
        return blank(size, "no_coverage")
    try:
        return cut_stamp(hsc_das.parse_cutout(body, SURVEY.scale), ra, dec, size, max_masked, pad)
    except ReplyError as error:
        return blank(size, "failed", str(error) or cause)


def psf_of_reply(reply, size: int) -> np.ndarray:
    """(size, size) float32 kernel of a stored reply, centre-cropped and of sum 1; NaN where there is none."""
    import numpy as np

    from skyloom.archives import hsc_das, replies
    from skyloom.cutouts.stamps import fit_kernel
    from skyloom.errors import ReplyError

    if reply is None or reply[0] != replies.OK:
        return np.full((size, size), np.nan, np.float32)
    try:
        kernel = hsc_das.parse_psf(reply[3])
    except ReplyError:
        return np.full((size, size), np.nan, np.float32)
    return fit_kernel(kernel, size)


def catalog(service, template: str, options: dict):
    """(objects in the columns of `skyloom.sample.objects`, the archive's count, SQL) of an SQL template filled in with `options`;
    `service` is an open one (see `verbs.common.service`)."""
    import numpy as np

    from skyloom import flux
    from skyloom.archives import hsc_releases, hsc_sql
    from skyloom.sample import objects

    found, count, sql = hsc_sql.answer(service, template, options)
    out, extended = found[["object_id", "ra", "dec"]].copy(), found["i_extendedness_value"].to_numpy(float)
    out["is_star"] = np.where(np.isfinite(extended), extended < 0.5, -1).astype(int)
    for band in SURVEY.bands:
        error = found[f"{band}_cmodel_{hsc_releases.of(options['release']).error}"]
        out[f"{band}_flux"] = flux.njy_per_count(found[f"{band}_cmodel_mag"])
        out[f"{band}_flux_err"] = out[f"{band}_flux"] * error * np.log(10) / 2.5
    moments = (found[f"i_sdssshape_shape{k}"] - found[f"i_sdssshape_psf_shape{k}"] for k in ("11", "22", "12"))
    return out.assign(**objects.ellipse(*(part.to_numpy(float) for part in moments))), count, sql


SERVICE = Service(
    "hsc", {"sql_url": "https://hsc-release.mtk.nao.ac.jp/datasearch/api/catalog_jobs/",
            "cutout_url": "https://hsc-release.mtk.nao.ac.jp/das_cutout/{release}/cgi-bin/cutout",
            "psf_url": "https://hsc-release.mtk.nao.ac.jp/psf/{release}/cgi/getpsf"},
    rpm=30, streams=2, most_streams=2, timeout_s=300, total_s=3600, wait_initial_s=2.0, slots=2, account=True,
    options={"poll_s": {"type": "number", "exclusiveMinimum": 0, "default": 1.0},
             "job_s": {"type": "number", "exclusiveMinimum": 0, "default": 21600,
                       "description": "how long a catalog job may take"}})

# Extinction: the law of Schlafly & Finkbeiner (2011) at HSC's filters. The aperture, not in a paper, is PS1's in arcsec.
SURVEY = ImagingSurvey(
    name="hsc", title="HSC-SSP wide",
    bands={"g": 479.1, "r": 621.3, "i": 773.3, "z": 890.3, "y": 977.2}, scale=0.168, layout="galaxiesml",
    zero_point="FLUXMAG0 of the header", ivar_sources=("archive",),
    extinction={"g": 3.240, "r": 2.276, "i": 1.633, "z": 1.263, "y": 1.075}, aperture=6.0,
    service=SERVICE, client=Hsc, catalog=catalog, own_psf=True, flag_bit=20,
    licence="free account with NAOJ; non-commercial scientific and educational use",
    citation="Aihara et al. 2019 (PDR2), and the acknowledgement on the release's pages")
