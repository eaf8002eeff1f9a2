"""Parts of the network of boxes against loops that say the same: overlap, coding, NMS, RoIAlign, windows, targets."""

import math

import numpy as np
import pytest
import torch

from skyloom.errors import InputError
from skyloom.models import artefact, families
from skyloom.models.card import Card
from skyloom.models.mvit import backbone, boxes, found, heads, inputs, pretrained, proposals, rois, targets


def some_boxes(n, side=60.0, seed=0):
    made = torch.Generator().manual_seed(seed)
    corner, size = side * torch.rand(n, 2, generator=made), 2 + 18 * torch.rand(n, 2, generator=made)
    return torch.cat([corner, corner + size], dim=1)


def test_overlap_is_counted_in_pixels():
    """Of boxes on whole pixels: pixels of both over pixels of either."""
    one = torch.tensor([[1.0, 2, 7, 9], [0, 0, 4, 4], [3, 3, 3, 8]])
    grids = torch.zeros(3, 12, 12, dtype=torch.bool)
    for grid, (x0, y0, x1, y1) in zip(grids, one.int().tolist(), strict=True):
        grid[y0:y1, x0:x1] = True
    both, either = ((grids[:, None] & grids[None]).sum((2, 3)), (grids[:, None] | grids[None]).sum((2, 3)))
    torch.testing.assert_close(boxes.overlap(one, one), torch.where(either > 0, both / either.clamp(min=1), 0.0))


@pytest.mark.parametrize("weights", [proposals.WEIGHTS, *heads.WEIGHTS])
def test_coding_goes_there_and_back(weights):
    here, there = some_boxes(50), some_boxes(50, seed=1)
    torch.testing.assert_close(boxes.decode(here, boxes.encode(here, there, weights), weights), there, atol=1e-3, rtol=1e-4)
    shifted = boxes.encode(torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 15, 20]]), (10.0, 10.0, 5.0, 5.0))
    torch.testing.assert_close(shifted, torch.tensor([[5.0, 0, 0, 0]]))  # half a width, times ten
    wild = boxes.decode(here[:1], torch.full((1, 4), 1e6), (1.0,) * 4)
    assert torch.isfinite(wild).all()


def naive(found, scores, most):
    kept, overlaps = [], boxes.overlap(found, found).tolist()
    for k in sorted(range(len(found)), key=lambda k: -float(scores[k])):
        if all(overlaps[k][j] <= most for j in kept):
            kept.append(k)
    return kept


@pytest.mark.parametrize("block", [7, 512])
@pytest.mark.parametrize("most", [0.1, 0.5])
def test_nms_is_the_greedy_loop(monkeypatch, block, most):
    """Chains of overlaps and ties; whatever the block."""
    monkeypatch.setattr(boxes, "BLOCK", block)
    crowd = torch.cat([some_boxes(70, side=25.0), torch.stack([torch.arange(30.0), torch.zeros(30), torch.arange(30.0) + 9,
                                                               torch.full((30,), 9.0)], dim=1)])
    scores = (torch.rand(100, generator=torch.Generator().manual_seed(2)) * 40).round() / 40
    assert boxes.nms(crowd, scores, most).tolist() == naive(crowd, scores, most)
    assert not len(boxes.nms(crowd[:0], scores[:0], most))


def test_matches_in_blocks(monkeypatch):
    here, truth = some_boxes(90), some_boxes(6, seed=4)
    whole = boxes.overlap(here, truth)
    monkeypatch.setattr(boxes, "ROWS", 16)
    iou, row = boxes.matches(here, truth)
    torch.testing.assert_close(iou, whole.max(dim=1).values)
    assert torch.equal(row, whole.argmax(dim=1))
    best = {int(k) for k in whole.argmax(dim=0)[whole.amax(dim=0) > 0]}
    assert set(boxes.unbeaten(here, truth).nonzero()[:, 0].tolist()) == best
    assert not boxes.matches(here, truth[:0])[0].any() and not boxes.unbeaten(here, truth[:0]).any()


def bilinear(plane, y, x):
    """The value at (y, x) in cells, centres at integers: the border's within a cell of it, 0 further out."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    total = 0.0
    for j in range(height):
        for i in range(width):
            total += max(0.0, 1 - abs(y - j)) * max(0.0, 1 - abs(x - i)) * float(plane[j, i])
    return total


@pytest.mark.parametrize(("box", "scale"), [((3.2, 4.1, 13.7, 17.9), 0.5), ((-9.0, -7.0, 6.0, 5.0), 0.5), ((10, 11, 26, 25), 0.5),
                                            ((0.0, 0.0, 7.0, 9.0), 1.0), ((4.0, 4.0, 4.3, 4.2), 1.0)])
def test_roi_align_is_a_bilinear_sum(box, scale):
    """Inside, across each border, beyond it, and of a box smaller than a cell."""
    plane = torch.randn(9, 7, generator=torch.Generator().manual_seed(0))
    got = rois.align(plane[None], torch.tensor([box], dtype=torch.float32), 4, scale, samples=2)[0, 0]
    x0, y0, x1, y1 = (v * scale for v in box)
    for j in range(4):
        for i in range(4):
            points = [(y0 + (y1 - y0) * (j + (a + 0.5) / 2) / 4 - 0.5, x0 + (x1 - x0) * (i + (b + 0.5) / 2) / 4 - 0.5)
                      for a in range(2) for b in range(2)]
            assert float(got[j, i]) == pytest.approx(sum(bilinear(plane, *p) for p in points) / 4, abs=2e-5)


def test_roi_align_of_a_plane_is_the_plane():
    """x and y themselves come back at the bins' centres, half a pixel as it should be, and levels fit the sizes."""
    y, x = torch.meshgrid(torch.arange(16) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    got = rois.align(torch.stack([x, y]) * 4, torch.tensor([[10.0, 14, 38, 49]]), 7, 0.25)[0]
    torch.testing.assert_close(got[0, 0], 10 + 28 * (torch.arange(7) + 0.5) / 7, atol=1e-4, rtol=0)
    torch.testing.assert_close(got[1, :, 0], 14 + 35 * (torch.arange(7) + 0.5) / 7, atol=1e-4, rtol=0)
    sides = torch.tensor([10.0, 111.0, 113.0, 224.0, 449.0, 5000.0])
    assert rois.level(torch.stack([0 * sides, 0 * sides, sides, sides], 1), 4).tolist() == [0, 0, 1, 2, 3, 3]


def test_pooling_takes_each_boxs_own_image_and_level():
    """Levels of constants: a box gets its image's and its level's number."""
    pyramid = [torch.stack([torch.full((2, 64 >> k, 64 >> k), 10.0 * n + k) for n in range(2)]) for k in range(4)]
    sides = torch.tensor([150.0, 20.0, 240.0])
    own = torch.stack([0 * sides, 0 * sides, sides, sides], 1)
    got = rois.pooled(pyramid, [own[:2], own], 2)[:, 0, 0, 0]
    assert got.tolist() == [1, 0, 11, 10, 12]


# the backbone

# published sizes with 1000 classes on top
TIMM = {(1, 2, 5, 2): 24_173_320, (1, 2, 11, 2): 34_870_216, (2, 3, 16, 3): 51_472_744}


@pytest.mark.parametrize("blocks", sorted(TIMM))
def test_backbones_have_the_published_sizes(blocks):
    """MViTv2-T, S, B as classifiers: one norm behind the last block, 1000 classes."""
    with torch.device("meta"):
        made = backbone.MViT(3, 96, blocks, 0.0)
    others = sum(artefact.count(norm) for norm in made.norms[:3])
    assert artefact.count(made) - others + 768 * 1000 + 1000 == TIMM[blocks]


@pytest.mark.parametrize("blocks", [(1, 2, 5, 2)])
def test_timms_own_network_has_our_output(blocks):
    timm = pytest.importorskip("timm", reason="timm isn't installed: pip install timm compares its MViTv2 with ours")
    theirs = timm.create_model("mvitv2_tiny", pretrained=False, num_classes=0).eval()
    ours = backbone.MViT(3, 96, blocks, 0.0, window=0).eval()
    named = {f"norms.3.{name[5:]}" if name.startswith("norm.") else name: value for name, value in theirs.state_dict().items()}
    assert not ours.load_state_dict(named, strict=False).unexpected_keys
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[3].flatten(2).transpose(1, 2), theirs.forward_features(x), atol=1e-5, rtol=1e-4)


def attention(window, width=4, heads_=2, stride=1, key_stride=1):
    torch.manual_seed(0)
    made = backbone.Attention(width, width, heads_, stride, key_stride, window, 8).eval()
    for table in (made.rel_pos_h, made.rel_pos_w):
        torch.nn.init.normal_(table)
    return made


@torch.no_grad()
def test_attention_is_its_formula():
    """softmax(q k / sqrt(d) + q (R_h + R_w)) v + q, written out for one head, on a map shorter than the table."""
    made, x = attention(0, heads_=1), torch.randn(1, 3, 5, 4)
    q, k, v = (made._pooled(part, name)[0, 0] for part, name in zip(made.qkv(x).chunk(3, dim=-1), "qkv", strict=True))
    rows, columns = (torch.nn.functional.interpolate(t.T[None], size=2 * n - 1, mode="linear")[0].T
                     for t, n in ((made.rel_pos_h, 3), (made.rel_pos_w, 5)))
    out = torch.zeros(3, 5, 4)
    for y in range(3):
        for z in range(5):
            logits = torch.tensor([[q[y, z] @ k[j, i] / 2 + q[y, z] @ (rows[y - j + 2] + columns[z - i + 4]) for i in range(5)]
                                   for j in range(3)])
            out[y, z] = (torch.softmax(logits.flatten(), 0)[:, None] * v.flatten(0, 1)).sum(0) + q[y, z]
    torch.testing.assert_close(made(x)[0], made.proj(out), atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("stride", "key_stride"), [(1, 1), (1, 2), (2, 2)])
def test_windows_see_nothing_of_one_another(stride, key_stride):
    """A token changes its own window alone (and, through the pooling's 3 x 3, its neighbours'); what fills the last window up
    changes nothing."""
    made = attention(8, stride=stride, key_stride=key_stride)
    x = torch.randn(1, 20, 24, 4)
    changed = x.clone()
    changed[0, 3, 4] += 1
    moved = (made(changed) != made(x)).any(dim=3)[0]
    side = 8 // stride
    assert moved[:side, :side].any() and not moved[side:].any() and not moved[:, side:].any()
    whole = torch.cat([x, torch.randn(1, 4, 24, 4)], dim=1)
    near = 16 // stride
    torch.testing.assert_close(made(whole)[:, :near - 2], made(x)[:, :near - 2])
    alone = made(x[:, 16:])  # the last row of windows, whose pooling sees other neighbours at its upper edge alone
    assert alone.shape[1] == 4 // stride and torch.isfinite(made(x)).all()


@torch.no_grad()
def test_any_side_and_window_fit_the_pyramid():
    made = backbone.MViT(2, 8, (1, 1, 1, 1), 0.0).eval()
    levels = backbone.Pyramid(made.widths, 6)(made(torch.randn(1, 2, 96, 256)))
    assert [tuple(level.shape[1:]) for level in levels] == [(6, 24, 64), (6, 12, 32), (6, 6, 16), (6, 3, 8), (6, 2, 4)]
    torch.testing.assert_close(levels[4], levels[3][:, :, ::2, ::2])


def test_stochastic_depth_keeps_the_mean():
    torch.manual_seed(0)
    drop, x = backbone.DropPath(0.4).train(), torch.ones(20_000, 1, 1, 1)
    out = drop(x)
    assert out.unique().tolist() == [0.0, pytest.approx(1 / 0.6)] and float(out.mean()) == pytest.approx(1, abs=0.02)
    assert torch.equal(drop.eval()(x), x)


def test_published_weights_fit_and_the_stem_keeps_its_sums(tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(0)
    three, six = backbone.MViT(3, 8, (1, 1, 1, 1), 0.0), backbone.MViT(6, 8, (1, 1, 1, 1), 0.0)
    named = {name.replace("norms.3", "norm"): value for name, value in three.state_dict().items() if "norms.0" not in name}
    save_file(named, tmp_path / "t.safetensors")
    assert len(pretrained.start_from(six, str(tmp_path / "t.safetensors"))["t.safetensors"]) == 64
    grey = torch.rand(1, 1, 32, 32)
    ours, theirs = (made.patch_embed["proj"](grey.expand(-1, n, -1, -1)) for made, n in ((six, 6), (three, 3)))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(six.norms[3].weight, three.norms[3].weight)
    with pytest.raises(InputError, match="weights do not fit: .* is .*; give weights of the same size"):
        pretrained.start_from(backbone.MViT(6, 4, (1, 1, 1, 1), 0.0), str(tmp_path / "t.safetensors"))
    (tmp_path / "no").write_text("no")
    with pytest.raises(InputError, match="holds no readable weights"):
        pretrained.start_from(six, str(tmp_path / "no"))


# anchors, heads

def test_anchors_have_their_areas_and_places():
    levels = [torch.zeros(1, 1, 4 >> k, 8 >> k) for k in range(2)]
    first, second = proposals.anchors(levels)
    assert first.shape == (4 * 8 * 3, 4) and second.shape == (2 * 4 * 3, 4)
    torch.testing.assert_close(boxes.area(first), torch.full((96,), 64.0))
    torch.testing.assert_close(boxes.area(second), torch.full((24,), 256.0))
    middle = (first[:, :2] + first[:, 2:]) / 2
    torch.testing.assert_close(middle[3 * (2 * 8 + 5)], torch.tensor([22.0, 10.0]))  # cell (2, 5) of stride 4
    tall = first[2, 2:] - first[2, :2]
    assert float(tall[1] / tall[0]) == pytest.approx(2)


def test_a_perfect_proposer_loses_nothing_and_proposes_the_truth():
    levels = [torch.zeros(1, 1, 16 >> k, 16 >> k) for k in range(5)]
    places, truth = proposals.anchors(levels), torch.tensor([[10.0, 12, 19, 20], [30, 30, 47, 44]])
    logits, changes = [], []
    for place in places:
        iou, row = boxes.matches(place, truth)
        near = (iou >= 0.5) | boxes.unbeaten(place, truth)
        logits.append(torch.where(near, 20.0, -20.0)[None])
        changes.append(boxes.encode(place, truth[row], proposals.WEIGHTS)[None])
    torch.manual_seed(0)
    lost = proposals.losses(logits, changes, places, [truth], 64)
    assert float(lost["rpn_box"]) < 1e-5 and float(lost["rpn_source"]) < 1  # anchors of .5 to .7 count as sources, too
    got = proposals.proposed(logits, changes, places, 64, 64, 50, 2)[0]
    assert boxes.overlap(got, truth).amax(dim=0).min() > 0.999
    empty = proposals.losses([0 * one for one in logits], changes, places, [truth[:0]], 64)
    assert float(empty["rpn_box"]) == 0 and float(empty["rpn_source"]) == pytest.approx(math.log(2))


def test_an_unknown_class_teaches_that_there_is_something():
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    p = torch.softmax(logits, 1)[0]
    for kind, chance in ((heads.GALAXY, p[0]), (heads.STAR, p[1]), (heads.NOTHING, p[2]), (heads.UNKNOWN, p[0] + p[1])):
        assert float(heads.classified(logits, torch.tensor([kind]))) == pytest.approx(-math.log(float(chance)))


def test_the_mixture_is_a_density():
    torch.manual_seed(0)
    out, z = 0.5 * torch.randn(1, 15), torch.linspace(-40, 40, 160_001)
    each = torch.stack([heads.unlikelihood(out, one[None]) for one in z[::800]])
    weight, mean, sigma = (p.double().numpy() for p in heads.gaussians(out))
    density = (np.exp(weight) * np.exp(-0.5 * ((z.numpy()[:, None] - mean) / sigma) ** 2) / sigma / np.sqrt(2 * np.pi)).sum(1)
    assert np.trapezoid(density, z.numpy()) == pytest.approx(1, abs=1e-4)
    near = density[::800] > 1e-20
    np.testing.assert_allclose(np.exp(-each.numpy())[near], density[::800][near], rtol=1e-3)
    assert float(heads.unlikelihood(out[:0], z[:0])) == 0
    far = heads.unlikelihood(torch.full((1, 15), 200.0), torch.zeros(1))
    assert torch.isfinite(far)


@pytest.mark.parametrize(("ebv", "head"), [(False, 12_912_655), (True, 12_913_679)])
def test_the_published_counts(ebv, head, capsys):
    import json

    from skyloom.__main__ import main

    assert main(["describe-model", "deepdisc_mvit", *(["--ebv"] if ebv else [])]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["head_parameters"] == head == told["parts"]["head"] and told["ebv"] is ebv
    assert told["parameters"] == sum(told["parts"].values()) == 115_815_957 + 1024 * ebv
    assert [round(told["parts"][part] / 1e6, 1) for part in ("pyramid", "proposer", "cascade", "masks")] == [2.7, 1.2, 45.6, 2.6]


# targets, masks

def labels_of(*rows):
    """Labels and stamps of (x, y, is_star, z, S/N, flux, first column, first row, stamp)."""
    names = ("x", "y", "is_star", "redshift", "snr", "flux")
    made = {name: np.array([row[k] for row in rows]) for k, name in enumerate(names)}
    made |= {name: np.repeat(made[name].reshape(-1, 1), 2, axis=1) for name in ("snr", "flux")}
    return made, [(row[6], row[7], np.asarray(row[8], np.float32)) for row in rows]


STAMP = np.array([[0, 2, 9, 2], [0, 3, 1, 0], [0, 0, 0, 0]])


def test_boxes_and_masks_are_those_of_the_light():
    """Above the level, on whole pixels; a faint source's down to half its peak."""
    faint = np.full((3, 3), 0.2)
    made, stamps = labels_of((11.0, 20.0, 0, 0.5, 9.0, 80.0, 9, 20, STAMP), (5, 5, 1, np.nan, 7, 10.0, 4, 4, faint),
                             (8, 8, -1, 0.9, 4.9, 90.0, 7, 7, 5 * faint), (40, 5, 0, 1, 9, 9.0, 39, 4, 5 * faint))
    lessons = targets.Lessons(5.0, 1, 50.0, False, 1.0)
    got = targets.of(made, stamps, 0, 0, (32, 32), lessons)
    assert got.boxes.tolist() == [[10, 20, 13, 22], [4, 4, 7, 7]]  # the third is too faint, the fourth outside
    assert got.kinds.tolist() == [heads.GALAXY, heads.STAR] and got.offset.tolist() == [0, 6]
    assert got.bits[:6].tolist() == [True, True, True, True, False, False] and got.bits[6:].all()
    np.testing.assert_array_equal(got.z.numpy(), np.float32([0.5, np.nan]))
    stars = targets.of(made, stamps, 0, 0, (32, 32), targets.Lessons(5.0, 1, 5.0, True))
    assert stars.z.tolist() == [0.5, 0.0]
    cut = targets.of(made, stamps, 11, 18, (20, 20), lessons)  # its first column lies outside the crop
    assert cut.boxes.tolist() == [[0, 2, 2, 3]] and cut.bits.tolist() == [True, True]
    assert len(targets.of(made, stamps, 50, 50, (20, 20), lessons).boxes) == 0


def test_labels_without_a_column_are_one_sentence():
    made, stamps = labels_of((11.0, 20.0, 0, 0.5, 9.0, 80.0, 9, 20, STAMP))
    made.pop("snr")
    with pytest.raises(InputError, match="the labels lack `snr`, from which boxes and masks are made; rerun label-scenes"):
        targets.of(made, stamps, 0, 0, (32, 32), targets.Lessons())


@pytest.mark.parametrize("which", range(8))
def test_targets_turn_as_images_do(which):
    from skyloom.dataset.augment import symmetry

    made, stamps = labels_of((11.0, 20.0, 0, 0.5, 9, 80, 9, 20, STAMP), (5, 5, 1, 0.1, 7, 10, 4, 3, np.arange(8).reshape(4, 2)))
    plain = targets.of(made, stamps, 0, 0, (32, 32), targets.Lessons(mask_level=0.5))
    image = torch.zeros(1, 2, 32, 32)
    for k, (x, y, light) in enumerate(stamps):
        image[0, k, y:y + light.shape[0], x:x + light.shape[1]] = torch.from_numpy(targets.footprint(light, 0.5 * 2**0.5) + 0.0)
    turned, got = symmetry(image, which), targets.turned(plain, which, 32)
    for k, (x0, y0, x1, y1) in enumerate(got.boxes.int().tolist()):
        own = torch.zeros(32, 32)
        own[y0:y1, x0:x1] = got.bits[got.offset[k]:got.offset[k] + (x1 - x0) * (y1 - y0)].reshape(y1 - y0, x1 - x0)
        torch.testing.assert_close(own, turned[0, k])


def test_masks_are_learned_where_their_pixels_are():
    square = np.full((4, 4), 9.0)
    made, stamps = labels_of((11.0, 20.0, 0, 0.5, 9.0, 80.0, 9, 20, STAMP), (20, 8, 0, 0.5, 9.0, 80.0, 18, 7, square))
    got = targets.of(made, stamps, 0, 0, (32, 32), targets.Lessons())
    cells = targets.pixels(got, torch.tensor([0, 1, 1]), torch.tensor([[9.0, 19, 13, 23], [18, 7, 22, 11], [0, 0, 8, 8]]), 4)
    assert cells[0].tolist() == [[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert cells[1].all() and not cells[2].any()


def test_pixels_go_to_the_surest_mask_and_fluxes_are_their_sums():
    masks = np.full((2, 28, 28), 0.9, np.float32)
    masks[1] = 0.95
    masks[1, :, :14] = 0.2
    owner = found.owners(masks, np.array([[2.0, 2, 10, 10], [6, 4, 14, 8]]), (16, 16))
    assert (owner == 0).sum() + (owner == 1).sum() == (owner >= 0).sum() and (owner[4:8, 11:14] == 1).all()
    assert (owner[2:10, 2:9] == 0).all() and (owner[:2] == -1).all()
    image, ivar = np.ones((2, 16, 16)) * [[[3.0]], [[5.0]]], np.full((2, 16, 16), 4.0)
    ivar[1, owner == 1] = 0
    flux, error = found.photometry(owner, 3, image, ivar)
    n = (owner == 0).sum()
    assert flux[0].tolist() == [3 * n, 5 * n] and error[0].tolist() == [pytest.approx(0.5 * n**0.5)] * 2
    assert np.isnan(flux[1, 1]) and flux[1, 0] == 3 * (owner == 1).sum() and np.isnan(flux[2]).all()
    kept = found.windows(owner, 3)
    for k in range(3):
        back = np.zeros((16, 16), bool)
        x, y, w, h, at = (int(kept[name][k]) for name in ("x0", "y0", "w", "h", "offset"))
        back[y:y + h, x:x + w] = kept["bits"][at:at + w * h].reshape(h, w)
        assert (back == (owner == k)).all()
    beyond = found.owners(masks, np.array([[-50.0, -9, -40, -1], [12.0, 12, 30, 30]]), (16, 16))
    assert not (beyond == 0).any() and (beyond[13:, 22 - 16 + 7:] >= -1).all()


def test_radii_of_a_gaussian():
    y, x = np.mgrid[:41, :41]
    light = np.exp(-((x - 20) ** 2 + (y - 20) ** 2) / 2 / 3.0**2)
    owner = np.where(light > 1e-4, 0, -1).astype(np.int32)
    assert found.radii(owner, 2, light)[0] == pytest.approx(1.1774 * 3, rel=0.02) and np.isnan(found.radii(owner, 2, light)[1])
    assert np.isfinite(found.radii(owner, 1, -light)[0])


# inputs

def test_pixels_are_scaled_as_published_and_missing_ones_are_the_mean():
    rng = np.random.default_rng(0)
    image = rng.normal([[[2.0]], [[5.0]]], [[[1.0]], [[3.0]]], (2, 64, 64))
    ivar = np.full((2, 64, 64), 0.25)
    ivar[0, :8] = 0
    image[0, :8] = 1e9
    constants = inputs.fit([(image, ivar)], "published")
    np.testing.assert_allclose(constants["mean"], [2, 5], atol=0.15)
    np.testing.assert_allclose(constants["std"], [1, 3], atol=0.1)
    seen = inputs.scaled(image, ivar, constants)
    assert not seen[0, :8].any() and float(seen[1].std()) == pytest.approx(1, abs=0.01)
    assert inputs.fit([(image, ivar)], "noise") == {"mean": [0.0, 0.0], "std": [2.0, 2.0]}
    with pytest.raises(InputError, match="no training tile has data in every band"):
        inputs.fit([(image, ivar * [[[0]], [[1]]])], "published")


def test_blur_and_dust_do_what_they_say():
    point = torch.zeros(1, 2, 41, 41)
    point[0, :, 20, 20] = 1
    out = inputs.blurred(point, 2.0)[0, 1]
    at = torch.arange(41) - 20.0
    assert float(out.sum()) == pytest.approx(1, abs=1e-5) and float((out.sum(0) * at**2).sum()) == pytest.approx(4, rel=0.05)
    assert torch.equal(inputs.blurred(point, 0.05), point)
    dim = inputs.reddened(np.ones((2, 2, 2)), ("g", "y"), 0.1)
    np.testing.assert_allclose(-2.5 * np.log10(dim[:, 0, 0]), [0.3237, 0.1088], rtol=1e-6)
    with pytest.raises(InputError, match="`redden` knows the bands u, g, .*, not 'J'; set `redden: 0`"):
        inputs.extinction(["g", "J"])


def test_options_are_the_published_ones():
    options = families.options("deepdisc_mvit", {})
    assert (options.lr, options.max_epochs, options.milestones, options.crop) == (1e-3, 50, (15, 25, 35), 525)
    assert (options.blocks, options.width, options.channels, options.drop_path) == ((2, 3, 16, 3), 96, 256, 0.4)
    assert families.of("deepdisc_mvit_b").name == "deepdisc_mvit" and families.of("deepdisc_b").name == "deepdisc"
    for given in ({"width": 0}, {"scaling": "asinh"}, {"score": 1.5}, {"encoder": "atto"}):
        with pytest.raises(InputError, match=next(iter(given))) as error:
            families.options("deepdisc_mvit", given)
        assert "\n" not in str(error.value)
    with torch.device("meta"):
        made = families.of("deepdisc_mvit").build(Card("deepdisc_mvit", options, **families.of("deepdisc_mvit").example(options)))
    assert made.numbers.after == (6000, 3000)
