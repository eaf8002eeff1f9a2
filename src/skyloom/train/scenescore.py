"""How a network for scenes does on tiles that it doesn't learn from: the threshold, the calibration of fluxes, a few scores."""

from __future__ import annotations

import numpy as np

from skyloom.models.scene import calibration, detect, peaks, targets

MOST = 64  # tiles looked at
LOWEST = 0.15  # score from which sources are ranked
CLEAR = 5.0  # S/N of a flux that one learns from
NAMES = ("threshold", "completeness", "purity", "star_completeness", "star_purity", "flux_bias", "flux_nmad", "z_nmad", "shreds")


def scores(model, card, select, counts, precision: str, device) -> tuple[dict[str, float], dict]:
    """({name: value} of NAMES, facts for the card: `threshold`, `flux`) on the tiles of `select`, at most MOST of them.

    Completeness of the gold sample at the lowest threshold at which `purity` (an option) of the sources match some label of
    S/N > 3; fluxes and redshifts are of gold, in its band.
    """
    chosen = np.unique(np.linspace(0, select.n - 1, min(MOST, select.n)).astype(int))
    found, labels = [], []
    for k in chosen:
        found.append(detect.detected(model, card, select.tile(k), threshold=LOWEST, precision=precision, device=device))
        labels.append(select.labels(k))
    columns, rows = select.shards[0].handle["image"].shape[-1], select.shards[0].handle["image"].shape[-2]
    table = _table(found, labels, counts, model.scale, (rows, columns))
    least = calibration.threshold(table["score"], table["right"], card.options.purity)
    return _summary(table, least, counts), {"threshold": least, "flux": _fluxes(table, model, least)}


def _table(found, labels, counts, scale: float, shape) -> dict[str, np.ndarray]:
    """Columns of all detections (their label's or NaN), and `missing_gold`: gold labels that nothing matched."""
    parts, lost, n_stars, shreds = [], 0, 0, 0
    for one, known in zip(found, labels, strict=True):
        one = one.of(np.flatnonzero((one.flags & detect.FLAGS["edge"]) == 0))
        snr = np.nan_to_num(known["snr"]).max(axis=1) if len(known["x"]) else np.zeros(0)
        usable = np.flatnonzero(snr > targets.FAINT)
        pair = peaks.matched(np.zeros(len(one.x)), one.x, one.y, np.zeros(len(usable)), known["x"][usable], known["y"][usable],
                             counts.reach / scale)
        mine = np.where(pair >= 0, usable[pair] if len(usable) else 0, -1)
        gold = (known["flux"][:, counts.gold_band] > counts.gold_flux) & (snr >= counts.least_snr)
        for name, n in (("x", shape[1]), ("y", shape[0])):
            gold &= (known[name] >= detect.NEAR) & (known[name] <= n - 1 - detect.NEAR)
        lost, n_stars, shreds = lost + int(gold.sum()), n_stars + int((gold & (known["is_star"] == 1)).sum()), shreds + one.shreds
        parts.append({"score": one.score, "p_star": one.p_star, "right": mine >= 0, "gold": _taken(gold, mine, False),
                      "is_star": _taken(known["is_star"], mine, -1), "true": _taken(known["flux"], mine, np.nan),
                      "snr": _taken(known["snr"], mine, np.nan), "z": _taken(known["redshift"], mine, np.nan), "flux": one.flux,
                      "asinh": one.asinh, "log_scale": one.log_scale, "mean": (one.weight * one.mean).sum(axis=1)})
    out = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    return out | {"n_gold": lost, "n_stars": n_stars, "shreds": shreds}


def _taken(values, mine, missing):
    """Values of the labels `mine` (n,), `missing` where there is none."""
    out = np.full((len(mine), *values.shape[1:]), missing, dtype=np.result_type(values, type(missing)))
    out[mine >= 0] = values[mine[mine >= 0]]
    return out


def _summary(table, least: float, counts) -> dict[str, float]:
    kept = table["score"] >= least
    gold = kept & table["gold"]
    star, said = table["is_star"] == 1, table["p_star"] > 0.5
    with np.errstate(all="ignore"):
        miss = table["flux"][gold, counts.gold_band] / table["true"][gold, counts.gold_band] - 1
        miss = miss[np.isfinite(miss)]  # a source whose pixels of the band are lost has no flux
        dz = ((table["mean"] - table["z"]) / (1 + table["z"]))[gold & np.isfinite(table["z"])]
        values = (least, gold.sum() / table["n_gold"], table["right"][kept].mean(), (gold & star & said).sum() / table["n_stars"],
                  (gold & star & said).sum() / (gold & said).sum(), _median(miss), _nmad(miss), _nmad(dz), table["shreds"])
        return {name: float(value) for name, value in zip(NAMES, values, strict=True)}


def _median(values) -> float:
    return float(np.median(values)) if len(values) else np.nan


def _nmad(values) -> float:
    return 1.4826 * _median(np.abs(values - _median(values))) if len(values) else np.nan


def _fluxes(table, model, least: float) -> dict:
    """The calibration's curves, from sources that are kept and whose label has a clear flux."""
    scale = 2 * model.flux_scale("cpu").double().numpy()
    known = (table["score"] >= least)[:, None] & (np.nan_to_num(table["snr"]) > CLEAR)
    return calibration.curves(table["asinh"], table["log_scale"], np.arcsinh(table["true"] / scale), known)
