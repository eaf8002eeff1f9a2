"""A trained model on disk: weights as safetensors, everything else that rebuilds and explains it as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from skyloom.errors import InputError
from skyloom.models import registry, scaling


def weights_bytes(model) -> bytes:
    """The trainable parameters as safetensors bytes."""
    return save({name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad})


def load(folder):
    """(model, its model.json) of a folder; InputError if a file is missing or weights have another shape."""
    folder = Path(folder)
    try:
        card = json.loads((folder / "model.json").read_text())
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{folder} holds no readable model ({error}); train it again") from None
    if card["model"] in registry.MANTIS:
        model = registry.build_from(card["model"], card["options"], len(card["ebv"]))
    else:
        model = registry.build(card["model"], scaling.inputs(card["table"]), len(card["bands"]) or 5, card["options"]["size"])
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        text = " ".join(str(error).split())[:160]
        raise InputError(f"the weights in {folder} do not fit {card['model']} ({text}); train it again") from None
    return model, card
