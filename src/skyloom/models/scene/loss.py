"""One summed negative log likelihood of everything that the network says, its terms gated by "is a source"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from skyloom.models.scene import objects, peaks, targets, windows
from skyloom.models.scene.network import Centres, Scene, cell

LEAST_HEAT, MOST = 0.15, 64  # of a peak that is learned from; peaks a crop at most
TERMS = ("centre", "coarse", "offset", "share", "class", "flux", "size", "move", "redshift")
JITTER = 0.7  # px: labelled positions that stand in for peaks


@dataclass(frozen=True)
class Rules:
    """What counts: least S/N to be found, least flux (nJy) of `band` (its number) for a redshift to be learned, whether stars'
    redshifts are; arcsec within which a peak is a label's."""

    least_snr: float = 5.0
    gold_band: int = 0
    gold_flux: float = 0.0
    star_redshifts: bool = False
    reach: float = 1.0


def terms(model: Scene, maps: dict, pixels, crops: list[targets.Sources], rules: Rules, from_labels: bool,
          generator) -> dict[str, torch.Tensor]:
    """The terms of a batch of crops. Its sources are the network's own peaks, or the labelled positions with `from_labels`."""
    out = dense(maps, crops, rules.least_snr)
    truth = _joined(crops, rules.least_snr)
    at = _labelled(truth, generator, maps["sky"].device) if from_labels else peaks.found(maps, LEAST_HEAT, MOST * len(crops))
    if not len(at.x):
        return out
    reach = rules.reach / model.scale
    place = [a.cpu().numpy() for a in (at.tile, at.x, at.y)]
    pair = peaks.matched(*place, truth["tile"], truth["x"], truth["y"], reach)
    wide = torch.from_numpy(np.where(pair >= 0, truth["wide"][pair] if len(truth["x"]) else False, at.wide.cpu().numpy()))
    at = Centres(at.tile, at.x, at.y, at.heat, wide.to(at.x.device))
    features = model.features(maps, at)
    parts = model.asked(maps, at, features)
    total = _crowd(parts, maps)
    out["share"] = _share(maps, parts, total, pixels, crops, at, pair, truth)
    said = model.said(pixels, at, features, model.light(pixels, maps, at, parts, total))
    return out | catalog(said, at, pair, truth, model, rules)


def _crowd(parts, maps):
    return windows.crowd([(seen, logits) for _, seen, logits in parts], maps["sky"].flatten())


def dense(maps: dict, crops, least: float) -> dict[str, torch.Tensor]:
    """Terms of the centre maps: focal losses reduced near centres (Law & Deng 2018; Zhou et al. 2019), offsets by L1."""
    device = maps["centre"].device
    wanted = [targets.centre_maps(s, least) for s in crops]
    wanted = {name: torch.from_numpy(np.stack([one[name] for one in wanted])).to(device) for name in wanted[0]}
    out = {name: _focal(maps[name][:, 0], wanted[name]) for name in ("centre", "coarse")}
    miss = [((maps[name] - wanted[name]).abs().sum(dim=1)[wanted[heat] == 1]) for name, heat in
            (("offset", "centre"), ("coarse_offset", "coarse"))]
    return out | {"offset": torch.cat(miss).mean() if sum(map(len, miss)) else maps["offset"].sum() * 0}


def _focal(logits, wanted):
    """Mean over centres; NaN targets count nothing."""
    counted = ~torch.isnan(wanted)
    wanted = torch.nan_to_num(wanted)
    p, right = torch.sigmoid(logits), wanted == 1
    hit = (1 - p) ** 2 * functional.logsigmoid(logits)
    miss = p**2 * functional.logsigmoid(-logits) * (1 - wanted) ** 4
    return -(torch.where(right, hit, miss) * counted).sum() / right.sum().clamp(min=1)


def _joined(crops, least: float) -> dict[str, np.ndarray]:
    """Columns of all crops' centred sources, with `tile`, `row` of its crop and `counts`: to be found, not merely allowed."""
    parts = []
    for tile, s in enumerate(crops):
        right, neither = targets.centred(s, least)
        rows = np.concatenate([right, neither])
        one = {name: getattr(s, name)[rows] for name in ("x", "y", "is_star", "flux", "half_light_radius", "redshift", "wide")}
        parts.append(one | {"tile": np.full(len(rows), tile), "row": rows, "counts": np.arange(len(rows)) < len(right)})
    return {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}


def _labelled(truth, generator, device) -> Centres:
    """The positions to be found, a little off."""
    rows = truth["counts"]
    x, y, tile, wide = (torch.from_numpy(truth[name][rows]) for name in ("x", "y", "tile", "wide"))
    off = JITTER * torch.randn(2, len(x), generator=generator)
    found = (tile.long(), x.float() + off[0], y.float() + off[1], torch.ones(len(x)), wide)
    return Centres(*(values.to(device) for values in found))


def _share(maps, parts, total, pixels, crops, at, pair, truth):
    """Cross entropy of cells' shares with the true ones d / (sum d + kappa), what isn't a found source's being the sky's; bright
    cells weigh more, those without data nothing."""
    device, bands = total.device, pixels.image.shape[1]
    crowd = torch.from_numpy(np.stack([s.crowd for s in crops])).to(device).flatten()
    kappa = targets.kappa(bands)
    usable = functional.avg_pool2d(pixels.seen.amax(dim=1, keepdim=True), 2).flatten()
    weight = usable * (1 + torch.log1p(crowd / kappa))
    log_total, left, value = torch.log(total), torch.ones_like(total), 0.0
    for rows, seen, logits in parts:
        wanted = torch.from_numpy(_true_light(at, rows, seen.side, pair, truth, crops)).to(device)
        wanted = torch.where(seen.inside, wanted / (crowd[seen.at] + kappa), 0)
        log_share = torch.where(seen.inside, logits - log_total[seen.at], 0)
        value = value - (wanted * log_share * weight[seen.at]).sum()
        left = left.scatter_add(0, seen.at.reshape(-1), -wanted.reshape(-1))
    sky = torch.log(windows.sky_share(maps["sky"].flatten(), total))
    return (value - (left.clamp(0, 1) * sky * weight).sum()) / weight.sum().clamp(min=1)


def _true_light(at, rows, side, pair, truth, crops) -> np.ndarray:
    """(n, side side) true light in the windows of some sources, 0 of the spurious."""
    rows = rows.cpu().numpy()
    column, row = (np.floor(cell(p.cpu().numpy()[rows]) + 0.5).astype(int) for p in (at.x, at.y))
    out = np.zeros((len(rows), side, side), np.float32)
    for k, one in enumerate(rows):
        if pair[one] >= 0:
            source = crops[truth["tile"][pair[one]]].light[truth["row"][pair[one]]]
            out[k] = targets.light_window(source, column[k], row[k], side)
    return out.reshape(len(rows), side * side)


def catalog(said: objects.Said, at: Centres, pair, truth, model: Scene, rules: Rules) -> dict[str, torch.Tensor]:
    """Terms of what is said of peaks (n,) whose labels are `pair` (n,), -1 = spurious."""
    device, out = at.x.device, {}
    real = pair >= 0
    counts = ~real
    counts[real] = truth["counts"][pair[real]]
    kind = np.zeros(len(pair), int)
    kind[real] = np.array([1, 2, 3])[truth["is_star"][pair[real]].astype(int)]  # 3, that is -1: a source of unknown kind
    out["class"] = _classes(said.classes, torch.from_numpy(kind).to(device), torch.from_numpy(counts).to(device))
    rows, true = torch.from_numpy(np.flatnonzero(real)).to(device), {name: values[pair[real]] for name, values in truth.items()}
    if not len(rows):
        return out
    flux = torch.from_numpy(true["flux"]).float().to(device)
    wanted = torch.asinh(flux / (2 * model.flux_scale(device)))
    known = torch.isfinite(wanted)
    out["flux"] = _laplace(said.flux[rows][known], said.flux_error[rows][known], wanted[known])
    radius = torch.from_numpy(true["half_light_radius"]).float().to(device)
    sized = torch.from_numpy((true["is_star"] == 0) & (true["half_light_radius"] > 0)).to(device)
    out["size"] = _laplace(said.size[rows][sized], said.size_error[rows][sized], torch.log(radius[sized]))
    place = torch.from_numpy(np.stack([true["x"], true["y"]], 1)).float().to(device)
    out["move"] = (torch.stack([at.x, at.y], 1)[rows] + said.move[rows] - place).abs().mean()
    galaxy = (true["is_star"] == 0) | rules.star_redshifts & (true["is_star"] == 1)
    gold = galaxy & np.isfinite(true["redshift"]) & (true["flux"][:, rules.gold_band] > rules.gold_flux)
    if gold.any():
        z = torch.from_numpy(true["redshift"][gold]).float().to(device)
        out["redshift"] = objects.redshift().loss(said.z[rows[torch.from_numpy(gold).to(device)]], z)
    return out


def _classes(logits, kind, counts):
    """Mean cross entropy of those that count; kind 3 = a source, star or galaxy."""
    if not counts.any():
        return logits.sum() * 0
    log_p = functional.log_softmax(logits[counts], dim=1)
    log_p = torch.cat([log_p, torch.logsumexp(log_p[:, 1:], dim=1, keepdim=True)], dim=1)
    return -log_p.gather(1, kind[counts][:, None]).mean()


def _laplace(guess, log_scale, wanted):
    """Mean of minus the log likelihood of Laplace's distribution, whose best guess is the median; 0 of nothing."""
    if not len(guess):
        return guess.sum()
    return ((guess - wanted).abs() * torch.exp(-log_scale) + log_scale).mean()
