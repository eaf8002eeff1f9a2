"""Figures of a run: each takes arrays and a path or axes, and draws one thing."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm

NOTE = "embedded sky: shows the software at work, not a survey's performance"


def _save(figure, path) -> None:
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def z_against_z(z_phot, z_spec, model: str, path) -> None:
    """z_phot against z_spec with the 0.15 (1 + z) outlier lines."""
    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    good = np.isfinite(z_phot) & np.isfinite(z_spec)
    top = max(1.0, float(np.percentile(z_spec[good], 99.5)) * 1.1) if good.any() else 1.0
    line = np.array([0, top])
    axes.plot(line, line, "k-", lw=1)
    for sign in (1, -1):
        axes.plot(line, line + sign * 0.15 * (1 + line), "k:", lw=1)
    axes.plot(z_spec[good], z_phot[good], ".", ms=3, alpha=0.5)
    outliers = np.mean(np.abs(z_phot[good] - z_spec[good]) > 0.15 * (1 + z_spec[good])) if good.any() else np.nan
    axes.set(xlim=(0, top), ylim=(0, top), xlabel="$z_{spec}$", ylabel="$z_{phot}$",
             title=f"{model}, testing: {good.sum()} objects, {100 * outliers:.1f} % outliers")
    _save(figure, path)


def pit(values: dict, path) -> None:
    """PIT histograms and, below, how far their quantiles lie from a uniform distribution's, of {model: PIT (n,)}."""
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(6, 6), layout="constrained")
    levels = np.linspace(0, 1, 101)
    for model, u in values.items():
        u = u[np.isfinite(u)]
        if len(u):
            top.hist(u, bins=20, range=(0, 1), density=True, histtype="step", label=model)
            bottom.plot(levels, np.quantile(u, levels) - levels, label=model)
    top.axhline(1, color="k", lw=1)
    bottom.axhline(0, color="k", lw=1)
    top.set(xlabel="PIT", ylabel="density", xlim=(0, 1))
    bottom.set(xlabel="level", ylabel="PIT quantile - level", xlim=(0, 1))
    if values:
        top.legend(fontsize=7)
    else:
        top.text(0.5, 0.5, "no model of this run gives p(z)", ha="center")
    _save(figure, path)


def regions(z_phot, z_spec, low, high, model: str, path, shown: int = 60) -> None:
    """z_phot against z_spec as a density, and the 90 % regions (low to high) of some objects drawn at random from a fixed
    seed (Mantis Shrimp's Fig. 7)."""
    good = np.isfinite(z_phot) & np.isfinite(z_spec)
    z_phot, z_spec, low, high = z_phot[good], z_spec[good], low[good], high[good]
    figure, axes = plt.subplots(figsize=(5.6, 5), layout="constrained")
    top = max(0.5, float(np.percentile(z_spec, 99.8)) * 1.05) if len(z_spec) else 1.0
    line = np.array([0, top])
    if len(z_spec):
        image = axes.hexbin(z_spec, z_phot, gridsize=45, extent=(0, top, 0, top), mincnt=1, cmap="Greys", norm=LogNorm(vmin=0.3))
        figure.colorbar(image, ax=axes, label="objects")
        chosen = np.random.default_rng(0).permutation(len(z_spec))[:shown]
        sizes = np.clip(np.stack([z_phot - low, high - z_phot])[:, chosen], 0, None)
        axes.errorbar(z_spec[chosen], z_phot[chosen], sizes, fmt=".", color="C0", ms=4, lw=0.8, alpha=0.8,
                      label=f"90 % regions of {len(chosen)} objects")
        axes.legend(fontsize=8, loc="upper left")
    inside = np.mean((z_spec >= low) & (z_spec <= high)) if len(z_spec) else np.nan
    axes.plot(line, line, "C3-", lw=1)
    axes.set(xlim=(0, top), ylim=(0, top), xlabel="$z_{spec}$", ylabel="$z_{phot}$ (mean of p(z))",
             title=f"{model}, testing: {len(z_spec)} objects, {100 * inside:.0f} % inside their 90 % region")
    axes.title.set_fontsize(9)
    _save(figure, path)


def attribution(frame, path) -> None:
    """Mean Shapley value (left) and MM-SHAP (right) of every band in bins of z_spec, a row a model (Mantis Shrimp's Fig. 8).

    `frame`: model, survey, band, z_min, z_max, n, shapley, shapley_err, mm_shap, mm_shap_err.
    """
    models = list(dict.fromkeys(frame["model"]))
    figure, axes = plt.subplots(len(models), 2, figsize=(10, 3.4 * len(models)), layout="constrained", squeeze=False, sharex=True)
    bands = list(dict.fromkeys(zip(frame["survey"], frame["band"], strict=True)))
    colours = plt.get_cmap("turbo")(np.linspace(0.05, 0.95, len(bands)))
    for line, model in enumerate(models):
        for colour, (survey, band) in zip(colours, bands, strict=True):
            part = frame[(frame["model"] == model) & (frame["survey"] == survey) & (frame["band"] == band)]
            middle = (part["z_min"] + part["z_max"]) / 2
            for axis, name in zip(axes[line], ("shapley", "mm_shap"), strict=True):
                axis.errorbar(middle, part[name], part[f"{name}_err"], fmt="o-", ms=3, lw=1, capsize=2, color=colour,
                              label=f"{survey} {band}")
        axes[line, 0].axhline(0, color="0.7", lw=0.8)
        axes[line, 0].set(ylabel=f"{model}\nmean Shapley value / z")
        axes[line, 1].set(ylabel="mean MM-SHAP")
    axes[0, 1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    for axis in axes[-1]:
        axis.set_xlabel("$z_{spec}$")
    _save(figure, path)


def binned_metrics(frame, path) -> None:
    """Bias, scatter, outlier fraction and loss in bins of z_spec for every model (GalaxiesML's Fig. 6); shaded: what LSST asks
    for (LSST Science Book 2009: bias 0.003, scatter 0.02, both of dz / (1 + z), 10 % outliers)."""
    wanted = (("bias", "mean(1+z)|mean"), ("scatter", "1.48mad_unscaled|mean"), ("outlier_fraction", "0.15|mean"),
              ("loss", "eq1,gamma=0.15|mean"))
    figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex=True, layout="constrained")
    rows = frame[(frame["seed"] == "ensemble") & (frame["z_min"] != "")]
    for axis, (metric, convention) in zip(axes.flat, wanted, strict=True):
        for shift, model in enumerate(sorted(rows["model"].unique())):
            part = rows[(rows["model"] == model) & (rows["metric"] == metric) & (rows["convention"] == convention)]
            part = part[part["n"] >= 5]
            middle = (part["z_min"].astype(float) + part["z_max"].astype(float)) / 2 + 0.01 * shift
            errors = np.abs(np.stack([part["value"] - part["lo68"], part["hi68"] - part["value"]]).astype(float))
            axis.errorbar(middle, part["value"], errors, fmt="o-", ms=3, capsize=2, label=model)
        axis.set(ylabel=f"{metric}\n{convention}")
        axis.axhline(0, color="0.7", lw=0.8)
        asked = {"bias": 0.003, "scatter": 0.02, "outlier_fraction": 0.10}.get(metric)
        if asked and len(rows):
            z = np.array([rows["z_min"].astype(float).min(), rows["z_max"].astype(float).max()])
            high = asked * (1 + z) if "unscaled" in convention else np.full(2, asked)
            axis.fill_between(z, -high if metric == "bias" else 0 * high, high, color="0.85", zorder=0)
    axes[0, 0].legend(fontsize=8)
    for axis in axes[1]:
        axis.set_xlabel("$z_{spec}$ (bins with at least 5 objects)")
    _save(figure, path)


def redshift_histogram(samples: dict[str, np.ndarray], path) -> None:
    """n(z) of named sets of redshifts."""
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    top = max([float(np.nanpercentile(z, 99.5)) for z in samples.values() if np.isfinite(z).any()] or [1.0])
    for name, z in samples.items():
        axes.hist(z[np.isfinite(z)], np.linspace(0, top, 41), histtype="step", label=f"{name} ({np.isfinite(z).sum()})")
    axes.set(xlabel="z", ylabel="objects")
    axes.legend(fontsize=8)
    _save(figure, path)


def sky_map(ra, dec, split, path) -> None:
    """Positions by split."""
    figure, axes = plt.subplots(figsize=(6, 5.5), layout="constrained")
    for name in dict.fromkeys(split):
        inside = split == name
        axes.plot(ra[inside], dec[inside], ".", ms=2.5, label=f"{name} ({inside.sum()})")
    axes.invert_xaxis()
    axes.set(xlabel="ra / deg", ylabel="dec / deg", aspect=1 / max(np.cos(np.radians(np.nanmean(dec))), 0.05))
    axes.legend(fontsize=8, loc="upper right")
    _save(figure, path)


def stamps_over_redshift(images, z, path) -> None:
    """Stamps (m, y, x) in order of z, linear above and logarithmic below (GalaxiesML's Fig. 1)."""
    figure, axes = plt.subplots(2, len(images), figsize=(1.5 * len(images), 3.4), layout="constrained", squeeze=False)
    for k, (image, redshift) in enumerate(zip(images, z, strict=True)):
        low, high = np.percentile(image, (5, 99.8))
        axes[0, k].imshow(image, origin="lower", cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
        sigma = max(1.4826 * np.median(np.abs(image - np.median(image))), 1e-6)
        axes[1, k].imshow(np.log10(np.clip(image / sigma + 2, 0.5, None)), origin="lower", cmap="gray")
        axes[0, k].set_title(f"z = {redshift:.2f}", fontsize=8)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    _save(figure, path)


def morphology_overlay(image, row: dict, zero_point_label: str, path) -> None:
    """One stamp with the target's isophotal ellipse, half-light radius and numbers (GalaxiesML's Fig. 3)."""
    from matplotlib.patches import Circle, Ellipse

    figure, axes = plt.subplots(figsize=(4.5, 4.8), layout="constrained")
    low, high = np.percentile(image, (5, 99.5))
    axes.imshow(image, origin="lower", cmap="gray", vmin=low, vmax=high)
    centre = ((image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2)
    for scale in (1, 3):
        axes.add_patch(Ellipse(centre, 2 * scale * row["major_axis"], 2 * scale * row["minor_axis"], angle=row["pos_angle"],
                               fill=False, color="C1", lw=1))
    axes.add_patch(Circle(centre, row["half_light_radius"], fill=False, color="C0", ls="--"))
    axes.set(xticks=[], yticks=[], title=f"{zero_point_label}\narea {row['isophotal_area']:.0f} px, ellipticity "
             f"{row['ellipticity']:.2f}, n {row['sersic_index']:.2f}")
    axes.title.set_fontsize(9)
    _save(figure, path)


def losses(histories: dict[str, np.ndarray], path) -> None:
    """Training and selection loss over epochs of every model and seed: arrays (epochs, 3)."""
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for k, (name, rows) in enumerate(histories.items()):
        axes.plot(rows[:, 0], rows[:, 1], f"C{k}-", lw=1, label=f"{name} training")
        axes.plot(rows[:, 0], rows[:, 2], f"C{k}--", lw=1, label=f"{name} select")
    axes.set(xlabel="epoch", ylabel="loss", yscale="log")
    axes.legend(fontsize=7)
    _save(figure, path)
