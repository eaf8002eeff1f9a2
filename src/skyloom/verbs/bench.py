"""bench: training and inference rate of a model on this machine, on synthetic data; needs no survey, runs on any GPU box."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from skyloom import store
from skyloom.models import families
from skyloom.surveys import imaging
from skyloom.train import data, fitting, loop

BANDS = ("g", "r", "i", "z", "y")


def arguments(parser) -> None:
    parser.add_argument("--model", default="galaxiesml_cnn")
    parser.add_argument("--size", type=int, choices=(64, 127), default=64)
    parser.add_argument("--encoder", default="large", help="of mantis_*")
    parser.add_argument("--objects", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")


def run(args) -> None:
    """Write a synthetic split, train on it, and print images per second of training and inference as JSON."""
    loop.prepare(1, args.threads)
    device = loop.choose_device(args.device)
    family = families.of(args.model)
    known = {field.name for field in fields(family.Options)}
    about = {name: getattr(args, name) for name in ("size", "encoder") if name in known}
    wanted = {**about, "batch_size": args.batch_size, "max_epochs": args.epochs}
    wanted |= {"batches": max(1, args.objects // args.batch_size)} if "batches" in known else {}
    options = family.options(wanted)
    with tempfile.TemporaryDirectory() as folder:
        lesson, few = _lesson(family, args, options, str(Path(folder) / "synthetic.hdf5"))
        precision = loop.choose_precision(args.precision, device, lesson.learn.images is not None)
        quiet, model, loss = {"tell": lambda text: None}, lesson.model, lesson.loss
        once = replace(options, max_epochs=1, **({"batches": 1} if "batches" in known else {}))
        loop.fit(model, loss, few, few, once, 1, device, precision, **quiet)
        started = time.perf_counter()
        loop.fit(model, loss, lesson.learn, few, options, 1, device, precision, **quiet)
        trained = args.epochs * len(lesson.learn.z) / (time.perf_counter() - started)
        started = time.perf_counter()
        loop.evaluate(model, loss, lesson.select, args.batch_size, device, precision)
        inferred = len(lesson.select.z) / (time.perf_counter() - started)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {args.threads} threads"
    print(json.dumps({"model": args.model, **about, "batch_size": args.batch_size, "device": name, "precision": precision,
                      "torch": torch.__version__, "train_images_per_s": round(trained, 1),
                      "inference_images_per_s": round(inferred, 1)}))


def _lesson(family, args, options, path: str):
    """(lesson of all rows, which it is watched on, too; arrays of one batch) of a synthetic file of the kind it reads."""
    if family.reads == "surveys":
        synthetic_multi(path, args.objects)
    else:
        synthetic(path, args.objects, args.size)
    packed = data.packed(path)
    split = data.opened(path, family.wanted(packed, options), [data.REDSHIFT])
    rows = np.arange(split.n)
    lesson = fitting.begun(family, args.model, options, split, rows, packed)
    lesson.select, few = (fitting.arrays(family, lesson.card, split, rows[:n]) for n in (split.n, args.batch_size))
    return lesson, few


def synthetic_multi(path, n: int) -> None:
    """A multi-survey split of noise at the surveys' default stamp sizes."""
    rng = np.random.default_rng(1)
    shown = [survey for survey in imaging.REGISTRY.values() if survey.size]
    with store.writing(path, {"surveys": ",".join(survey.name for survey in shown)}) as handle:
        for survey in shown:
            group, bands, size = handle.create_group(survey.name), len(survey.bands), survey.size
            group.attrs["bands"], group.attrs["pixel_scale"] = ",".join(survey.bands), survey.scale
            group.attrs["status_names"] = "ok,no_coverage,masked,too_small,failed"
            group["image"] = rng.standard_normal((n, bands, size, size), np.float32)
            group["ivar"] = np.ones((n, bands, size, size), np.float32)
            group["status"] = np.zeros((n, bands), np.uint8)
        for name, values in (("object_id", np.arange(n)), ("specz_redshift", rng.uniform(0, 1.6, n)), ("ebv_csfd", np.zeros(n)),
                             ("ebv_planck2013", np.zeros(n)), ("split", ["training"] * n), ("subset", [""] * n)):
            store.put(handle, name, values)


def synthetic(path, n: int, size: int, seed: int = 0) -> None:
    """A packed split of `n` round blobs whose size and colour follow the redshift, in the dataset's own layout."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.05, 1.5, n)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    columns = {"object_id": np.arange(n), "specz_redshift": z, "split": np.full(n, "training", object),
               "subset": np.full(n, "select", object)}
    magnitudes = {f"{band}_cmodel_mag": 21 + (1 - 0.3 * k) * z + rng.normal(0, 0.05, n) for k, band in enumerate(BANDS)}
    meta = {"magnitude_columns": ",".join(magnitudes), "bands": ",".join(BANDS), "zero_point": 27.0, "pixel_scale": 0.168}
    with store.writing(path, meta) as handle:
        image = store.create(handle, "image", (n, 5, size, size), "f4")
        ivar = store.create(handle, "ivar", (n, 5, size, size), "f4", compress=True)
        for k in range(n):
            width = 2 + 3 / (1 + z[k])
            blob = np.exp(-0.5 * (x**2 + y**2) / width**2) / (2 * np.pi * width**2)
            flux = np.array([10 ** (0.4 * (27 - magnitudes[name][k])) for name in magnitudes])
            image[k] = flux[:, None, None] * blob + 0.05 * rng.standard_normal((5, size, size))
            ivar[k] = 1 / 0.05**2
        for name, values in (columns | magnitudes).items():
            store.put(handle, name, values)
