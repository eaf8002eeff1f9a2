"""ConvNeXt, the two fusion networks, bins, Shapley values, removal of a target."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from skyloom.__main__ import main
from skyloom.errors import InputError
from skyloom.measure import ablation
from skyloom.models import artefact, attribution, convnext, mantis, pretrained

# published sizes with a classifier over 1000 classes on top (features x 1000 + 1000)
PUBLISHED = {"tiny": 28_589_128, "small": 50_223_688, "base": 88_591_464, "large": 197_767_336}


@pytest.mark.parametrize("size", sorted(PUBLISHED))
def test_encoders_have_the_published_sizes(size):
    with torch.device("meta"):
        encoder = convnext.ConvNeXt(size, 3)
    assert artefact.count(encoder) + encoder.features * 1000 + 1000 == PUBLISHED[size]


def test_parameters_bear_the_published_names():
    names = set(convnext.ConvNeXt("atto", 3).state_dict())
    assert {"stem.0.weight", "stem.1.bias", "stages.0.blocks.1.conv_dw.weight", "stages.0.blocks.0.norm.weight",
            "stages.2.blocks.5.mlp.fc1.weight", "stages.3.downsample.0.weight", "stages.3.downsample.1.bias",
            "stages.1.blocks.0.gamma", "head.norm.weight"} <= names
    assert not [name for name in names if name.startswith("stages.0.downsample")]
    assert convnext.ConvNeXt("atto", 3).state_dict()["stages.0.blocks.0.mlp.fc1.weight"].dim() == 4
    assert convnext.ConvNeXt("tiny", 3).state_dict()["stages.0.blocks.0.mlp.fc1.weight"].dim() == 2


@pytest.mark.parametrize(("name", "head"), [("mantis_early", 3_971_472), ("mantis_late", 7_117_200)])
def test_the_papers_heads(name, head, capsys):
    assert main(["describe-model", name]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["head_parameters"] == head and described["parameters"] > head + 190_000_000
    assert main(["describe-model", name, "--encoder", "atto"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] < 13_500_000


def test_a_block_is_what_it_says():
    """Against the formula written out: x + gamma (W2 gelu(W1 norm(conv(x))))."""
    torch.manual_seed(0)
    for convolutions in (True, False):
        block = convnext.Block(8, convolutions, 0.5)
        x = torch.randn(2, 8, 9, 9)
        y = torch.nn.functional.conv2d(x, block.conv_dw.weight, block.conv_dw.bias, padding=3, groups=8)
        mean, var = y.mean(1, keepdim=True), y.var(1, unbiased=False, keepdim=True)
        y = (y - mean) / torch.sqrt(var + 1e-6) * block.norm.weight[:, None, None] + block.norm.bias[:, None, None]
        w1, w2 = (layer.weight.reshape(layer.weight.shape[:2]) for layer in (block.mlp.fc1, block.mlp.fc2))
        y = torch.einsum("oc,ncyx->noyx", w1, y) + block.mlp.fc1.bias[:, None, None]
        y = torch.einsum("oc,ncyx->noyx", w2, torch.nn.functional.gelu(y)) + block.mlp.fc2.bias[:, None, None]
        torch.testing.assert_close(block(x), x + 0.5 * y, atol=1e-5, rtol=1e-4)


def test_published_weights_fit_and_the_stem_keeps_its_sums():
    torch.manual_seed(1)
    three, nine = convnext.ConvNeXt("atto", 3), convnext.ConvNeXt("atto", 9)
    published = three.state_dict() | {"head.fc.weight": torch.zeros(1000, 320), "head.fc.bias": torch.zeros(1000)}
    nine.load_state_dict(convnext.adapt(published, nine))
    grey = torch.rand(1, 1, 32, 32)
    a, b = three.stem[0](grey.repeat(1, 3, 1, 1)), nine.stem[0](grey.repeat(1, 9, 1, 1))
    bias = three.stem[0].bias[:, None, None]
    torch.testing.assert_close((a - bias) / 3, b - bias, atol=1e-5, rtol=1e-4)  # mean / 9 over nine equal channels
    with pytest.raises(InputError, match="the weights do not fit: stem.0.weight is"):
        convnext.adapt(convnext.ConvNeXt("nano", 9).state_dict(), nine)
    with pytest.raises(InputError, match="is nothing"):
        convnext.adapt({}, nine)


@pytest.mark.parametrize("size", ["atto", "tiny"])
def test_timms_own_network_has_our_state_and_our_output(size):
    timm = pytest.importorskip("timm", reason="timm isn't installed: pip install timm compares its ConvNeXt with ours")
    theirs = timm.create_model(f"convnext_{size}", pretrained=False, num_classes=0).eval()
    ours = convnext.ConvNeXt(size, 3).eval()
    ours.load_state_dict(convnext.adapt(theirs.state_dict(), ours))
    picture = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(picture), theirs(picture), atol=1e-4, rtol=1e-4)


def test_training_starts_from_published_weights(tmp_path):
    published, small = convnext.ConvNeXt("nano", 3), convnext.ConvNeXt("nano", 3)
    for name, network in (("big", published), ("small", small)):
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / f"{name}.safetensors")
    late = mantis.MantisLate("nano", bins=8, patches={"galex": 4, "unwise": 4})
    used = pretrained.start_from(late, str(tmp_path / "big.safetensors"), str(tmp_path / "small.safetensors"))
    assert sorted(used) == ["big.safetensors", "small.safetensors"] and len(used["big.safetensors"]) == 64
    block = "stages.1.blocks.0.mlp.fc1.weight"
    assert torch.equal(late.encoders["ps1"].state_dict()[block], published.state_dict()[block])
    assert torch.equal(late.encoders["unwise"].state_dict()[block], small.state_dict()[block])
    assert late.encoders["galex"].stem[0].weight.shape[1] == 2
    early = mantis.MantisEarly("nano", bins=8)
    assert pretrained.start_from(early, "", "") == {}
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="broken.safetensors holds no readable weights"):
        pretrained.start_from(early, str(tmp_path / "broken.safetensors"), "")
    with pytest.raises(InputError, match="big.safetensors: the weights do not fit: stem.0.weight is"):
        pretrained.start_from(mantis.MantisEarly("atto", bins=8), str(tmp_path / "big.safetensors"), "")


def test_bins_are_explicit():
    edges, centres = mantis.edges(), mantis.centres()
    assert len(edges) == 401 and edges[0] == 0 and edges[-1] == 1.6 and centres[0] == pytest.approx(0.002)
    z = np.array([0.0, 0.0039999, 0.0041, 0.8, 1.5999, 1.6, -0.001])
    found = mantis.classes(z)
    assert found.tolist() == [0, 0, 1, 200, 399, -1, -1]
    inside = found >= 0
    assert (edges[found[inside]] <= z[inside] + 1e-12).all() and (z[inside] < edges[found[inside] + 1]).all()
    logits = torch.full((1, 400), -50.0)
    logits[0, 100] = 50.0
    assert mantis.expectation(logits, torch.tensor(centres).float()).item() == pytest.approx(centres[100], abs=1e-6)


# Shapley values with known answers

def test_shapley_values_of_a_linear_model_are_its_terms():
    rng = np.random.default_rng(0)
    terms = rng.normal(size=(7, 9))
    values = attribution.coalitions(9).astype(float) @ terms.T
    assert attribution.shapley(values) == pytest.approx(terms)


def test_two_bands_that_multiply_share_the_product():
    masks = attribution.coalitions(3)
    values = np.where(masks[:, 0] & masks[:, 1], 6.0, 0.0)[:, None] + np.where(masks[:, 2], 1.0, 0.0)[:, None]
    found = attribution.shapley(values)
    assert found[0] == pytest.approx([3.0, 3.0, 1.0])
    assert attribution.mm_shap(found)[0] == pytest.approx([3 / 7, 3 / 7, 1 / 7])
    assert np.isnan(attribution.mm_shap(np.zeros((1, 3)))).all()
    with pytest.raises(ValueError, match="all coalitions"):
        attribution.shapley(np.zeros((7, 2)))


def images(n, size, seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(n, bands, size, size, generator=generator) for name, bands in mantis.SURVEYS.items()}


def test_late_fusion_reuses_features_and_gives_the_same_as_512_passes():
    torch.manual_seed(2)
    model = mantis.MantisLate("atto", bins=20, gamma=0.1).eval()
    whole, ablated, ebv = images(2, 32, 3), images(2, 32, 4), torch.rand(2, 2)
    z = torch.tensor(mantis.centres(20)).float()
    encoded = []
    for encoder in model.encoders.values():
        encoder.register_forward_hook(lambda module, inputs, features: encoded.append(len(features)))
    def point(out):
        return mantis.expectation(out, z)

    quick = attribution.values_late(model, whole, ablated, ebv, point, batch=5)
    assert sum(encoded) == 2 * (4 + 32 + 4)
    slow = attribution.values_early(model, whole, ablated, ebv, point)  # every coalition through the whole model
    assert quick.shape == slow.shape == (512, 2) and quick == pytest.approx(slow, abs=1e-5)


def test_early_fusion_coalitions_mix_the_right_bands():
    class Weighted(torch.nn.Module):
        surveys = tuple(mantis.SURVEYS)

        def forward(self, pixels, ebv):
            sums = torch.cat([pixels[name].mean((2, 3)) for name in self.surveys], dim=1)
            return (sums @ torch.arange(1.0, 10.0))[:, None] * torch.tensor([1.0, 0.0])

    n = 3
    ones = {name: torch.ones(n, bands, 4, 4) for name, bands in mantis.SURVEYS.items()}
    zeros = {name: torch.zeros_like(value) for name, value in ones.items()}
    scale = torch.tensor([1.0, 2.0, 3.0])[:, None, None, None]  # objects differ
    expected = 1 / (1 + np.exp(-(attribution.coalitions(9) @ np.arange(1.0, 10.0))[:, None] * [1.0, 2.0, 3.0]))
    for batch in (100, 512, 1100):  # parts of an object, one, two of three
        values = attribution.values_early(Weighted(), {name: scale * v for name, v in ones.items()}, zeros, torch.zeros(n, 2),
                                         lambda out: mantis.expectation(out, torch.tensor([1.0, 0.0])), batch=batch)
        assert values == pytest.approx(expected, abs=1e-6)
    assert attribution.band_names({"galex": ["n", "f"], "ps1": list("grizy")})[:3] == [("galex", 0), ("galex", 1), ("ps1", 0)]


# Removal of the target

def field(peak, neighbour=0.0, size=120, seed=5):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    noise = np.random.default_rng(seed).normal(10.0, 1.0, (size, size))
    return (noise + peak * np.exp(-(x**2 + y**2) / 2 / 9) + neighbour * np.exp(-((x - 35)**2 + y**2) / 2 / 9)).astype(np.float32)


def test_the_target_goes_and_the_neighbour_stays():
    image, none = field(200.0, 150.0), np.zeros((120, 120), bool)
    mask, detected = ablation.target_mask(image, none, 4.0)
    assert detected and mask[59, 59] and not mask[59, 94]
    out = ablation.remove(image, none, 4.0, np.random.default_rng(1))
    y, x = np.mgrid[:120, :120] - 59.5
    centre = np.hypot(x, y) < 12
    assert out[centre].mean() == pytest.approx(10, abs=0.3) and out[centre].std() == pytest.approx(1, abs=0.2)
    assert np.array_equal(out[~mask], image[~mask]) and out[59, 94] > 100
    again = ablation.remove(image, none, 4.0, np.random.default_rng(1))
    assert np.array_equal(out, again)


def test_without_a_detection_a_static_aperture_is_filled():
    image, none = field(0.0, 300.0), np.zeros((120, 120), bool)
    mask, detected = ablation.target_mask(image, none, 4.0)
    y, x = np.mgrid[:120, :120] - 59.5
    assert not detected and np.array_equal(mask, np.hypot(x, y) <= 4.0)
    everything = np.ones((120, 120), bool)
    assert np.array_equal(ablation.remove(image, everything, 4.0, np.random.default_rng(1)), image)


def test_a_fresh_encoder_tells_bright_from_faint():
    """The stem's bias does it: without one, the norm behind the stem makes all multiples of an image equal."""
    torch.manual_seed(0)
    encoder, image = convnext.ConvNeXt("atto", 2, patch=1, gamma=0.1).eval(), torch.rand(1, 2, 12, 12)
    with torch.no_grad():
        fresh = (encoder(3 * image) - encoder(image)).abs().mean()
        encoder.stem[0].bias.zero_()
        forgetful = (encoder(3 * image) - encoder(image)).abs().mean()
    assert fresh > 0.02 > 0.002 > forgetful
