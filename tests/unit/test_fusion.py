"""Fusion networks on synthetic multi-survey files: scaling, training, p(z), hidden surveys, bad input."""

import json

import h5py
import numpy as np
import pytest
import torch

from skyloom import store
from skyloom.__main__ import main
from skyloom.dataset import augment, multi
from skyloom.errors import InputError
from skyloom.models import attribution, families, fusion, mantis
from skyloom.models.families._mantis import Options
from skyloom.train import loop

SIZES = {"ps1": (5, 120, 0.25), "galex": (2, 32, 1.5), "unwise": (2, 32, 2.75)}
OPTIONS = {"encoder": "atto", "bins": 16, "gamma": 0.3, "batches": 2, "batch_size": 8, "max_epochs": 2, "lr": 2e-3, "view": 15}
SETTINGS = {"run": "t", "release": "", "seed": 1, "threads": 1, "device": "cpu", "precision": "fp32"}


def write(path, n, seed, split, maps=("ebv_csfd", "ebv_planck2013"), surveys=tuple(SIZES)):
    """A split whose redshift is told by the infrared flux; some objects lack a survey."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.05, 1.5, n)
    with store.writing(path, {"surveys": ",".join(surveys), "split": split}) as handle:
        for name in surveys:
            bands, size, scale = SIZES[name]
            y, x = (np.mgrid[:size, :size] - (size - 1) / 2) * scale
            light = np.exp(-(x**2 + y**2) / 2 / 9)
            level = (5 * z if name == "unwise" else np.ones(n))[:, None] * np.ones(bands)
            image = 1000 * (level[:, :, None, None] * light + 0.1 * rng.normal(size=(n, bands, size, size)))
            status = np.zeros((n, bands), np.uint8)
            status[:2, 0] = 1
            group = handle.create_group(name)
            group.attrs["bands"], group.attrs["pixel_scale"] = ",".join("abcde"[:bands]), scale
            group.attrs["status_names"] = "ok,no_coverage,masked,too_small,failed"
            group["image"], group["status"] = image.astype("f4"), status
            group["ivar"] = np.full(image.shape, 1e-4, "f4")
        store.put(handle, "object_id", np.arange(n) + 1000 * seed)
        store.put(handle, "split", [split] * n)
        store.put(handle, "subset", ["select" if k % 2 else "calibrate" for k in range(n)])
        store.put(handle, "specz_redshift", z)
        for name in maps:
            store.put(handle, name, np.full(n, 0.03))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multi")
    for k, (split, n) in enumerate((("training", 48), ("validation", 24))):
        write(folder / f"{split}.h5", n, k + 1, split)
    return folder


def train(files, out, name, code=0, **options):
    settings = SETTINGS | {"model": name, "options": OPTIONS | options}
    arguments = ["train", "--settings", json.dumps(settings), "--training", str(files / "training.h5"), "--validation",
                 str(files / "validation.h5"), "--state", str(out / "state")]
    for key, file in (("weights", "model.safetensors"), ("card", "model.json"), ("history", "history.csv")):
        arguments += [f"--{key}", str(out / file)]
    assert main(arguments) == code
    return out


@pytest.mark.parametrize("name", ["mantis_early", "mantis_late"])
def test_training_and_prediction_from_files(files, tmp_path, name):
    out = train(files, tmp_path, name, survey_dropout=0.2)
    card = json.loads((out / "model.json").read_text())
    assert card["ebv"] == ["ebv_csfd", "ebv_planck2013"] and len(card["bin_edges"]) == 17
    assert card["surveys"] == list(mantis.SURVEYS)
    again = train(files, tmp_path / "again", name, survey_dropout=0.2)
    assert (out / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    for place in ("a.h5", "b.h5"):
        assert main(["predict", "--settings", json.dumps(SETTINGS), "--model", str(out), "--data", str(files / "validation.h5"),
                     "--out", str(tmp_path / place)]) == 0
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        assert np.array_equal(a["pz"][:], b["pz"][:])  # nothing random in an evaluation
        assert a["pz"].shape == (24, 16) and a["pz"][:].sum(axis=1) == pytest.approx(np.ones(24), abs=1e-5)
        centres = (a["edges"][1:] + a["edges"][:-1]) / 2
        assert a["z"][:] == pytest.approx(a["pz"][:] @ centres, abs=1e-5) and np.isfinite(a["z"][:]).all()


@pytest.mark.parametrize("head", ["mixture", "quantile"])
def test_another_head_gives_the_same_files(files, tmp_path, head):
    out = train(files, tmp_path, "mantis_late", head=head, outputs=4, symmetries=8)
    assert main(["predict", "--settings", json.dumps(SETTINGS), "--model", str(out), "--data", str(files / "validation.h5"),
                 "--out", str(tmp_path / "p.h5")]) == 0
    with h5py.File(tmp_path / "p.h5") as found:
        assert found["pz"].shape == (24, 16) and (found["pz"][:] >= 0).all() and (found["pz"][:].sum(axis=1) < 1 + 1e-5).all()


def test_the_infrared_alone_tells_the_redshift(tmp_path):
    """On objects that training never saw."""
    for k, (split, n) in enumerate((("training", 500), ("validation", 200))):
        write(tmp_path / f"{split}.h5", n, k + 1, split, surveys=("unwise",))
    out = train(tmp_path, tmp_path, "mantis_late", surveys=["unwise"], batches=30, batch_size=16, max_epochs=5, view=60,
                augment="symmetries", patch_small=2)
    assert main(["predict", "--settings", json.dumps(SETTINGS), "--model", str(out), "--data", str(tmp_path / "validation.h5"),
                 "--out", str(tmp_path / "p.h5")]) == 0
    with h5py.File(tmp_path / "p.h5") as found, h5py.File(tmp_path / "validation.h5") as data:
        assert np.corrcoef(found["z"][2:], data["specz_redshift"][2:])[0, 1] > 0.8


def test_a_shuffled_band_is_not_used():
    """The pictures of W2 belong to other objects: its mean |Shapley| stays under 5 % of the total on objects that training
    never saw."""
    class Small(torch.nn.Module):
        surveys = ("galex", "unwise")

        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Conv2d(4, 16, 3, stride=2), torch.nn.GELU(), torch.nn.Flatten(),
                                            torch.nn.Linear(16 * 9, 32), torch.nn.GELU(), torch.nn.Linear(32, 16))

        def forward(self, images, ebv):
            return self.body(torch.cat([images[name] for name in self.surveys], dim=1))

    def pictures(n, seed):
        generator = torch.Generator().manual_seed(seed)
        z = 1.6 * torch.rand(n, generator=generator)
        light = torch.exp(-((torch.arange(8.0) - 3.5) ** 2)[:, None] / 4 - (torch.arange(8.0) - 3.5) ** 2 / 4)
        level = torch.stack([torch.ones(n), 2 - z, 3 * z, 3 * z], dim=1)  # nuv and w1, and w2 before it is shuffled, tell z
        level[:, 3] = level[torch.randperm(n, generator=generator), 3]
        image = level[:, :, None, None] * light + 0.1 * torch.randn(n, 4, 8, 8, generator=generator)
        dark = 0.1 * torch.randn(n, 4, 8, 8, generator=generator)
        return z, *({"galex": a[:, :2], "unwise": a[:, 2:]} for a in (image, dark))

    loop.prepare(1, 1)
    z, image, _ = pictures(4000, 1)
    held_z, held, dark = pictures(200, 2)
    model = Small()
    sets = [loop.Arrays(lambda rows, p=p: {k: v[rows].numpy() for k, v in p.items()}, torch.zeros(len(t), 0),
                            torch.from_numpy(mantis.classes(t.numpy(), 16))) for p, t in ((image, z), (held, held_z))]
    options = Options(lr=3e-3, batch_size=100, max_epochs=15, patience=20, augment="symmetries", optimiser="adam",
                      weight_decay=0.0, plateau=None, batches=None)
    loop.fit(model, mantis.loss, *sets, options, 1, torch.device("cpu"), "fp32", tell=lambda text: None)
    centres = torch.tensor(mantis.centres(16)).float()
    values = attribution.values_early(model.eval(), held, dark, torch.zeros(200, 0), lambda out: mantis.expectation(out, centres))
    size = np.abs(attribution.shapley(values)).mean(axis=0)  # nuv, fuv, w1, w2
    assert size[3] / size.sum() < 0.05 < size[2] / size.sum(), size
    assert np.corrcoef(values[-1], held_z)[0, 1] > 0.95


def test_bad_input_is_one_sentence(files, tmp_path, capsys):
    write(tmp_path / "training.h5", 8, 3, "training")
    write(tmp_path / "validation.h5", 8, 4, "validation", maps=("ebv_sfd",))
    with h5py.File(tmp_path / "training.h5", "a") as handle:
        del handle["galex"]
    train(tmp_path, tmp_path, "mantis_late", 2)
    assert "holds no stamps of galex, which the model was made for; it holds ps1, unwise" in capsys.readouterr().err
    out = train(files, tmp_path / "m", "mantis_late", max_epochs=1)
    assert main(["predict", "--settings", json.dumps(SETTINGS), "--model", str(out), "--data", str(tmp_path / "validation.h5"),
                 "--out", str(tmp_path / "p.h5")]) == 2
    assert "has the reddening columns ['ebv_sfd'], the model was trained with" in capsys.readouterr().err
    card = json.loads((out / "model.json").read_text())
    card["options"]["encoder"] = "femto"
    (out / "model.json").write_text(json.dumps(card))
    assert main(["predict", "--settings", json.dumps(SETTINGS), "--model", str(out), "--data", str(files / "validation.h5"),
                 "--out", str(tmp_path / "p.h5")]) == 2
    assert "do not fit mantis_late" in capsys.readouterr().err
    with h5py.File(files / "training.h5") as source, h5py.File(tmp_path / "training.h5", "w") as far:
        for key in source:
            source.copy(key, far)
        far["specz_redshift"][:] = 5.0
    train_settings = files / "validation.h5"
    (tmp_path / "validation.h5").write_bytes(train_settings.read_bytes())
    train(tmp_path, tmp_path, "mantis_late", 2)
    assert "lies in 0 <= z < 1.6" in capsys.readouterr().err


def test_classes_are_drawn_evenly_and_empty_ones_survive():
    z = torch.tensor([0] * 90 + [5] * 9 + [7] + [-1] * 20)
    data = loop.Arrays(None, torch.zeros(120, 1), z)
    rows = loop._order(data, Options(batches=60, batch_size=50), torch.Generator().manual_seed(0))
    drawn = torch.bincount(z[rows], minlength=8)
    assert len(rows) == 3000 and (z[rows] >= 0).all()
    assert drawn[[0, 5, 7]].tolist() == pytest.approx([1000, 1000, 1000], rel=0.1)


def test_hidden_surveys_are_never_all():
    images = {name: torch.ones(500, bands, 4, 4) for name, bands in mantis.SURVEYS.items()}
    found = loop._hidden(images, 0.7, torch.Generator().manual_seed(1))
    seen = torch.stack([image.amax((1, 2, 3)) for image in found.values()], dim=1)
    assert (seen.sum(dim=1) >= 1).all() and 0.4 < seen.mean() < 0.7


def test_the_papers_scaling_by_hand():
    scaling = {"kind": "mantis"}
    nJy = {name: 10 ** (0.4 * (31.4 - np.array(zero)))[:, None, None] for name, zero in fusion.UNITS.items()}
    galex = fusion.scaled("galex", (np.array([0.02, 0.1])[:, None, None] * nJy["galex"])[None].astype("f4"), scaling)
    assert galex[0, :, 0, 0] == pytest.approx([0.4, 1.0], rel=1e-5)
    ps1 = fusion.scaled("ps1", (100.0 * nJy["ps1"])[None].astype("f4"), scaling)
    assert ps1[0, :, 0, 0] == pytest.approx([np.arcsinh(0.01 * 8 * 100) / 8] * 5, rel=1e-5)
    unwise = fusion.scaled("unwise", (np.array([30.0, -5.0])[:, None, None] * nJy["unwise"])[None].astype("f4"), scaling)
    assert unwise[0, :, 0, 0] == pytest.approx([np.arcsinh(0.1 * 6 * 30) / 6, 0.0], rel=1e-5)
    assert fusion.usable(np.array([[0, 1, 2, 4]]), ["ok", "no_coverage", "masked", "too_small", "failed"], "mantis").tolist() == [
        [True, False, False, False]]


def test_early_inputs_share_one_grid_and_late_ones_keep_their_own(files):
    split = multi.MultiSplit(files / "training.h5", mantis.SURVEYS)
    scaling = fusion.fit(split.ivar_sample(), "default")
    assert scaling["sigma"]["ps1"] == pytest.approx([100.0] * 5)
    options = families.options("mantis_late", {})
    early, late = (fusion.shown(split, np.arange(4), scaling, fusion.frames(split, options, kind)) for kind in (True, False))
    assert {name: value.shape[-1] for name, value in early.items()} == dict.fromkeys(mantis.SURVEYS, 120)
    assert {name: value.shape[-1] for name, value in late.items()} == {"galex": 20, "ps1": 120, "unwise": 12}  # 30 arcsec
    assert not early["galex"][0, 0].any() and early["galex"][0, 1].any()  # not observed: zero, band by band
    # a constant stays what it is on the common grid
    flat = fusion.to_grid(np.full((1, 1, 32, 32), 7.0, np.float32), 2.75, 120, 0.25)
    assert flat == pytest.approx(np.full((1, 1, 120, 120), 7.0), rel=1e-5)


def test_what_each_view_crops():
    """The text's 30 arcsec of every survey, or the code's crops; sqrt(2) more where images are turned."""
    paper, code = families.options("mantis_late", {}), families.options("mantis_late", {"view": "code"})
    stamps = {"ps1": (170, 0.25), "galex": (32, 1.5), "unwise": (32, 2.75)}
    early = {name: fusion.frame(name, *stamp, code, True) for name, stamp in stamps.items()}
    assert early == {"ps1": (120, 0.25), "galex": (120, 33 / 120), "unwise": (120, 60.5 / 120)}
    late = {name: fusion.frame(name, *stamp, code, False)[0] for name, stamp in stamps.items()}
    assert late == {"ps1": 120, "galex": 32, "unwise": 32}
    room = {name: fusion.frame(name, *stamp, paper, False, room=True)[0] for name, stamp in stamps.items()}
    assert room == {"ps1": 170, "galex": 30, "unwise": 18}
    assert all(fusion.frame(name, *stamp, code, True, room=True)[0] == 170 for name, stamp in stamps.items())
    with pytest.raises(InputError, match="stamps of galex have 32 px, 48.0 arcsec, the model needs 69.0 to rotate them"):
        fusion.frame("galex", 32, 1.5, code, False, room=True)


def test_a_rotation_leaves_no_pixel_undefined():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 170, 170, generator=generator)
    none, quarter = torch.zeros(4), torch.full((4,), np.pi / 2)
    still = augment.rotated(images, none, torch.zeros(4, dtype=bool), 120)
    torch.testing.assert_close(still, images[:, :, 25:145, 25:145], atol=2e-4, rtol=0)
    mirrored = augment.rotated(images, none, torch.ones(4, dtype=bool), 120)
    torch.testing.assert_close(mirrored, torch.flip(still, (3,)), atol=2e-4, rtol=0)
    turned = augment.rotated(images, quarter, torch.zeros(4, dtype=bool), 120)
    assert min((turned - torch.rot90(still, k, (2, 3))).abs().max() for k in (1, 3)) < 2e-4
    any_angle = 2 * np.pi * torch.rand(40, generator=generator)
    flat = augment.rotated(torch.full((40, 1, 170, 170), 7.0), any_angle, any_angle > 3, 120)
    torch.testing.assert_close(flat, torch.full_like(flat, 7.0), atol=1e-4, rtol=0)  # a corner from outside would be dark
    # every object has its own angle
    y, x = torch.meshgrid(torch.arange(170.0) - 84.5, torch.arange(170.0) - 84.5, indexing="ij")
    spot = torch.exp(-((x - 40) ** 2 + y**2) / 18).expand(8, 1, 170, 170)
    angles = torch.linspace(0, 2 * np.pi, 9)[:8]
    found = augment.rotated(spot, angles, torch.zeros(8, dtype=bool), 120)
    yy, xx = torch.meshgrid(torch.arange(120.0) - 59.5, torch.arange(120.0) - 59.5, indexing="ij")
    weight = found[:, 0] / found[:, 0].sum((1, 2), keepdim=True)
    radius = torch.hypot((weight * xx).sum((1, 2)), (weight * yy).sum((1, 2)))
    torch.testing.assert_close(radius, torch.full((8,), 40.0), atol=0.1, rtol=0)
    direction = torch.atan2((weight * yy).sum((1, 2)), (weight * xx).sum((1, 2)))
    assert len(set(np.round(np.degrees(direction.numpy()) % 360 / 45).astype(int) % 8)) == 8
