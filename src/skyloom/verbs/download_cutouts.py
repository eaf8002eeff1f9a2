"""download-cutouts: the stamps of one shard from one imaging survey."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.archives import replies
from skyloom.cutouts import files, hsc, panstarrs, viewer
from skyloom.cutouts import stamps as stamp
from skyloom.errors import ServiceError
from skyloom.progress import Progress
from skyloom.verbs import common

SURVEYS = {"hsc": hsc.Hsc, "ps1": panstarrs.PanStarrs, "galex": viewer.Galex, "unwise": viewer.Unwise}


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("members", help="shards/{shard}.parquet")
    parser.add_argument("--survey", choices=[*SURVEYS, "local"], default="hsc")
    parser.add_argument("--cache", help="SQLite file of raw replies")
    parser.add_argument("--manifest", default="", help="manifest of local images instead of a service")
    parser.add_argument("--rpm", type=float, default=60)
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Fetch what the cache lacks, then write every stamp with its status; see `skyloom.cutouts`."""
    settings, members = args.settings, store.read_parquet(args.members)
    dead: dict[str, str] = {}
    if args.survey == "local":
        survey = files.Files(settings, members["object_id"].to_numpy(), args.manifest)
        failed = _store(args, members, survey, None, dead)
    else:
        survey = SURVEYS[args.survey](settings, members["ra"].to_numpy(float), members["dec"].to_numpy(float))
        with replies.Replies(args.cache, settings["identity"]) as cache:
            missing = survey.missing(cache)
            if missing:
                with common.service(survey.service, args.rpm) as (client, urls, _, options):
                    dead = survey.fetch(client, urls, options, cache, Progress(total=missing, label="download-cutouts"))
            failed = _store(args, members, survey, cache, dead)
    most, total = settings["max_failed_fraction"], len(survey.bands) * len(members)
    if failed > most * max(1, total):
        Path(args.out).unlink()
        raise ServiceError(f"{failed} of {total} stamps failed, more than the fraction {most} that "
                           f"`stamps.max_failed_fraction` allows ({next(iter(dead.values()), 'bad replies')})")


def _store(args, members, survey, cache, dead) -> int:
    """Write stamps, kernels and checksums of every member in turn; the number of failed stamps."""
    options, n, b, bands = args.settings, len(members), len(survey.bands), survey.bands
    size, kernel = survey.size, options["psf_size"]
    meta = common.provenance(options) | {
        "service": args.survey, "request": survey.request, "ivar_source": survey.ivar_source, "pixel_scale": survey.scale,
        "recipe": options["identity"], "bands": ",".join(bands), "status_names": ",".join(stamp.STATUS), "unit": "nJy"}
    failed, causes = 0, []
    with store.writing(args.out, meta) as handle:
        store.put(handle, "object_id", members["object_id"].to_numpy(np.int64))
        for name in ("ra", "dec"):
            store.put(handle, name, members[name].to_numpy(float) if name in members else np.full(n, np.nan))
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
            for name in ("zero_point", "offset", "pixel_scale", "cd"):
                facts[name][k] = [getattr(s, name) for s in made]
            causes.append("; ".join(f"{band}: {s.status} {s.cause}".strip()
                                    for band, s in zip(bands, made, strict=True) if s.status != "ok" or s.cause))
            failed += sum(s.status == "failed" for s in made)
        facts["pixel_scale"] = np.where(np.isfinite(facts["pixel_scale"]), facts["pixel_scale"], survey.scale)
        for name, values in facts.items():
            handle.create_dataset(name, data=values, track_times=False)
        store.put(handle, "cause", causes)
    return failed
