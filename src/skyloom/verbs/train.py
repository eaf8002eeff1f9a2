"""train: one model and seed. Imports numpy, h5py, torch and safetensors only, so that any GPU box can run it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from skyloom import store, textfiles
from skyloom.dataset import multi, read
from skyloom.errors import InputError
from skyloom.models import artefact, fusion, galaxiesml, mantis, registry, scaling
from skyloom.models.heads import Head
from skyloom.provenance.canonical import digest
from skyloom.train import fitting, loop
from skyloom.verbs import common


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("--training", required=True)
    parser.add_argument("--validation", required=True)
    parser.add_argument("--tuned", default="", help="JSON of the verb tune")
    parser.add_argument("--weights-of", default="", help="file of the verb weigh")
    parser.add_argument("--state", required=True, help="folder of the training state, kept for a killed run")
    parser.add_argument("--code", default="", help="fingerprint of the code, part of the state's key")
    parser.add_argument("--shuffle-redshifts", action="store_true", help="a check: must ruin the score")
    for name in ("weights", "card", "history"):
        parser.add_argument(f"--{name}", required=True)


def run(args) -> None:
    """Train, early-stopped on the `select` half of validation; write weights, model.json, history.csv."""
    settings = args.settings
    options = registry.options(settings["model"], settings["options"])
    if args.tuned:
        options |= json.loads(textfiles.read(args.tuned))["chosen"]
    data_hash = read.file_hash([args.training, args.validation])
    loop.prepare(settings["seed"], settings["threads"])
    device = loop.choose_device(settings["device"])
    precision = loop.choose_precision(settings["precision"], device)
    if registry.family(settings["model"]):
        train, select, card = _fusion_data(args, options)
        model, head = registry.build_from(settings["model"], options, len(card["ebv"])), registry.fusion_head(options)
        loss = mantis.loss if head.kind == "binned" else head.loss
        card |= {"pretrained": artefact.start_from(model, options["pretrained"], options["pretrained_small"])}
    elif registry.is_tabular(settings["model"]):
        model, loss, train, select, card = _tabular(args, options)
    else:
        train, select, card = _data(args, options)
        head = Head(**card["head"]) if card["head"] else None
        model = registry.build(settings["model"], scaling.inputs(card["table"]), scaling.channels(card), options["size"], head)
        loss = head.loss if head else galaxiesml.loss
        if not head:
            with torch.no_grad():  # start at the mean redshift, where eq. (1) has a slope
                model.head.bias.fill_(float(train.z.mean()))
    key = digest({"settings": settings, "options": options, "code": args.code, "data": data_hash, "device": device.type,
                  **({"weights": read.file_hash([args.weights_of])} if args.weights_of else {})})
    state = State(Path(args.state), settings["model"], settings["seed"], key)
    history, best = loop.fit(model, loss, train, select, options, settings["seed"], device, precision,
                                 state.load, state.save)
    card |= common.provenance(settings, args.code) | {
        "model": settings["model"], "seed": settings["seed"], "options": options, "parameters": registry.count(model),
        "best_epoch": best, "epochs": len(history), "data_hash": data_hash, "device": device.type,
        "precision": precision, "threads": settings["threads"], "torch": torch.__version__.split("+")[0]}
    with store.replacing(args.weights) as temporary:
        temporary.write_bytes(artefact.weights_bytes(model))
    store.write_text(args.card, json.dumps(card, indent=1, sort_keys=True) + "\n")
    lines = ["epoch,train_loss,select_loss"] + [f"{h['epoch']},{h['train_loss']:.8g},{h['select_loss']:.8g}" for h in history]
    store.write_text(args.history, "\n".join(lines) + "\n")
    state.forget_others()


def _data(args, options):
    """(training arrays, select arrays, the part of model.json that describes the inputs)."""
    names = read.magnitude_columns(args.training)
    splits = [read.Split(path, [*names, "specz_redshift"], options["uses_image"]) for path in (args.training, args.validation)]
    train, held = splits
    if train.n == 0:
        raise InputError(f"{args.training} holds no objects; widen the query or the split")
    table = scaling.fit_table({n: train.columns[n] for n in names}, options["scaling"], options["uses_image"])
    card = {"table": table, "image": None, "bands": [], "inputs": names, "head": None}
    if options["head"] != "point":
        z = train.columns["specz_redshift"]
        card["head"] = Head(options["head"], options["outputs"], float(np.nanmin(z)), float(np.nanmax(z)) + 1e-6).facts()
    if options["uses_image"]:
        if train.shape[-1] != options["size"]:
            raise InputError(f"{args.training} holds stamps of {train.shape[-1]} px, the model wants {options['size']}")
        card |= {"image": scaling.fit_image(train.ivar_sample(), options["scaling"], options["ivar"]) | {"ivar": options["ivar"]},
                 "bands": train.attributes["bands"].split(","), "zero_point": float(train.attributes["zero_point"]),
                 "pixel_scale": float(train.attributes["pixel_scale"])}
    select = np.flatnonzero(held.columns["subset"] == "select")
    if not len(select):
        raise InputError(f"{args.validation} holds no object of subset `select`; the sample is too small")
    out = [arrays(train, np.arange(train.n), card), arrays(held, select, card)]
    out[0].weight = _weights(args, train.columns["object_id"])
    if args.shuffle_redshifts:
        out[0].z = out[0].z[torch.randperm(len(out[0].z), generator=torch.Generator().manual_seed(0))]
    return *out, card


def _tabular(args, options):
    """(network, loss, training arrays, select arrays, description) of a tabular estimator; with `refit` `select` is learned
    from, too, and nothing watches."""
    found = fitting.columns(args.training, options)
    train, held = (read.Split(path, [*found.inputs, "specz_redshift"], False) for path in (args.training, args.validation))
    if options["refit"]:
        train = fitting.joined(train, held, held.columns["subset"] == "select")
    rows = fitting.rows_of(train, True)
    model, head, table, out = fitting.network(train, rows, options, found)
    out.weight = _weights(args, train.columns["object_id"][rows])
    select = None
    if not options["refit"]:
        select = fitting.arrays(held, fitting.rows_of(held, held.columns["subset"] == "select"), table)
    if args.shuffle_redshifts:
        out.z = out.z[torch.randperm(len(out.z), generator=torch.Generator().manual_seed(0))]
    return model, head.loss, out, select, {"table": table, "image": None, "bands": [], "head": head.facts(),
                                           "inputs": found.inputs}


def _weights(args, ids: np.ndarray):
    """(n,) importance weights of the training objects, None without; InputError if the file is of other objects."""
    if not args.weights_of:
        return None
    found = store.columns(args.weights_of, ["object_id", "weight"])
    at = {int(i): k for k, i in enumerate(found["object_id"])}
    if any(int(i) not in at for i in ids):
        raise InputError(f"{args.weights_of} lacks objects to learn from (it has weights of the split training alone): rerun "
                         "weigh, or set `refit: false` beside `reweight`")
    return torch.from_numpy(found["weight"][[at[int(i)] for i in ids]])


def _fusion_data(args, options):
    """The same for a fusion network: {survey: pixels}, E(B-V), classes."""
    splits = [multi.MultiSplit(path, options["surveys"], ["specz_redshift"]) for path in (args.training, args.validation)]
    train, held = splits
    if train.n == 0:
        raise InputError(f"{args.training} holds no objects; widen the query or the split")
    early = registry.family(args.settings["model"]) != "mantis_late"
    turned = options["augment"] == "rotations"
    frames = train.frames(options, early)
    card = {"image": fusion.fit(train.ivar_sample(), options["scaling"]), "surveys": options["surveys"], "bands": train.bands,
            "pixel_scale": train.scale, "ebv": train.ebv_names, "inputs": [], "table": None, "unit": "nJy", "frames": frames,
            "bin_edges": mantis.edges(options["bins"]).tolist(), "fusion": "early" if early else "late",
            "acquisition": args.settings.get("acquisition"), "own_head": options["head"] != "binned"}
    select = np.flatnonzero(held.columns["subset"] == "select")
    if not len(select):
        raise InputError(f"{args.validation} holds no object of subset `select`; the sample is too small")
    out = [fusion_arrays(train, np.arange(train.n), card, train.frames(options, early, turned)),
           fusion_arrays(held, select, card, held.frames(options, early))]
    if args.shuffle_redshifts:
        out[0].z = out[0].z[torch.randperm(len(out[0].z), generator=torch.Generator().manual_seed(0))]
    if not (out[0].classes >= 0).any() or not (out[1].classes >= 0).any():
        raise InputError(f"no redshift of {args.training} or {args.validation} lies in 0 <= z < {mantis.Z_MAX}; widen the sample")
    return *out, card


def fusion_arrays(split: multi.MultiSplit, rows: np.ndarray, card: dict, frames: dict) -> loop.Arrays:
    """Training arrays of some rows of a multi-survey split, scaled as model.json says, in the given frames: z are the classes
    of the published head, for another redshifts, of the rows that have a class."""
    z = split.columns["specz_redshift"][rows]
    seen = np.any([bands.any(axis=1) for bands in split.seen(rows, card["image"]["kind"]).values()], axis=0)
    classes = np.where(seen, mantis.classes(z, len(card["bin_edges"]) - 1), -1)  # nothing is learned from an empty picture
    if own := card.get("own_head"):
        rows, z, classes = rows[classes >= 0], z[classes >= 0], classes[classes >= 0]
    sizes = {name: px for name, (px, _) in card["frames"].items()}
    return loop.Arrays(lambda at: split.inputs(rows[at], card["image"], frames), torch.from_numpy(split.ebv()[rows]),
                           torch.tensor(z, dtype=torch.float32) if own else torch.from_numpy(classes), sizes,
                           classes=torch.from_numpy(classes))


def arrays(split: read.Split, rows: np.ndarray, card: dict) -> loop.Arrays:
    """Training arrays of some rows of a split, scaled as model.json says."""
    table = scaling.table({n: split.columns[n][rows] for n in card["inputs"]}, card["table"])
    z = torch.tensor(split.columns["specz_redshift"][rows], dtype=torch.float32)
    images = None if card["image"] is None else lambda at: split.inputs(rows[at], card["image"])
    return loop.Arrays(images, torch.from_numpy(table), z)


class State:
    """The training state of one model and seed in the cache, named by its key."""

    def __init__(self, folder: Path, model: str, seed: int, key: str):
        self.folder, self.stem, self.key = folder, f"{model}_seed{seed}_", key
        self.path = folder / f"{self.stem}{key}.pt"

    def load(self):
        """The saved state, None without one; InputError if the file is foreign or unreadable."""
        if not self.path.exists():
            return None
        try:
            saved = torch.load(self.path, weights_only=True)
        except Exception as error:  # torch raises whatever pickle and zip raise
            raise InputError(f"the training state {self.path} is unreadable ({type(error).__name__}); "
                             "delete it and rerun") from None
        if saved.get("key") != self.key:
            raise InputError(f"the training state {self.path} belongs to another configuration; delete it and rerun")
        return saved["state"]

    def save(self, state: dict) -> None:
        with store.replacing(self.path) as temporary:
            torch.save({"key": self.key, "state": {**state, "best": float(state["best"])}}, temporary)

    def forget_others(self) -> None:
        """Remove the states of earlier configurations of this model and seed."""
        for path in self.folder.glob(f"{self.stem}*.pt"):
            if path != self.path:
                path.unlink()
