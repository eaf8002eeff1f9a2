"""fetch-scenes: the tiles of one shard of scenes."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import numpy as np

from skyloom import store
from skyloom.archives import replies
from skyloom.cutouts import filetiles, tiles
from skyloom.cutouts import stamps as stamp
from skyloom.errors import InputError, ServiceError
from skyloom.progress import Progress
from skyloom.sample import scenes
from skyloom.surveys import imaging
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--shard", required=True, help="{part}_{k}")
    common.fetching_arguments(parser)


def run(args) -> None:
    """Write the tiles of a shard from a manifest's images, or fetched from a survey; see `read` and `fetch`."""
    if args.manifest:
        read(args.settings, args.shard, args.manifest, args.out)
    else:
        fetch(args.settings, args.survey, args.shard, args.cache, args.rpm, args.out)


def read(settings: dict, shard: str, manifest: str, out) -> None:
    """Write every tile of a shard from the images of a manifest. InputError if more bands of tiles failed than the settings
    allow."""
    tile = scenes.of_shard(settings, settings["pixel_scale"], shard)
    client = filetiles.FileTiles(settings, tile["ra"], tile["dec"],
                                 lambda k: (float(tile["middle_ra"][k]), float(tile["middle_dec"][k])),
                                 lambda k, grid: scenes.snapped(tile, k, settings, grid), manifest)
    _check(settings, _store(settings, shard, tile, client, None, {}, out), len(client.bands) * len(tile["ra"]), out, InputError)


def fetch(settings: dict, name: str, shard: str, path, rpm: float, out) -> None:
    """Fetch what the cache of raw replies lacks, then write every tile of the shard.

    ServiceError if more bands of tiles failed than the settings allow; what was answered stays in the cache.
    """
    survey = imaging.REGISTRY[name]
    tile = scenes.of_shard(settings, survey.scale, shard)
    options = settings | {"pad": "masked", "max_masked_fraction": 1.0, "max_nan_fraction": 1.0}
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(replies.Replies(path, settings["identity"]))
        service = functools.cache(lambda: stack.enter_context(common.service(survey.service.name, rpm)))
        client = survey.tiles(options, tile["ra"], tile["dec"], settings["side"])
        client = survey.tiles(options, *scenes.placed(tile, settings, client.frames(service, cache)), settings["side"])
        missing, dead = client.missing(cache), {}
        if missing:
            asked, urls, _, told = service()
            dead = client.fetch(asked, urls, told, cache, Progress(total=missing, label="fetch-scenes"))
        failed = _store(settings, shard, tile, client, cache, dead, out)
    _check(settings, failed, len(client.bands) * len(tile["ra"]), out, ServiceError)


def _check(settings, failed: list[str], total: int, out, kind) -> None:
    """An error of a kind, with the first cause, and no file, if more bands of tiles failed than the settings allow."""
    most = settings["max_failed_fraction"]
    if len(failed) > most * total:
        Path(out).unlink()
        raise kind(f"{len(failed)} of {total} bands of tiles failed, more than the fraction {most} that "
                   f"`stamps.max_failed_fraction` allows (the first: {failed[0]})")


def _store(options, shard: str, tile: dict, client, cache, dead, out) -> list[str]:
    """Write every tile in turn; why bands of tiles failed, one cause each."""
    n, bands, side, kernel = len(tile["ra"]), client.bands, client.size, options["psf_size"]
    meta = common.provenance(options) | {
        "survey": getattr(client, "survey", client).name, "service": client.service, "request": client.request,
        "ivar_source": client.ivar_source, "pixel_scale": client.scale, "recipe": options["identity"], "bands": ",".join(bands),
        "unit": "nJy",
        "status_names": ",".join(stamp.STATUS), "part": shard.rsplit("_", 1)[0], "overlap": options["overlap"]}
    facts, failed, causes, digests = [], [], [], []
    with store.writing(out, meta) as handle:
        pixels = {name: store.create(handle, name, (n, len(bands), side, side), kind, compress=name != "image")
                  for name, kind in tiles.SHAPES.items()}
        psf = store.create(handle, "psf", (n, len(bands), kernel, kernel), "f4", compress=True)
        for k in range(n):
            made, kernels, sha256 = client.stamps(k, cache, dead)
            found = tiles.assembled(made, kernels, (client.ra[k], client.dec[k]), client.scale)
            for name, dataset in pixels.items():
                dataset[k] = found.pop(name)
            psf[k] = found.pop("psf")
            told = found.pop("causes")
            failed += [cause for cause in told if cause.startswith("failed")]
            causes.append("; ".join(f"{band}: {cause}" for band, cause in zip(bands, told, strict=True) if cause))
            digests.append([digest.encode() for digest in sha256])
            facts.append(found)
        for name in facts[0]:
            store.put(handle, name, np.stack([one[name] for one in facts]))
        for name in ("tile_id", "core", "row", "column"):
            store.put(handle, name, tile[name])
        handle.create_dataset("sha256", data=np.array(digests, "S64"), track_times=False)
        store.put(handle, "cause", causes)
    return failed
