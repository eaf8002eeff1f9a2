"""Figures of learning curves; verbs call them by `figures.drawn`."""

from __future__ import annotations

import numpy as np

from skyloom.release import figures

PANELS = (("cde_loss", "histogram", "CDE loss"), ("nmad", "1.4826mad(1+z)", "NMAD"),
          ("outlier_fraction", "0.05", "share beyond 0.05 (1 + z)"))


def learning(frame, path) -> None:
    """CDE loss, NMAD and outliers of ensembles over the number of training objects, one line a model with its 95 % bars.

    `frame`: model, n_train, seed, subset, metric, convention, value, lo95, hi95.
    """
    whole = frame[(frame["seed"] == "ensemble") & (frame["subset"] == "")]
    models = list(dict.fromkeys(whole["model"]))
    figure, axes = figures._pyplot().subplots(1, len(PANELS), figsize=(4 * len(PANELS), 3.6), layout="constrained")
    for axis, (metric, convention, label) in zip(axes, PANELS, strict=True):
        some = whole[(whole["metric"] == metric) & (whole["convention"].str.split("|").str[0] == convention)]
        for model, part in some.groupby("model", sort=False):
            k, part = models.index(model), part.sort_values("n_train")
            sizes = np.abs(np.stack([part["value"] - part["lo95"], part["hi95"] - part["value"]]).astype(float))
            axis.errorbar(part["n_train"] * 1.02**k, part["value"], np.nan_to_num(sizes), fmt=f"C{k}o-", ms=4, lw=1, capsize=2,
                          label=figures._text(model))
        axis.set(xscale="log", xlabel="training objects", ylabel=label)
        ticks = sorted(some["n_train"].unique())
        axis.set_xticks(ticks, [f"{n:,}" for n in ticks])
        axis.minorticks_off()
    figures._legend(axes[1], fontsize=7)  # of NMAD, which every model has
    figures._save(figure, path)


def steps(frame, path) -> None:
    """Loss on `select` over training steps: a panel a model, a colour a number of training objects, a line a seed.

    `frame`: model, n_train, seed, step, select_loss.
    """
    models = list(dict.fromkeys(frame["model"]))
    figure, axes = figures._pyplot().subplots(1, max(len(models), 1), figsize=(4 * max(len(models), 1), 3.6), squeeze=False,
                                              layout="constrained")
    sizes = sorted(frame["n_train"].unique())
    for axis, model in zip(axes[0], models, strict=False):
        for (size, seed), part in frame[frame["model"] == model].groupby(["n_train", "seed"]):
            first = seed == frame.loc[(frame["model"] == model) & (frame["n_train"] == size), "seed"].min()
            axis.plot(part["step"], part["select_loss"], f"C{sizes.index(size)}-", lw=1,
                      label=f"{size:,} objects" if first else None)
        axis.set(xscale="log", xlabel="steps", ylabel="loss on select", title=figures._text(model))
        if frame.loc[frame["model"] == model, "select_loss"].isna().all():
            axis.text(0.5, 0.5, "nothing watched this training", transform=axis.transAxes, ha="center", fontsize=8)
    figures._legend(axes[0, 0], fontsize=7)
    figures._save(figure, path)
