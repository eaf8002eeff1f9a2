"""Maps of a tile: a U-Net at strides 2, 4, 8 and 16, with centre points on two scales."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

PRIOR = -4.0  # start of the centre maps: 2 % of cells


class Block(nn.Module):
    """(m, width, y, x) -> the same: two 3 x 3 convolutions beside the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x):
        return x + self.second(functional.relu(self.first(functional.relu(x))))


class Backbone(nn.Module):
    """`seen` (m, channels, y, x) and `about` (m, k) -> {maps}.

    On cells (stride 2): `fine` features, `centre` (m, 1) logits of a source's centre, `offset` (m, 2) from the cell's middle to
    the centre in cells (x, y), `embedding` (m, embed), `sky` (m, 1) logit of the sky's share; at stride 8 `middle` features and
    `coarse` (m, 1), `coarse_offset` (m, 2) in its cells: the centres of bright and large sources, whose light fills more than
    the fine scale sees; they are told to the fine scale, which then knows what lies in them. At stride 16 `wide` features.
    """

    def __init__(self, channels: int, about: int, widths: tuple[int, ...], embed: int):
        super().__init__()
        first = widths[0]
        self.stem, self.about = nn.Conv2d(channels, first, 3, padding=1), nn.Linear(about, first)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in zip(widths, widths[1:], strict=False))
        self.encode = nn.ModuleList(Block(width) for width in widths)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in zip(widths, widths[1:], strict=False))
        self.decode = nn.ModuleList(Block(width) for width in widths[:-1])
        self.coarse = nn.Conv2d(widths[2], 3, 1)
        self.told = nn.Conv2d(1, first, 1)
        self.maps = nn.Conv2d(first, 4 + embed, 1)
        with torch.no_grad():
            self.coarse.bias[0] = PRIOR
            self.maps.bias[0] = PRIOR

    def forward(self, seen, about):
        x = self.stem(seen) + self.about(about)[:, :, None, None]
        passed = [self.encode[0](x)]
        for down, encode in zip(self.down, self.encode[1:], strict=True):
            passed.append(encode(down(functional.relu(passed[-1]))))
        x = passed[-1]
        out = {"wide": x}
        for k in reversed(range(len(self.up))):
            x = passed[k] + functional.interpolate(self.up[k](functional.relu(x)), scale_factor=2)
            if k == 0:
                x = x + self.told(functional.interpolate(torch.sigmoid(out["coarse"]), scale_factor=4, mode="bilinear"))
            x = self.decode[k](x)
            if k == 2:
                out["middle"], coarse = x, self.coarse(functional.relu(x))
                out |= {"coarse": coarse[:, :1], "coarse_offset": coarse[:, 1:]}
        maps = self.maps(functional.relu(x))
        return out | {"fine": x, "centre": maps[:, :1], "offset": maps[:, 1:3], "sky": maps[:, 3:4], "embedding": maps[:, 4:]}
