"""The whole network: maps of tiles, then, of centres on them, shares of pixels and what is said of each source."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from skyloom.models.scene import inputs, photometry, windows
from skyloom.models.scene.backbone import Backbone
from skyloom.models.scene.objects import Objects, Said


@dataclass
class Centres:
    """n centres on the maps: `tile` (n,) int, `x`, `y` (n,) px of their tiles (the middle of the first pixel lies at 0), `heat`
    (n,) probability of a centre, `wide` (n,) bool: sources that the coarse scale knows."""

    tile: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    heat: torch.Tensor
    wide: torch.Tensor

    def of(self, rows) -> Centres:
        """Some of them."""
        return Centres(*(getattr(self, name)[rows] for name in ("tile", "x", "y", "heat", "wide")))


def cell(px):
    """Position in cells, of whose first the middle lies at 0, of one in px."""
    return (px - (inputs.CELL - 1) / 2) / inputs.CELL


class Scene(nn.Module):
    """Finds and measures sources; `widths` channels at strides 2, 4, 8, 16; `constants` as `inputs.fit` gives them."""

    def __init__(self, bands: int, constants: dict, scale: float, widths, embed: int, hidden: int):
        super().__init__()
        self.bands, self.constants, self.scale = bands, constants, scale
        self.backbone = Backbone(inputs.channels(bands), 2 * bands, tuple(widths), embed)
        self.head = Objects(widths[0] + widths[2] + widths[3] + 2, bands, embed, hidden)

    def flux_scale(self, device) -> torch.Tensor:
        """(band,) nJy: the usual error of a star's flux in the second aperture, from sigma: sigma sqrt(4 pi) A."""
        sigma = torch.as_tensor(self.constants["sigma"], dtype=torch.float32, device=device)
        return sigma * (4 * torch.pi) ** 0.5 * self.constants["apertures"][1] / self.scale / 2

    def apertures(self, device) -> torch.Tensor:
        """(3,) px."""
        return torch.as_tensor(self.constants["apertures"], dtype=torch.float32, device=device) / self.scale

    def maps(self, pixels: inputs.Pixels) -> dict[str, torch.Tensor]:
        """Maps of tiles, float32."""
        seen = inputs.seen(pixels).contiguous(memory_format=torch.channels_last)
        return {name: found.float() for name, found in self.backbone(seen, inputs.about(pixels, self.constants)).items()}

    def features(self, maps: dict, at: Centres) -> torch.Tensor:
        """(n, features) of the maps at centres."""
        x, y, parts = cell(at.x), cell(at.y), []
        for name, stride in (("fine", 1), ("middle", 4), ("wide", 8)):
            column, row = ((p + 0.5) / stride for p in (x, y))
            parts.append(maps[name][at.tile, :, row.long().clamp(0, maps[name].shape[2] - 1),
                                    column.long().clamp(0, maps[name].shape[3] - 1)])
        place = torch.stack([x - torch.floor(x + 0.5), y - torch.floor(y + 0.5)], dim=1)  # of the centre in its cell
        return torch.cat([*parts, place], dim=1)

    def asked(self, maps: dict, at: Centres, features):
        """[(rows, windows, logits of shares)] of the ordinary and of the wide sources."""
        query, shape = self.head.asked(features)
        embedding = maps["embedding"].transpose(0, 1).reshape(maps["embedding"].shape[1], -1)
        parts = []
        for wide, side in windows.SIDES.items():
            rows = torch.nonzero(at.wide == wide).flatten()
            if len(rows) or not wide:
                one = at.of(rows)
                seen = windows.around(one.tile, cell(one.x), cell(one.y), maps["sky"][:, 0].shape, side)
                parts.append((rows, seen, windows.logits(seen, query[rows], shape[rows], embedding)))
        return parts

    def light(self, pixels, maps: dict, at: Centres, parts, total) -> photometry.Light:
        """Photometry of all sources on their shares, in their order."""
        sky, apertures = windows.sky_share(maps["sky"].flatten(), total), self.apertures(at.x.device)
        found = [(rows, photometry.measured(pixels, seen, windows.shares(seen, logits, total), sky, at.tile[rows], apertures))
                 for rows, seen, logits in parts]
        back = torch.argsort(torch.cat([rows for rows, _ in found]))
        names = photometry.Light.__dataclass_fields__
        return photometry.Light(*(torch.cat([getattr(one, name) for _, one in found])[back] for name in names))

    def said(self, pixels, at: Centres, features, light) -> Said:
        """What is said of sources."""
        about = inputs.about(pixels, self.constants)[at.tile]
        return self.head.said(features, light, self.flux_scale(at.x.device), about)
