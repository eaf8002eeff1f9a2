"""A trained model on disk: weights as safetensors, everything else that rebuilds and explains it as JSON."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from skyloom.errors import InputError
from skyloom.models import registry, scaling
from skyloom.models.convnext import adapt
from skyloom.models.heads import Head


def weights_bytes(model) -> bytes:
    """The trainable parameters as safetensors bytes."""
    return save({name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad})


def start_from(model, path: str, small: str) -> dict[str, str]:
    """Load published encoder weights (safetensors, timm's names) into a fusion network; {file name: sha256}.

    `path` goes into the encoder of an early network or of PS1, `small` into those of GALEX and unWISE; an empty one leaves
    the encoder as it is. InputError if a file can't be read or doesn't fit.
    """
    used = {}
    late = getattr(model, "encoders", None)
    encoders = [("ps1", model.encoder)] if late is None else list(late.items())
    for survey, encoder in encoders:
        file = path if survey == "ps1" else small
        if not file:
            continue
        try:
            published = load_file(file)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{file} holds no readable weights ({error}); give a safetensors file") from None
        try:
            encoder.load_state_dict(adapt(published, encoder))
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
        used[Path(file).name] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return used


def load(folder):
    """(model, its model.json) of a folder; InputError if a file is missing or weights have another shape."""
    folder = Path(folder)
    try:
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{folder} holds no readable model ({error}); train it again") from None
    if registry.family(card["model"]):
        model = registry.build_from(card["model"], card["options"], len(card["ebv"]))
    elif registry.is_tabular(card["model"]):
        model = registry.build_tabular(card["options"], card["table"], Head(**card["head"]))
    else:
        head = Head(**card["head"]) if card.get("head") else None
        inputs, channels = scaling.inputs(card["table"]), scaling.channels(card)
        model = registry.build(card["model"], inputs, channels, card["options"]["size"], head)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        text = " ".join(str(error).split())[:160]
        raise InputError(f"the weights in {folder} do not fit {card['model']} ({text}); train it again") from None
    return model, card
