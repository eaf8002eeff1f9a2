"""Figures of odd samples are drawn, without a warning; what can't be drawn leaves a picture of the reason."""

import struct

import numpy as np
import pandas
import pytest

from skyloom import store
from skyloom.release import figures

NAN = np.full(5, np.nan)
SAMPLES = {"empty": np.zeros(0), "one": np.array([0.5]), "all_nan": NAN, "negative": np.linspace(-3, -1, 9),
           "beyond": np.linspace(20, 30, 9), "constant": np.full(6, 0.3), "infinite": np.array([np.inf, 0.2, -np.inf]),
           "stars": np.array([-0.001, 0.0, 0.001]), "spread": np.array([-9.0, 0.1, 0.2, 0.3, 1e6])}
ODD = "$a_{b^\\ _\u661f"


def png(path) -> tuple[int, int]:
    """Width and height of a PNG that is whole."""
    body = path.read_bytes()
    assert body[:8] == b"\x89PNG\r\n\x1a\n" and body.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", body[16:24])


def quick(figure, path) -> None:
    """`_save` in a tenth of the pixels, without the search for a layout."""
    figure.set_layout_engine(None)
    figure.savefig(path, format="png", dpi=12)
    figures._pyplot().close(figure)


def metrics_frame(z) -> pandas.DataFrame:
    rows = [{"model": ODD, "seed": "ensemble", "z_min": low, "z_max": low + 0.1, "metric": metric, "convention": convention,
             "value": value, "lo68": value, "hi68": value, "n": n} for low, value, n in zip(z, z, range(len(z)), strict=True)
            for metric, convention in (("bias", "mean(1+z)|mean"), ("loss", "eq1,gamma=0.15|mean"))]
    return pandas.DataFrame(rows, columns=["model", "seed", "z_min", "z_max", "metric", "convention", "value", "lo68", "hi68",
                                           "n"])


def attribution_frame(z) -> pandas.DataFrame:
    rows = [{"model": "m", "survey": "ps1", "band": "g", "z_min": v, "z_max": v, "n": 1, "shapley": v, "shapley_err": np.nan,
             "mm_shap": v, "mm_shap_err": np.nan} for v in z]
    return pandas.DataFrame(rows, columns=["model", "survey", "band", "z_min", "z_max", "n", "shapley", "shapley_err", "mm_shap",
                                           "mm_shap_err"])


def cuts_frame(z) -> pandas.DataFrame:
    return pandas.DataFrame({"subset": ODD, "cut": "unflagged, width <= 1", "kept": z, "nmad 1.4826mad(1+z)": z,
                             "outlier_fraction 0.05": z, "outlier_fraction 0.15": z[::-1]})


CALLS = {
    "z_against_z": lambda z, path: figures.z_against_z(z, z[::-1], ODD, path),
    "regions": lambda z, path: figures.regions(z, z[::-1], z - 0.1, z + 0.1, ODD, path),
    "pit": lambda z, path: figures.pit({"a": np.clip(z, 0, 1), "_b": np.full_like(z, 0.5)}, path),
    "histogram": lambda z, path: figures.redshift_histogram({"z_spec": z, "_z": np.zeros(0)}, path),
    "sky_map": lambda z, path: figures.sky_map(z, np.clip(z, -90, 90), np.array(["training"] * len(z)), path),
    "stamps": lambda z, path: figures.stamps_over_redshift([np.full((8, 8), v) for v in z[:7]], z[:7], path),
    "losses": lambda z, path: figures.losses({"m seed1": np.stack([np.arange(len(z)), z, -z], 1)}, path),
    "binned": lambda z, path: figures.binned_metrics(metrics_frame(z[np.isfinite(z)]), path),
    "cuts": lambda z, path: figures.cuts(cuts_frame(z), path),
    "attribution": lambda z, path: figures.attribution(attribution_frame(z), path),
}


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")
def test_every_figure_draws_every_sample(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "_save", quick)
    for name, call in CALLS.items():
        call(SAMPLES[sample].copy(), tmp_path / name)
        assert png(tmp_path / name), name


def test_no_figure_is_without_its_odd_samples():
    drawing = {name for name, one in vars(figures).items() if callable(one) and getattr(one, "__module__", "") == figures.__name__
               and not name.startswith("_")} - {"drawn", "morphology_overlay"}
    assert len(drawing) == len(CALLS)


def test_positions_across_ra_0_are_one_field_and_a_pole_is_drawn(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(figures, "_save", lambda figure, path: seen.update(axes=figure.axes[0], figure=figure))
    figures.sky_map(np.array([359.5, 0.5, 0.25]), np.array([-0.5, 0.5, 0.0]), np.array(["a", "b", "a"]), None)
    low, high = sorted(seen["axes"].get_xlim())
    assert high - low < 1.5
    labels = [seen["axes"].xaxis.get_major_formatter()(tick, 0) for tick in (-0.5 % 360, 0.25)]
    assert labels == ["359.5", "0.25"]
    monkeypatch.undo()
    figures.sky_map(np.array([0.0, 120.0, 240.0]), np.array([90.0, 89.9, 89.9]), np.array(["a"] * 3), tmp_path / "pole")
    assert png(tmp_path / "pole")


def test_points_outside_the_axes_are_counted(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(figures, "_save", lambda figure, path: seen.update(axes=figure.axes[0]))
    z = np.append(np.linspace(0.1, 0.9, 999), 50.0)
    figures.z_against_z(z, z, "m", None)
    assert [text.get_text() for text in seen["axes"].texts] == ["1 outside the axes"]
    assert seen["axes"].get_xlim() == (0.0, 1.0)


def test_a_stamp_without_pixels_and_a_galaxy_without_numbers_are_drawn(tmp_path):
    names = ("isophotal_area", "ellipticity", "sersic_index", "major_axis", "minor_axis", "pos_angle", "half_light_radius")
    for k, value in enumerate((np.nan, 0.0)):
        figures.morphology_overlay(np.full((8, 8), value), dict.fromkeys(names, value), "object $1", tmp_path / f"{k}")
        assert png(tmp_path / f"{k}")


def test_a_figure_that_fails_leaves_a_picture_of_the_reason(tmp_path, capsys, monkeypatch):
    def bad(value, path):
        path.write_bytes(b"half a figure")
        raise ValueError(f"no such ${value}")

    figures.drawn(bad, tmp_path / "a.png", "font")
    assert min(png(tmp_path / "a.png")) > 100
    assert "a.png could not be drawn (ValueError: no such $font)" in capsys.readouterr().err
    monkeypatch.setattr(figures, "_pyplot", lambda: (_ for _ in ()).throw(ImportError("no matplotlib")))
    figures.drawn(figures.pit, tmp_path / "b.png", {})
    assert png(tmp_path / "b.png") == (8, 8) and b"no matplotlib" in (tmp_path / "b.png").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_full_disk_is_no_matter_of_figures(tmp_path):
    def full(path):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        figures.drawn(full, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_the_catalog_and_metrics_need_no_drawing_library():
    """matplotlib is asked for when a figure is drawn, behind the tables."""
    import subprocess
    import sys

    code = ("import sys; sys.modules['matplotlib'] = None\n"
            "from skyloom.verbs import build_catalog, evaluate, report, summarize_attribution\n")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert store.replacing  # what `drawn` writes by
