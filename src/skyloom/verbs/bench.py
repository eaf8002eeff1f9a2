"""bench: training and inference rate of a model on this machine, on synthetic data; needs no survey, runs on any GPU box."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from skyloom import store, training
from skyloom.dataset import read
from skyloom.models import galaxiesml, registry, scaling
from skyloom.verbs import train as train_verb

BANDS = ("g", "r", "i", "z", "y")


def arguments(parser) -> None:
    parser.add_argument("--model", default="galaxiesml_cnn")
    parser.add_argument("--size", type=int, choices=(64, 127), default=64)
    parser.add_argument("--objects", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")


def run(args) -> None:
    """Write a synthetic split, train on it, and print images per second of training and inference as JSON."""
    training.prepare(1, args.threads)
    device = training.choose_device(args.device)
    precision = training.choose_precision(args.precision, device)
    options = registry.options(args.model, {"size": args.size, "batch_size": args.batch_size, "max_epochs": args.epochs})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.hdf5"
        synthetic(path, args.objects, args.size)
        names = read.magnitude_columns(path)
        split = read.Split(path, [*names, "specz_redshift"], options["uses_image"])
        table = scaling.fit_table({n: split.columns[n] for n in names}, "default", options["uses_image"])
        image = scaling.fit_image(split.ivar_sample(), "default") if options["uses_image"] else None
        card = {"inputs": names, "table": table, "image": image}
        data = train_verb.arrays(split, np.arange(split.n), card)
        model = registry.build(args.model, scaling.inputs(card["table"]), len(BANDS), args.size)
        few = train_verb.arrays(split, np.arange(min(split.n, args.batch_size)), card)
        training.fit(model, galaxiesml.loss, few, few, {**options, "max_epochs": 1}, 1, device, precision, tell=lambda text: None)
        started = time.perf_counter()
        training.fit(model, galaxiesml.loss, data, few, options, 1, device, precision, tell=lambda text: None)
        trained = args.epochs * split.n / (time.perf_counter() - started)
        started = time.perf_counter()
        training.evaluate(model, galaxiesml.loss, data, args.batch_size, device, precision)
        inferred = split.n / (time.perf_counter() - started)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {args.threads} threads"
    print(json.dumps({"model": args.model, "size": args.size, "device": name, "precision": precision, "torch": torch.__version__,
                      "train_images_per_s": round(trained, 1), "inference_images_per_s": round(inferred, 1)}))


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
