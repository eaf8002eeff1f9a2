"""download-cutouts: the stamps of one shard from one service."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skyloom import cutouts, store
from skyloom.archives import hsc_das, local, replies
from skyloom.errors import ServiceError
from skyloom.progress import Progress
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("members", help="shards/{shard}.parquet")
    parser.add_argument("--cache", help="SQLite file of raw replies")
    parser.add_argument("--manifest", default="", help="manifest of local images instead of a service")
    parser.add_argument("--rpm", type=float, default=60)
    parser.add_argument("--out", required=True)


def run(args) -> None:
    """Fetch what the cache lacks, then write every stamp with its status; see `skyloom.cutouts`."""
    settings, members = args.settings, store.read_parquet(args.members)
    dead: dict[str, str] = {}
    if args.manifest:
        failed, bands = _local(args, members), len(local.bands_of(local.read_manifest(args.manifest)))
    else:
        rerun, size, bands = settings["rerun"], settings["size"], len(hsc_das.BANDS)
        wanted = [hsc_das.cutout_rows(r, d, size, rerun) for r, d in zip(members["ra"], members["dec"], strict=True)]
        kernels = [hsc_das.psf_rows(r, d, rerun) for r, d in zip(members["ra"], members["dec"], strict=True)]
        with replies.Replies(args.cache, settings["identity"]) as cache:
            dead = _fetch(args, cache, wanted, kernels)
            failed = _write(args, members, cache, wanted, kernels, dead)
    most, total = settings["max_failed_fraction"], bands * len(members)
    if failed > most * max(1, total):
        Path(args.out).unlink()
        raise ServiceError(f"{failed} of {total} stamps failed, more than the fraction {most} that "
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
    options = args.settings
    size, most, pad = options["size"], options["max_masked_fraction"], options["pad"] == "masked"

    def objects():
        for k, (r, d) in enumerate(zip(members["ra"], members["dec"], strict=True)):
            found = [cache.get(row) for row in wanted[k]]
            stamps = [cutouts.stamp_of_reply(reply, r, d, size, most, pad, dead.get(row, ""))
                      for reply, row in zip(found, wanted[k], strict=True)]
            psf = [cutouts.psf_of_reply(cache.get(row), options["psf_size"]) for row in kernels[k]]
            yield stamps, psf, [reply[2] if reply else "" for reply in found]

    about = {"service": "hsc", "request": options["rerun"], "ivar_source": "archive", "pixel_scale": hsc_das.SCALE}
    return _store(args, members, hsc_das.BANDS, objects(), about)


def _local(args, members) -> int:
    """The same from local files; each band of the manifest, the pixel scale of the first image."""
    options = args.settings
    manifest = local.read_manifest(args.manifest)
    bands = local.bands_of(manifest)
    rows = {(int(r["object_id"]), r["band"]): r for r in manifest.to_dict("records")}
    size, most, pad, psf_size = (options[k] for k in ("size", "max_masked_fraction", "pad", "psf_size"))

    def objects():
        for i in members["object_id"]:
            stamps, psf, sha = [], [], []
            for band in bands:
                row = rows.get((int(i), band))
                stamp, kernel = (cutouts.blank(size, "no_coverage"), None) if row is None else cutouts.stamp_of_file(
                    row, options["pixel_scale"], size, most, pad == "masked")
                stamps.append(stamp)
                psf.append(np.full((psf_size, psf_size), np.nan, np.float32) if kernel is None
                           else cutouts.fit_kernel(kernel, psf_size))
                sha.append(replies.file_digest(row["path"]) if row is not None else "")
            yield stamps, psf, sha

    has_variance = all(manifest["variance_path"] != "")
    about = {"service": "local", "request": args.manifest, "ivar_source": "archive" if has_variance else "estimated",
             "pixel_scale": options["pixel_scale"]}
    return _store(args, members, bands, objects(), about)


def _store(args, members, bands, objects, about: dict) -> int:
    """Write (stamps, kernels, sha256) of every member in turn; the number of failed stamps."""
    options, n, b = args.settings, len(members), len(bands)
    size, kernel = options["size"], options["psf_size"]
    meta = common.provenance(options) | about | {"recipe": options["identity"], "bands": ",".join(bands),
                                                 "status_names": ",".join(cutouts.STATUS), "unit": "nJy"}
    failed, causes = 0, []
    with store.writing(args.out, meta) as handle:
        store.put(handle, "object_id", members["object_id"].to_numpy(np.int64))
        for name in ("ra", "dec"):
            store.put(handle, name, members[name].to_numpy(float) if name in members else np.full(n, np.nan))
        image = store.create(handle, "image", (n, b, size, size), "f4")
        ivar = store.create(handle, "ivar", (n, b, size, size), "f4", compress=True)
        mask = store.create(handle, "mask", (n, b, size, size), "u4", compress=True)
        psf = store.create(handle, "psf", (n, b, kernel, kernel), "f4", compress=True)
        status, zero = np.zeros((n, b), np.uint8), np.full((n, b), np.nan)
        offset, sha = np.full((n, b, 2), np.nan), np.full((n, b), b"", "S64")
        for k, (stamps, kernels, digests) in enumerate(objects):
            image[k], ivar[k], mask[k] = (np.stack([getattr(s, a) for s in stamps]) for a in ("image", "ivar", "mask"))
            psf[k] = np.stack(kernels)
            status[k] = [cutouts.STATUS.index(s.status) for s in stamps]
            zero[k], offset[k] = [s.zero_point for s in stamps], [s.offset for s in stamps]
            sha[k] = [d.encode() for d in digests]
            causes.append("; ".join(f"{band}: {s.status} {s.cause}".strip()
                                    for band, s in zip(bands, stamps, strict=True) if s.status != "ok"))
            failed += sum(s.status == "failed" for s in stamps)
        for name, values in (("status", status), ("zero_point", zero), ("offset", offset), ("sha256", sha)):
            handle.create_dataset(name, data=values, track_times=False)
        store.put(handle, "cause", causes)
    return failed
