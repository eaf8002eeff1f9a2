"""download-cutouts: the stamps of one shard from one imaging survey."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.archives import replies
from skyloom.cutouts import files
from skyloom.cutouts import stamps as stamp
from skyloom.errors import ServiceError
from skyloom.progress import Progress
from skyloom.surveys import imaging
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("members", help="shards/{shard}.parquet")
    common.fetching_arguments(parser)


def run(args) -> None:
    """Write the stamps of a manifest's images, or fetched from a survey; see `read` and `fetch`."""
    if args.manifest:
        read(args.settings, args.members, args.survey, args.manifest, args.out)
    else:
        fetch(args.settings, args.members, args.survey, args.cache, args.rpm, args.out)


def read(settings: dict, members, name: str, manifest: str, out) -> None:
    """Write every stamp of the members (a file of them) with its status, from the images of a manifest."""
    table = store.read_parquet(members)
    survey = files.Files(settings, table["object_id"].to_numpy(), manifest)
    _check(settings, out, _store(settings, table, name, survey, None, {}, out), len(survey.bands) * len(table))


def fetch(settings: dict, members, name: str, cache_path, rpm: float, out) -> None:
    """Fetch what the cache of raw replies lacks, then write every stamp of the members (a file of them) with its status.

    ServiceError if more stamps failed than the settings allow; what was answered stays in the cache.
    """
    table = store.read_parquet(members)
    survey = imaging.REGISTRY[name].cutouts(settings, table["ra"].to_numpy(float), table["dec"].to_numpy(float))
    dead: dict[str, str] = {}
    with replies.Replies(cache_path, settings["identity"]) as cache:
        missing = survey.missing(cache)
        if missing:
            with common.service(survey.service, rpm) as (client, urls, _, options):
                dead = survey.fetch(client, urls, options, cache, Progress(total=missing, label="download-cutouts"))
        failed = _store(settings, table, name, survey, cache, dead, out)
    _check(settings, out, failed, len(survey.bands) * len(table))


def _check(settings, out, failed: list[str], total: int) -> None:
    """ServiceError with the first cause, and no file, if more of the stamps failed than the settings allow."""
    most = settings["max_failed_fraction"]
    if len(failed) > most * max(1, total):
        Path(out).unlink()
        raise ServiceError(f"{len(failed)} of {total} stamps failed, more than the fraction {most} that "
                           f"`stamps.max_failed_fraction` allows (the first: {failed[0]})")


def _store(options, members, name, survey, cache, dead, out) -> list[str]:
    """Write stamps, kernels and checksums of every member in turn; why stamps failed, one cause each."""
    n, b, bands = len(members), len(survey.bands), survey.bands
    size, kernel = survey.size, options["psf_size"]
    meta = common.provenance(options) | {
        "service": name, "request": survey.request, "ivar_source": survey.ivar_source, "pixel_scale": survey.scale,
        "recipe": options["identity"], "bands": ",".join(bands), "status_names": ",".join(stamp.STATUS), "unit": "nJy"}
    failed, causes = [], []
    with store.writing(out, meta) as handle:
        store.put(handle, "object_id", members["object_id"].to_numpy(np.int64))
        for axis in ("ra", "dec"):
            store.put(handle, axis, members[axis].to_numpy(float) if axis in members else np.full(n, np.nan))
        image = store.create(handle, "image", (n, b, size, size), "f4")
        ivar = store.create(handle, "ivar", (n, b, size, size), "f4", compress=True)
        mask = store.create(handle, "mask", (n, b, size, size), "u4", compress=True)
        psf = store.create(handle, "psf", (n, b, kernel, kernel), "f4", compress=True)
        facts = {"status": np.zeros((n, b), np.uint8), "sha256": np.full((n, b), b"", "S64")}
        facts |= {name: np.full((n, b, *shape), np.nan) for name, shape in
                  {"zero_point": (), "offset": (2,), "pixel_scale": (), "cd": (2, 2)}.items()}
        for k in range(n):
            made, kernels, digests = survey.stamps(k, cache, dead)
            image[k], ivar[k], mask[k] = (np.stack([getattr(s, a) for s in made]) for a in ("image", "ivar", "mask"))
            psf[k] = np.stack(kernels)
            facts["status"][k] = [stamp.STATUS.index(s.status) for s in made]
            facts["sha256"][k] = [d.encode() for d in digests]
            for column in ("zero_point", "offset", "pixel_scale", "cd"):
                facts[column][k] = [getattr(s, column) for s in made]
            causes.append("; ".join(f"{band}: {s.status} {s.cause}".strip()
                                    for band, s in zip(bands, made, strict=True) if s.status != "ok" or s.cause))
            failed += [s.cause for s in made if s.status == "failed"]
        if not getattr(survey, "own_scales", False):
            facts["pixel_scale"][:] = survey.scale
        for column, values in facts.items():
            handle.create_dataset(column, data=values, track_times=False)
        store.put(handle, "cause", causes)
    return failed
