"""ConvNeXt encoders (Liu et al. 2022) whose parameters bear the names that published weights have.

Sizes atto to nano use 1x1 convolutions where the larger ones use linear layers, as the published weights do.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from skyloom.errors import InputError

# depths, widths, whether the MLP is made of 1x1 convolutions
SIZES = {"atto": ((2, 2, 6, 2), (40, 80, 160, 320), True), "femto": ((2, 2, 6, 2), (48, 96, 192, 384), True),
         "pico": ((2, 2, 6, 2), (64, 128, 256, 512), True), "nano": ((2, 2, 8, 2), (80, 160, 320, 640), True),
         "tiny": ((3, 3, 9, 3), (96, 192, 384, 768), False), "small": ((3, 3, 27, 3), (96, 192, 384, 768), False),
         "base": ((3, 3, 27, 3), (128, 256, 512, 1024), False), "large": ((3, 3, 27, 3), (192, 384, 768, 1536), False)}


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of (n, channel, y, x)."""

    def forward(self, x):
        return functional.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias,
                                     self.eps).permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Two layers with GELU between, on the last axis or as 1x1 convolutions."""

    def __init__(self, width: int, convolutions: bool):
        super().__init__()
        self.fc1 = nn.Conv2d(width, 4 * width, 1) if convolutions else nn.Linear(width, 4 * width)
        self.fc2 = nn.Conv2d(4 * width, width, 1) if convolutions else nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Depthwise 7x7 convolution, normalisation, MLP, scaled by gamma and added to the input."""

    def __init__(self, width: int, convolutions: bool, gamma: float):
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = LayerNorm2d(width, eps=1e-6) if convolutions else nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, convolutions)
        self.gamma = nn.Parameter(gamma * torch.ones(width))
        self.convolutions = convolutions

    def forward(self, x):
        y = self.conv_dw(x)
        y = self.mlp(self.norm(y)) if self.convolutions else self.mlp(self.norm(y.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return x + y * self.gamma[:, None, None]


class Stage(nn.Module):
    """Halve the resolution (not in the first stage), then blocks."""

    def __init__(self, before: int, width: int, depth: int, convolutions: bool, gamma: float):
        super().__init__()
        self.downsample = nn.Identity() if before == width else nn.Sequential(
            LayerNorm2d(before, eps=1e-6), nn.Conv2d(before, width, 2, stride=2))
        self.blocks = nn.Sequential(*(Block(width, convolutions, gamma) for _ in range(depth)))

    def forward(self, x):
        return self.blocks(self.downsample(x))


class ConvNeXt(nn.Module):
    """Images (n, bands, y, x) -> features (n, width of the last stage): pooled, normalised, no classifier.

    `patch` is the stem's stride: 4 as published; smaller for stamps of a few dozen pixels. gamma starts at 1e-6 as
    published, which suits fine-tuning; training from nothing on few objects wants more.
    """

    def __init__(self, size: str, bands: int, patch: int = 4, gamma: float = 1e-6):
        super().__init__()
        if size not in SIZES:
            raise InputError(f"unknown encoder {size!r}; known: {', '.join(SIZES)}")
        depths, widths, convolutions = SIZES[size]
        self.features = widths[-1]
        self.stem = nn.Sequential(nn.Conv2d(bands, widths[0], patch, stride=patch), LayerNorm2d(widths[0], eps=1e-6))
        before = (widths[0], *widths[:-1])
        self.stages = nn.Sequential(*(Stage(b, w, d, convolutions, gamma)
                                      for b, w, d in zip(before, widths, depths, strict=True)))
        self.head = nn.ModuleDict({"norm": LayerNorm2d(widths[-1], eps=1e-6)})
        self.apply(_start)
        # the norm after a stem without bias would forget how bright its input is: LayerNorm(c x) = LayerNorm(x)
        nn.init.trunc_normal_(self.stem[0].bias, std=0.02)

    def forward(self, x):
        x = self.stages(self.stem(x))
        return self.head["norm"](x.mean((2, 3), keepdim=True)).flatten(1)


def _start(module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def adapt(weights: dict[str, torch.Tensor], encoder: ConvNeXt) -> dict[str, torch.Tensor]:
    """Published weights (a state dict with timm's names) fitted to an encoder: no classifier, its stem's bands.

    The stem becomes the mean over the published channels divided by the number of bands, repeated, as Engel et al.
    (2025) state it: sums over channels keep their size. InputError names the first parameter that doesn't fit.
    """
    wanted = encoder.state_dict()
    out = {name: value for name, value in weights.items() if not name.startswith(("head.fc", "head.pre_logits"))}
    bands = wanted["stem.0.weight"].shape[1]
    if "stem.0.weight" in out and out["stem.0.weight"].shape[1] != bands:
        mean = out["stem.0.weight"].mean(dim=1, keepdim=True) / bands
        out["stem.0.weight"] = mean.repeat(1, bands, 1, 1)
    for name, value in wanted.items():
        if name not in out or out[name].shape != value.shape:
            found = tuple(out[name].shape) if name in out else "nothing"
            raise InputError(f"the weights do not fit: {name} is {found}, the encoder has {tuple(value.shape)}; "
                             "give weights of the same size")
    return {name: out[name] for name in wanted}
