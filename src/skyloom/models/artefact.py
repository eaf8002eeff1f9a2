"""A trained model on disk: weights as safetensors, everything else that rebuilds and explains it as JSON."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from skyloom.errors import InputError
from skyloom.models import families
from skyloom.models.card import Card
from skyloom.models.convnext import adapt


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
        other = small if file == path else path
        name = file if other and other != file and Path(other).name == Path(file).name else Path(file).name
        used[name] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return used


def load(folder):
    """(model, its Card) of a folder; InputError if a file is missing or weights have another shape."""
    folder = Path(folder)
    try:
        given = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
        card = Card.read(given)
        model = families.of(card.model).build(card)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(f"{folder} holds no readable model ({type(error).__name__} {error}); train it again") from None
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        text = " ".join(str(error).split())[:160]
        raise InputError(f"the weights in {folder} do not fit {card.model} ({text}); train it again") from None
    return model, card


def describe(name: str, given: dict) -> dict:
    """Name, variant, `parameters` and `head_parameters` of a published model; `given` changes options that its family lets
    vary, others are passed over. InputError for an unknown model or value."""
    family = families.of(name)
    about = {key: given.get(key) or value for key, value in family.variants.items()}
    options = family.options(about)
    example = family.example(options)
    with torch.device("meta"):  # sizes without memory
        model = family.build(Card(name, options, **example))
    head = getattr(model, "head", None)
    return {"model": name, **(about or {"bands": len(example["inputs"])}), "parameters": count(model),
            "head_parameters": count(head) if head is not None else 0}


def count(module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
