"""detect: every source of one shard's tiles by a network: table, masks, p(z)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skyloom import store, typed
from skyloom.dataset import detections, read
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
    settings = typed.read(Settings, args.settings, "--settings", strict=False)
    model, card = artefact.load(args.model)
    loop.prepare(card.seed, card.threads)
    device, rows = loop.choose_device(settings.device), []
    with store.reading(args.scenes) as handle:
        progress = Progress(total=len(handle["tile_id"]), label="detect")
        for place, bands, out in sources.every(handle, model, card, device):
            rows.append((sources.table(out, place, bands, card.model), out))
            progress.step()
    meta = common.provenance(args.settings) | {"detector": card.model, "seed": card.seed, "model_code": card.code_hash,
                                               "weights": read.file_hash([Path(args.model) / "model.safetensors"])}
    detections.write(args.out, sources.together([table for table, _ in rows]), meta)
    store.write_columns(args.pz, sources.together([sources.pz(out) for _, out in rows]), meta)
    _write_masks(args.masks, [out for _, out in rows], meta)


def _write_masks(path, found, meta) -> None:
    first = filled = 0
    parts = []
    for out in found:
        parts.append(sources.masks(out, first, filled))
        first, filled = first + len(out.x), filled + len(parts[-1]["bits"])
    store.write_columns(path, sources.together(parts), meta)
