"""The sources of a tile as the network of boxes finds them, in the words of the network of centres.

A source's place is the middle of its box (as in Merz et al. 2024). Pixels belong to the source whose mask is surest of them; its
flux is their sum: light outside the mask isn't counted. Gaussian apertures pass over the pixels of others.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from skyloom.models.card import Card
from skyloom.models.mvit import found, inputs
from skyloom.models.mvit.network import Mvit
from skyloom.models.scene import inputs as scene
from skyloom.models.scene import photometry, windows
from skyloom.models.scene.detect import AT_ONCE, Found, blockwise, flags

ASKED = 12.0  # px of the box that is looked at around a position where nothing was found
NEAR = 3.0  # px: a box so near a position is the one that is asked for


def detected(model: Mvit, card: Card, tile: scene.Tile, positions: np.ndarray | None = None, threshold: float | None = None,
             precision: str = "fp32", device="cpu") -> Found:
    """The sources of a tile with a score of at least `threshold` (the option `score` without), or what is at `positions` (n, 2)
    px x, y, in their order: of the box found there, or of one of ASKED px. InputError for a tile of other bands, pixels or unit
    than the network's."""
    scene.check(tile, card.bands, card.pixel_scale, card.unit)
    image, ivar = scene.cleaned(tile.image, tile.ivar)
    least = card.options.score if threshold is None else threshold
    return blockwise(replace(tile, image=image, ivar=ivar), positions,
                     lambda part, at: _part(model, card, part, at, least, precision, device))


@torch.no_grad()
def _part(model, card, tile, positions, least, precision, device) -> Found:
    """Sources of one block."""
    model.eval()
    images = inputs.scaled(tile.image, tile.ivar, card.image)[None].to(device)
    ebv = torch.tensor([tile.ebv], device=device) if card.options.ebv else None
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        said = model.find(images, ebv, score=least)[0]
        if positions is not None:
            said = model.find(images, ebv, [_asked(said["boxes"], positions)])[0]
    said = {name: ([p.double().cpu().numpy() for p in value] if name == "mixture" else value.cpu().numpy())
            for name, value in said.items()}
    if positions is None and not tile.ivar.any():
        said = {name: [p[:0] for p in value] if name == "mixture" else value[:0] for name, value in said.items()}
    return _found(card, tile, said, positions, device)


def _asked(boxes, positions) -> torch.Tensor:
    """(n, 4) the found box around each position, or one of ASKED px."""
    at = torch.as_tensor(np.asarray(positions), dtype=torch.float32, device=boxes.device).reshape(-1, 2) + 0.5
    own = torch.cat([at - ASKED / 2, at + ASKED / 2], dim=1)
    if not len(boxes) or not len(at):
        return own
    far, row = torch.cdist(at, (boxes[:, :2] + boxes[:, 2:]) / 2).min(dim=1)
    return torch.where((far < NEAR)[:, None], boxes[row], own)


def _found(card, tile, said, positions, device) -> Found:
    """Numbers of the sources with these boxes and masks, at their middles unless positions are given."""
    boxes, n = said["boxes"], len(said["boxes"])
    owner = found.owners(said["masks"], boxes, tile.image.shape[1:])
    middle = (boxes[:, :2] + boxes[:, 2:]).astype(float) / 2 - 0.5
    x, y = (middle if positions is None else np.array(positions, float).reshape(-1, 2)).T
    width = np.asarray(tile.psf_fwhm)[None]
    pixels = scene.pixels(tile.image[None], tile.ivar[None], width, card.image, card.pixel_scale, device)
    light = _light(pixels, owner, x, y, np.array(card.image["apertures"]) / card.pixel_scale)
    flux, error = found.photometry(owner, n, tile.image, tile.ivar)
    apertures = [a.double().cpu().numpy() for a in (light.aperture, light.aperture_error)]
    clear = (light.unseen < 0.5).cpu().numpy()
    snr = np.sqrt(((apertures[0][:, :, 1] / apertures[1][:, :, 1]).clip(0) ** 2 * clear).sum(axis=1))
    summed = (pixels.image[0] / pixels.sigma[0][:, None, None]).sum(dim=0).cpu().numpy()[:owner.shape[0], :owner.shape[1]]
    radius = found.radii(owner, n, summed) * card.pixel_scale
    masks = found.windows(owner, n)
    bits = [masks["bits"][at:at + w * h].reshape(h, w).astype(bool)
            for at, w, h in zip(masks["offset"], masks["w"], masks["h"], strict=True)]
    said_of_flux = np.full(flux.shape, np.nan)  # the network says nothing of fluxes
    weight, mean, sigma = said["mixture"]
    return Found(x, y, said["score"].astype(float), said["p_star"].astype(float), flux, error, *apertures, radius,
                 np.full(n, np.nan), snr, flags(tile, x, y, snr, light), np.exp(weight), mean, sigma, said_of_flux, said_of_flux,
                 np.stack([masks[name] for name in ("x0", "y0", "w", "h")], axis=1).astype(int), bits)


def _light(pixels, owner, x, y, apertures) -> photometry.Light:
    """Aperture photometry on the pixels that aren't others'."""
    if not len(x):  # as of somewhere, of which nothing is kept
        one = _light(pixels, owner, np.zeros(1), np.zeros(1), apertures)
        return photometry.Light(*(value[:0] for value in vars(one).values()))
    rows, columns = pixels.image.shape[-2:]
    side, device = windows.SIDES[False], pixels.image.device
    padded = np.full((rows, columns), -1, np.int64)
    padded[:owner.shape[0], :owner.shape[1]] = owner
    whose = torch.from_numpy(padded).to(device).reshape(rows // scene.CELL, scene.CELL, columns // scene.CELL, scene.CELL)
    whose = whose.permute(0, 2, 1, 3).reshape(-1, scene.CELL**2)  # of the pixels of each cell
    sky = torch.zeros(len(whose), device=device)
    parts = []
    for some in torch.arange(len(x)).split(AT_ONCE):
        px, py = (torch.as_tensor(a[some.numpy()], dtype=torch.float32, device=device) for a in (x, y))
        tile = torch.zeros(len(some), dtype=torch.long, device=device)
        seen = windows.around(tile, *((p - (scene.CELL - 1) / 2) / scene.CELL for p in (px, py)),
                              (1, rows // scene.CELL, columns // scene.CELL), side)
        own = (whose[seen.at] == some.to(device)[:, None, None]) | (whose[seen.at] < 0)
        share = own.float().mean(dim=2)
        parts.append(photometry.measured(pixels, seen, share, sky, tile, torch.as_tensor(apertures, dtype=torch.float32,
                                                                                         device=device)))
    return photometry.Light(*(torch.cat([vars(one)[name] for one in parts]) for name in vars(parts[0])))
