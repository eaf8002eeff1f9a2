"""Published weights from which the backbone starts."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from skyloom.errors import InputError
from skyloom.models.mvit.backbone import MViT

STEM = "patch_embed.proj.weight"


def start_from(backbone: MViT, path: str) -> dict[str, str]:
    """Load published weights of a classifier (safetensors, timm's names) into the backbone; {file name: sha256}.

    The stem becomes the mean over the published channels, repeated, times their number over that of the bands, so that sums over
    channels keep their size. The published norm behind the last block is that of the last scale; those of the others start
    fresh. InputError if the file can't be read or a parameter doesn't fit.
    """
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} holds no readable weights ({error}); give a safetensors file") from None
    found = {f"norms.3.{name[5:]}" if name.startswith("norm.") else name: value for name, value in found.items()}
    wanted = backbone.state_dict()
    if STEM in found and found[STEM].shape[1] != (bands := wanted[STEM].shape[1]):
        found[STEM] = (found[STEM].sum(dim=1, keepdim=True) / bands).expand(-1, bands, -1, -1)
    fresh = {name for name in wanted if name.startswith("norms.") and not name.startswith("norms.3.")}
    for name in wanted.keys() - fresh:
        if name not in found or found[name].shape != wanted[name].shape:
            what = tuple(found[name].shape) if name in found else "nothing"
            raise InputError(f"{path}: the weights do not fit: {name} is {what}, the backbone has {tuple(wanted[name].shape)}; "
                             "give weights of the same size")
    backbone.load_state_dict({name: found[name] for name in wanted.keys() - fresh}, strict=False)
    return {Path(path).name: hashlib.sha256(Path(path).read_bytes()).hexdigest()}
