"""A trained model on disk: weights as safetensors, everything else that rebuilds and explains it as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from skyloom.errors import InputError
from skyloom.models import families
from skyloom.models.card import Card


def weights_bytes(model) -> bytes:
    """The trainable parameters as safetensors bytes."""
    return save({name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad})


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
    options = family.options({**family.described, **about})
    example = family.example(options)
    with torch.device("meta"):  # sizes without memory
        model = family.build(Card(name, options, **example))
    head = getattr(model, "head", None)
    parts = {part: count(module) for part, module in family.parts(model).items()}
    return {"model": name, **(about or {"bands": len(example.get("inputs") or example["bands"])}), "parameters": count(model),
            "head_parameters": count(head) if head is not None else 0, **({"parts": parts} if parts else {})}


def count(module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
