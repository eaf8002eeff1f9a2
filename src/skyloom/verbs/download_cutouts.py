"""download-cutouts: the stamps of one shard from one service."""

from __future__ import annotations

import numpy as np

from skyloom import cutouts, store
from skyloom.archives import hsc_das, replies
from skyloom.errors import ServiceError
from skyloom.progress import Progress
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("members", help="shards/{shard}.parquet")
    parser.add_argument("--cache", required=True, help="SQLite file of raw replies")
    parser.add_argument("--rpm", type=float, default=60)
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Fetch what the cache lacks, then write every stamp with its status; see `skyloom.cutouts`."""
    settings, members = args.settings, store.read_parquet(args.members)
    rerun, size = settings["rerun"], settings["size"]
    wanted = [hsc_das.cutout_rows(r, d, size, rerun) for r, d in zip(members["ra"], members["dec"], strict=True)]
    kernels = [hsc_das.psf_rows(r, d, rerun) for r, d in zip(members["ra"], members["dec"], strict=True)]
    with replies.Replies(args.cache, settings["identity"]) as cache:
        dead = _fetch(args, cache, wanted, kernels)
        failed = _write(args, members, cache, wanted, kernels, dead)
    most = settings["max_failed_fraction"]
    if failed > most * max(1, 5 * len(members)):
        raise ServiceError(f"{failed} of {5 * len(members)} stamps failed, more than the fraction {most} that "
                           f"`stamps.max_failed_fraction` allows ({next(iter(dead.values()), 'bad replies')})")


def _fetch(args, cache, wanted, kernels) -> dict[str, str]:
    have = cache.have()
    rows, psf = ([row for group in groups for row in group] for groups in (wanted, kernels))
    missing = sum(row not in have for row in rows + psf)
    if not missing:
        return {}
    progress = Progress(total=missing, label="download-cutouts")
    with common.service("hsc", args.rpm) as (client, urls, _, options):
        dead = cutouts.fetch(client, urls["cutout_url"], hsc_das.CUTOUT, rows, cutouts.check_cutout, cache,
                             options["attempts"], progress)
        return dead | cutouts.fetch(client, urls["psf_url"] + "?bulk=on", hsc_das.PSF, psf, cutouts.check_psf, cache,
                                    options["attempts"], progress)


def _write(args, members, cache, wanted, kernels, dead) -> int:
    """Write the shard one object at a time; the number of failed stamps."""
    settings, n, bands = args.settings, len(members), hsc_das.BANDS
    size, kernel = settings["size"], settings["psf_size"]
    meta = common.provenance(settings) | {
        "service": "hsc", "request": settings["rerun"], "recipe": settings["identity"], "ivar_source": "archive",
        "bands": ",".join(bands), "status_names": ",".join(cutouts.STATUS), "pixel_scale": hsc_das.SCALE, "unit": "nJy"}
    failed = 0
    with store.writing(args.out, meta) as handle:
        store.put(handle, "object_id", members["object_id"].to_numpy(np.int64))
        for name in ("ra", "dec"):
            store.put(handle, name, members[name].to_numpy(float))
        image = store.create(handle, "image", (n, 5, size, size), "f4")
        ivar = store.create(handle, "ivar", (n, 5, size, size), "f4", compress=True)
        mask = store.create(handle, "mask", (n, 5, size, size), "u4", compress=True)
        psf = store.create(handle, "psf", (n, 5, kernel, kernel), "f4", compress=True)
        status, zero = np.zeros((n, 5), np.uint8), np.full((n, 5), np.nan)
        offset, sha = np.full((n, 5, 2), np.nan), np.full((n, 5), b"", "S64")
        causes = []
        for k, (r, d) in enumerate(zip(members["ra"], members["dec"], strict=True)):
            found = [cache.get(row) for row in wanted[k]]
            stamps = [cutouts.stamp_of_reply(reply, r, d, size, settings["max_masked_fraction"],
                                             settings["pad"] == "masked", dead.get(row, ""))
                      for reply, row in zip(found, wanted[k], strict=True)]
            image[k], ivar[k], mask[k] = (np.stack([getattr(s, a) for s in stamps]) for a in ("image", "ivar", "mask"))
            psf[k] = np.stack([cutouts.psf_of_reply(cache.get(row), kernel) for row in kernels[k]])
            status[k] = [cutouts.STATUS.index(s.status) for s in stamps]
            zero[k], offset[k] = [s.zero_point for s in stamps], [s.offset for s in stamps]
            sha[k] = [(reply[2] if reply else "").encode() for reply in found]
            causes.append("; ".join(f"{b}: {s.status} {s.cause}".strip() for b, s in zip(bands, stamps, strict=True)
                                    if s.status != "ok"))
            failed += sum(s.status == "failed" for s in stamps)
        for name, values in (("status", status), ("zero_point", zero), ("offset", offset), ("sha256", sha)):
            handle.create_dataset(name, data=values, track_times=False)
        store.put(handle, "cause", causes)
    return failed
