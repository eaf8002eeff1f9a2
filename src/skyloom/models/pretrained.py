"""Published weights from which a network starts."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from skyloom.errors import InputError
from skyloom.models.convnext import adapt


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
