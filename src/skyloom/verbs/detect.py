"""detect: every source of one shard's tiles by a network: table, masks, p(z)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skyloom import store, typed
from skyloom.dataset import read
from skyloom.measure import scene
from skyloom.models import artefact
from skyloom.progress import Progress
from skyloom.train import loop, sources
from skyloom.verbs import common


@dataclass(frozen=True)
class Settings:
    """What the rule gives."""

    device: str = "auto"


def arguments(parser) -> None:
    common.settings_argument(parser)
    parser.add_argument("scenes", help="scenes/{survey}/{shard}.h5")
    parser.add_argument("--model", required=True, help="folder with model.safetensors and model.json")
    for name in ("out", "masks", "pz"):
        parser.add_argument(f"--{name}", required=True)


def run(args) -> None:
    """Write the sources that the tiles' cores hold, tile after tile; a tile without any has no rows."""
    import pandas

    settings = typed.read(Settings, args.settings, "--settings", strict=False)
    model, card = artefact.load(args.model)
    loop.prepare(card.seed, card.threads)
    device, rows = loop.choose_device(settings.device), []
    with store.reading(args.scenes) as handle:
        n = len(handle["tile_id"])
        progress = Progress(total=n, label="detect")
        for k in range(n):
            seen, place = sources.tile(handle, k)
            out = sources.found(model, card, seen, place, card.precision, device)
            ids = scene.ids(place.tile_id, card.model, len(out.x))
            rows.append(({"object_id": ids, **sources.table(out, place, seen.bands)}, out))
            progress.step()
    meta = common.provenance(args.settings) | {"detector": card.model, "seed": card.seed, "model_code": card.code_hash,
                                               "weights": read.file_hash([Path(args.model) / "model.safetensors"])}
    columns = [table for table, _ in rows]
    store.write_parquet(args.out, pandas.DataFrame({name: np.concatenate([one[name] for one in columns]) for name in columns[0]}),
                        meta)
    mixtures = [sources.pz(out) for _, out in rows]
    store.write_columns(args.pz, {name: np.concatenate([one[name] for one in mixtures]) for name in sources.PZ}, meta)
    _write_masks(args.masks, [out for _, out in rows], meta)


def _write_masks(path, found, meta) -> None:
    first = filled = 0
    parts = []
    for out in found:
        parts.append(sources.masks(out, first, filled))
        first, filled = first + len(out.x), filled + len(parts[-1]["bits"])
    store.write_columns(path, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, meta)
