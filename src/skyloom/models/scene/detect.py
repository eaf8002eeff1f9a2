"""The sources of a tile of any size: positions, classes, deblended fluxes, masks, p(z); or all that of given positions."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from skyloom.models.card import Card
from skyloom.models.scene import calibration, inputs, objects, peaks, photometry, windows
from skyloom.models.scene.network import Centres, Scene

FLAGS = {"blended": 1, "edge": 2, "saturated": 4, "shredded": 8, "masked": 16}
LEAST = 0.1  # heat of a peak that is looked at
BLOCK, MARGIN = 1056, 96  # px: larger tiles are seen in parts, which share a margin
AT_ONCE = 256  # sources whose pixels are in memory
# a source of whose centre others have so much, one of them brighter by this, and that is spurious with this chance, is a shred
CONTAINED, FAINTER, DOUBT = 0.6, 0.5, 0.2
BLENDED, SUSPECT, HIDDEN, NEAR = 0.1, 0.4, 0.2, 5.0
UNSEEN = 0.95  # share of a source's weight without data from which a band has no flux
PEAK = 50.0  # S/N: where the data end at the centre of such a source, it is saturated


@dataclass
class Found:
    """n sources of a tile as arrays: `x`, `y` px, `score`, `p_star`, `flux`, `flux_err` (n, band), `aper_flux`, `aper_flux_err`
    (n, band, 3) nJy, `half_light_radius`, `half_light_radius_err` arcsec, `snr`, `flags` (bits FLAGS), p(z) as `weight`, `mean`,
    `sigma` (n, 5); for calibration `asinh`, `log_scale` (n, band) as the network said; `mask_box` (n, 4) x0, y0, w, h px and
    `mask_bits` [(h, w) bool]; `shreds`: how many were removed as parts of others."""

    x: np.ndarray
    y: np.ndarray
    score: np.ndarray
    p_star: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    aper_flux: np.ndarray
    aper_flux_err: np.ndarray
    half_light_radius: np.ndarray
    half_light_radius_err: np.ndarray
    snr: np.ndarray
    flags: np.ndarray
    weight: np.ndarray
    mean: np.ndarray
    sigma: np.ndarray
    asinh: np.ndarray
    log_scale: np.ndarray
    mask_box: np.ndarray
    mask_bits: list
    shreds: int = 0

    def of(self, rows) -> Found:
        """Some of them, by number."""
        picked = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name not in ("mask_bits", "shreds")}
        return replace(self, **picked, mask_bits=[self.mask_bits[int(k)] for k in rows])


def detected(model: Scene, card: Card, tile: inputs.Tile, positions: np.ndarray | None = None, threshold: float | None = None,
             precision: str = "fp32", device="cpu") -> Found:
    """The sources of a tile with a score of at least `threshold` (the card's without), or what is at `positions` (n, 2) px x, y,
    in their order. InputError for a tile of other bands, pixels or unit than the network's."""
    inputs.check(tile, card.bands, card.pixel_scale, card.unit)
    image, ivar = inputs.cleaned(tile.image, tile.ivar)
    tile = replace(tile, image=image, ivar=ivar)
    least = threshold if threshold is not None else (card.facts or {}).get("threshold", 0.5)
    return blockwise(tile, positions, lambda part, at: _part(model, card, part, at, least, precision, device))


def blockwise(tile: inputs.Tile, positions: np.ndarray | None, look) -> Found:
    """What `look(tile, positions)` finds in a clean tile, which it sees in blocks where it is large; or, in their order, what is
    at positions (n, 2) px."""
    rows, columns = tile.image.shape[1:]
    parts = []
    for (y0, y1, low, high), (x0, x1, left, right) in ((a, b) for a in _blocks(rows) for b in _blocks(columns)):
        part = replace(tile, image=tile.image[:, y0:y1, x0:x1], ivar=tile.ivar[:, y0:y1, x0:x1],
                       saturated=None if tile.saturated is None else tile.saturated[y0:y1, x0:x1])
        mine = None
        if positions is not None:
            mine = np.flatnonzero(_within(positions[:, 0], left, right, columns) & _within(positions[:, 1], low, high, rows))
        found = look(part, None if mine is None else positions[mine] - (x0, y0))
        found.x, found.y = found.x + x0, found.y + y0
        found.mask_box[:, :2] += (x0, y0)
        if positions is None:
            mine = np.flatnonzero(_within(found.x, left, right, columns) & _within(found.y, low, high, rows))
            found = found.of(mine)
        parts.append((mine, found))
    out = _joined([found for _, found in parts])
    if positions is not None:
        out = out.of(np.argsort(np.concatenate([mine for mine, _ in parts]), kind="stable"))
    return _edges(out, rows, columns)


def columns(found: Found, bands) -> dict[str, np.ndarray]:
    """{column: (n,)} as the table of detections has them."""
    out = {name: getattr(found, name) for name in ("x", "y", "score", "p_star")}
    for b, band in enumerate(bands):
        out |= {f"{band}_flux": found.flux[:, b], f"{band}_flux_err": found.flux_err[:, b]}
        for k in range(found.aper_flux.shape[2]):
            out |= {f"{band}_aper_flux_{k + 1}": found.aper_flux[:, b, k],
                    f"{band}_aper_flux_err_{k + 1}": found.aper_flux_err[:, b, k]}
    out |= {name: getattr(found, name) for name in ("half_light_radius", "half_light_radius_err", "snr")}
    return out | {"detect_flags": np.asarray(found.flags).astype(np.int32)}


def masks(found: Found) -> dict[str, np.ndarray]:
    """`row, x0, y0, w, h, offset` (n,) px of the boxes, `bits` (flat) uint8 1 where a pixel is mostly a source's."""
    size = np.array([bits.size for bits in found.mask_bits], np.int64)
    box = dict(zip(("x0", "y0", "w", "h"), np.asarray(found.mask_box, np.int32).reshape(-1, 4).T, strict=True))
    flat = np.concatenate([*(bits.ravel() for bits in found.mask_bits), np.zeros(0, bool)])
    return {"row": np.arange(len(size)), **box, "offset": np.cumsum(size) - size, "bits": flat.astype(np.uint8)}


def _blocks(n: int) -> list[tuple[int, int, int, int]]:
    """[(from, to, own from, own to)] px along a side of n."""
    if n <= BLOCK:
        return [(0, n, 0, n)]
    count = -(-n // (BLOCK - 2 * MARGIN))
    cuts = [round(k * n / count / inputs.STRIDE) * inputs.STRIDE for k in range(count)] + [n]
    return [(max(a - MARGIN, 0), min(b + MARGIN, n), a, b) for a, b in zip(cuts, cuts[1:], strict=False)]


def _within(at, low: int, high: int, n: int):
    """Positions that a block owns; those outside the tile are its borders'."""
    return ((at >= low - 0.5) | (low == 0)) & ((at < high - 0.5) | (high == n))


def _joined(parts: list[Found]) -> Found:
    """Sources of all blocks."""
    arrays = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Found)
              if f.name not in ("mask_bits", "shreds")}
    return Found(**arrays, mask_bits=[bits for p in parts for bits in p.mask_bits], shreds=sum(p.shreds for p in parts))


def _edges(found: Found, rows: int, columns: int) -> Found:
    """With the flag of sources near an edge of the tile."""
    near = np.minimum(np.minimum(found.x, columns - 1 - found.x), np.minimum(found.y, rows - 1 - found.y)) < NEAR
    found.flags = found.flags | np.where(near, FLAGS["edge"], 0)
    return found


@torch.no_grad()
def _part(model, card, tile, positions, least: float, precision, device) -> Found:
    """Sources of one block."""
    model.eval()
    width = np.asarray(tile.psf_fwhm)[None]
    pixels = inputs.pixels(tile.image[None], tile.ivar[None], width, model.constants, model.scale, device)
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        maps = model.maps(pixels)
    if positions is None:
        at = _seen(peaks.found(maps, LEAST), tile)
        first = _measured(model, pixels, maps, at)
        score = _scores(at, first)
        shred = _shreds(at, first)
        shreds = int((shred & (score >= least)).sum())
        keep = torch.nonzero((score >= least) & ~shred).flatten()
        at, score = at.of(keep), score[keep]
    else:
        at, shreds = _given(maps, positions, device), 0
        score = None
    second = _measured(model, pixels, maps, at, masks=True)
    return _found(model, card, tile, at, second, _scores(at, second) if score is None else score, shreds)


def _seen(at: Centres, tile) -> Centres:
    """Centres on the tile itself, not on its padding, with data near them."""
    rows, columns = tile.image.shape[1:]
    good = (at.x < columns - 0.5) & (at.y < rows - 0.5) & (at.x >= -0.5) & (at.y >= -0.5)
    return at.of(torch.nonzero(good).flatten()) if tile.ivar.any() else at.of(torch.zeros(0, dtype=torch.long))


def _given(maps, positions, device) -> Centres:
    """Centres at positions (n, 2) px, with the map's heat there."""
    x, y = torch.as_tensor(np.asarray(positions), dtype=torch.float32, device=device).reshape(-1, 2).unbind(1)
    tile = torch.zeros(len(x), dtype=torch.long, device=device)
    heat, coarse = torch.sigmoid(maps["centre"][0, 0]), torch.sigmoid(maps["coarse"][:, 0])
    sides = ((x, heat.shape[1]), (y, heat.shape[0]))
    column, row = (torch.floor((p + 0.5) / inputs.CELL).long().clamp(0, n - 1) for p, n in sides)
    return Centres(tile, x, y, heat[row, column], peaks.known(coarse, tile, x, y))


@dataclass
class _Measured:
    """What is said of sources, their light, and masks [(column, row of the window, (k, k) bool)]."""

    said: objects.Said
    light: photometry.Light
    masks: list


def _measured(model, pixels, maps, at: Centres, masks: bool = False) -> _Measured:
    """Shares, photometry and what is said, AT_ONCE sources at a time: shares need the sum over all first."""
    features = model.features(maps, at)
    groups = list(torch.arange(len(at.x), device=at.x.device).split(AT_ONCE)) or [torch.arange(0, device=at.x.device)]
    total = windows.crowd([], maps["sky"].flatten())
    for rows in groups:
        total = windows.crowd([(seen, logits) for _, seen, logits in model.asked(maps, at.of(rows), features[rows])], None, total)
    said, light, shapes = [], [], []
    for rows in groups:
        one = at.of(rows)
        parts = model.asked(maps, one, features[rows])
        light.append(model.light(pixels, maps, one, parts, total))
        said.append(model.said(pixels, one, features[rows], light[-1]))
        if masks:
            shapes += _masks(one, parts, total)
    whole = [kind(*(torch.cat([getattr(p, f.name) for p in found]) for f in fields(kind)))
             for kind, found in ((objects.Said, said), (photometry.Light, light))]
    return _Measured(*whole, shapes)


def _masks(at, parts, total) -> list:
    """[(x0, y0, (h, w) bool)] px: cells that are mostly a source's, in the order of `at`."""
    out: list = [None] * len(at.x)
    for rows, seen, logits in parts:
        mostly = (windows.shares(seen, logits, total) > 0.5) & seen.inside
        mostly = mostly.reshape(len(rows), seen.side, seen.side).cpu().numpy()
        corner = torch.stack([at.x[rows], at.y[rows]], 1)
        corner = (torch.floor((corner - 0.5) / inputs.CELL + 0.5).long() - seen.side // 2).cpu().numpy()
        for k, row in enumerate(rows.tolist()):
            out[row] = _boxed(mostly[k], *corner[k])
    return out


def _boxed(mostly, column: int, row: int):
    """The box of a mask, in px."""
    rows, columns = np.flatnonzero(mostly.any(axis=1)), np.flatnonzero(mostly.any(axis=0))
    if not len(rows):
        return int(column) * inputs.CELL, int(row) * inputs.CELL, np.zeros((0, 0), bool)
    cut = mostly[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    grown = cut.repeat(inputs.CELL, axis=0).repeat(inputs.CELL, axis=1)
    return int(column + columns[0]) * inputs.CELL, int(row + rows[0]) * inputs.CELL, grown


def _scores(at, measured) -> torch.Tensor:
    """(n,) sqrt(heat x P(real))."""
    return torch.sqrt(at.heat * (1 - torch.softmax(measured.said.classes, dim=1)[:, 0]))


def _shreds(at, measured) -> torch.Tensor:
    """(n,) bool: doubtful sources whose own centre is mostly others', one of which, nearby, is brighter. A faint companion that
    the network is sure of stays."""
    out = (measured.light.others > CONTAINED) & (torch.softmax(measured.said.classes, dim=1)[:, 0] > DOUBT)
    rows = torch.nonzero(out).flatten()
    if len(rows):
        flux = measured.light.isophote.sum(dim=1)
        reach = torch.where(at.wide, inputs.CELL * windows.SIDES[True] / 2, inputs.CELL * windows.SIDES[False] / 2)
        d2 = (at.x[rows, None] - at.x) ** 2 + (at.y[rows, None] - at.y) ** 2
        out[rows] = ((d2 < reach**2) & (flux[rows, None] < FAINTER * flux)).any(dim=1)
    return out


def _found(model, card, tile, at, measured, score, shreds) -> Found:
    """Numbers as arrays, in nJy and arcsec."""
    said, light = measured.said, measured.light
    scale = 2 * model.flux_scale(at.x.device).double().cpu().numpy()
    raw, log_scale = (a.double().cpu().numpy() for a in (said.flux, said.flux_error))
    curves = (card.facts or {}).get("flux") if card.options.calibrate_flux else None
    value, spread = calibration.corrected(raw, log_scale, curves)
    classes = torch.softmax(said.classes, dim=1).double().cpu().numpy()
    size, size_scale = np.exp(said.size.double().cpu().numpy()), np.exp(said.size_error.double().cpu().numpy())
    x, y = ((p + said.move[:, k]).double().cpu().numpy() for k, p in enumerate((at.x, at.y)))
    apertures = [a.double().cpu().numpy() for a in (light.aperture, light.aperture_error)]
    pz = objects.redshift().pz(said.z)
    flux, error = scale * np.sinh(value), scale * np.cosh(value) * np.exp(spread) * np.sqrt(2)
    seen = (light.unseen < 0.5).cpu().numpy()
    snr = np.sqrt(((apertures[0][:, :, 1] / apertures[1][:, :, 1]).clip(0) ** 2 * seen).sum(axis=1))
    blind = (light.unseen > UNSEEN).cpu().numpy()
    for values in (flux, error, *apertures):
        values[blind] = np.nan
    boxes = np.array([(a, b, c.shape[1], c.shape[0]) for a, b, c in measured.masks], int).reshape(-1, 4)
    p_star = classes[:, 2] / (classes[:, 1:].sum(axis=1) + 1e-12)
    return Found(x, y, score.double().cpu().numpy(), p_star, flux, error, *apertures, size, np.sqrt(2) * size * size_scale, snr,
                 flags(tile, x, y, snr, light), pz["weights"], pz["means"], pz["stds"], raw, log_scale, boxes,
                 [c for _, _, c in measured.masks], shreds)


def flags(tile, x, y, snr, light) -> np.ndarray:
    """(n,) bits FLAGS."""
    others, unseen = light.others.cpu().numpy(), light.unseen.cpu().numpy()
    covered = (tile.ivar > 0).any(axis=(1, 2))
    hidden = unseen[:, covered].max(axis=1) if covered.any() else np.ones(len(x))
    saturated = (hidden > HIDDEN) & (snr > PEAK)
    if tile.saturated is not None:
        rows, columns = tile.saturated.shape
        at = np.clip(np.rint(y).astype(int), 0, rows - 1), np.clip(np.rint(x).astype(int), 0, columns - 1)
        saturated = tile.saturated[at]
    bits = {"blended": others > BLENDED, "saturated": saturated, "shredded": others > SUSPECT, "masked": hidden > HIDDEN}
    return sum(np.where(bits[name], FLAGS[name], 0) for name in bits)
