"""The registry of imaging surveys: facts that fit together, what the config, the catalog and the services make of them."""

import dataclasses

import numpy as np
import pytest

from skyloom import acquisition, config
from skyloom.archives import replies
from skyloom.archives.http import Client
from skyloom.errors import InputError, ReplyError
from skyloom.release import flags
from skyloom.schema import schema
from skyloom.sky import seds
from skyloom.sky.servers import world
from skyloom.surveys import imaging, viewer
from skyloom.surveys.service import Service
from tests.conftest import ROOT

LEAST = {"run": "x", "archive": "live"}
SURVEYS = imaging.REGISTRY.values()


def made(**more):
    """A survey that is nobody's."""
    return imaging.ImagingSurvey(**{"name": "toy", "title": "Toy", "bands": {"a": 400.0, "b": 500.0}, "scale": 0.5,
                                    "service": Service("toy", {"url": ""}), "client": None, "zero_point": "30", "aperture": 4.0,
                                    "size": 20, "sizes": (8, 64), "licence": "ours", "citation": "we"} | more)


@pytest.mark.parametrize("survey", SURVEYS, ids=[survey.name for survey in SURVEYS])
def test_facts_of_a_survey(survey):
    """Pivot wavelengths are those of the filters' curves, which the sky knows by itself."""
    for band, name in seds.FILTERS[survey.name].items():
        wave, response = seds.filter_curve(name)
        pivot = np.sqrt(np.trapezoid(response * wave, wave) / np.trapezoid(response / wave, wave))
        assert survey.bands[band] == pytest.approx(pivot / 10, abs=0.1)
    assert list(survey.bands) == list(seds.FILTERS[survey.name])  # the order of the planes
    assert set(survey.extinction) == set(survey.bands) and survey.licence and survey.citation


@pytest.mark.parametrize(("change", "words"), [
    ({"name": "local"}, "none of local"), ({"name": "Big Survey"}, "small letters"), ({"name": "g"}, "none of local, g"),
    ({"bands": {}}, "has no bands"), ({"bands": {"W 1": 3400.0}}, "the band 'W 1'"), ({"fwhm": {"a": 1.0}}, "has fwhm for a"),
    ({"extinction": {"a": 1.0, "c": 1.0}}, "has extinction for a, c, but the bands a, b"), ({"size": 100}, "default size 100"),
    ({"zero_point": {"a": 20.0}}, "has zero_point for a"), ({"sizes": None}, "without limits"),
    ({"layout": "own"}, "layout 'own'"),
    ({"ivar_sources": ()}, "no `ivar_sources`")])
def test_facts_that_do_not_fit_are_one_sentence(change, words):
    made()
    with pytest.raises(InputError, match=words) as error:
        made(**change)
    assert "\n" not in str(error.value)


def test_the_config_knows_what_the_registry_knows():
    keys = schema()["properties"]
    stamps, services = keys["stamps"]["properties"], keys["services"]["properties"]
    assert stamps["surveys"]["items"]["enum"] == sorted(survey.name for survey in SURVEYS)
    whole = config.complete({"run": "x", "archive": "embedded"})
    assert whole["stamps"]["sizes"] == {s.name: s.size for s in SURVEYS if s.size}
    assert whole["stamps"]["ivar_source"] == {"ps1": "estimated", "galex": "estimated", "unwise": "estimated"}
    for survey in SURVEYS:
        block = whole["services"][survey.service.name]
        assert all(block[key] == "" for key in survey.service.urls) and block["contact"] == ""
        assert services[survey.service.name]["properties"]["streams"]["maximum"] == survey.service.most_streams
    with pytest.raises(InputError, match=r"`stamps.sizes.ps1`: 5000 is greater"):
        config.complete({**LEAST, "stamps": {"surveys": ["ps1"], "sizes": {"ps1": 5000}}, "models": {}})
    with pytest.raises(InputError, match=r"`stamps.surveys.0` is 'ps2'; it must be one of 'galex', 'hsc'"):
        config.complete({**LEAST, "stamps": {"surveys": ["ps2"]}, "models": {}})


def test_public_addresses_stand_in_for_empty_ones_of_a_live_run():
    whole = config.complete({**LEAST, "services": {"viewer": {"url": "http://mine"}}})
    found = acquisition.services(whole)
    assert found["viewer"]["url"] == "http://mine" and found["ps1"] | dict(imaging.REGISTRY["ps1"].service.urls) == found["ps1"]
    assert not acquisition.services({**whole, "archive": "embedded"})["ps1"]["fitscut_url"]


def test_surveys_of_one_service_describe_it_alike(monkeypatch):
    assert imaging.REGISTRY["galex"].service is imaging.REGISTRY["unwise"].service
    other = made(service=dataclasses.replace(imaging.REGISTRY["galex"].service, rpm=9))
    monkeypatch.setattr(imaging, "REGISTRY", _Registry([*SURVEYS, other]))
    with pytest.raises(InputError, match="toy describes the service viewer otherwise"):
        acquisition.known_services()


class _Registry(dict):
    def __init__(self, surveys):
        super().__init__({survey.name: survey for survey in surveys})

    def values(self):
        return list(super().values())


@pytest.mark.parametrize(("service", "block", "expected"), [
    ("hsc", {"rpm": 30, "streams": 2}, (1, 15)), ("hsc", {"rpm": 30, "streams": 1}, (2, 30)), ("hsc", {"rpm": 1}, (2, 1)),
    ("ps1", {"rpm": 300, "streams": 6}, (1, 300)), ("viewer", {"rpm": 240, "streams": 1}, (1, 240))])
def test_jobs_of_a_service_together_keep_its_rate_and_streams(service, block, expected):
    """One stream is gentler than two: the job then takes all slots, and asks no faster than the config says."""
    whole = config.complete({**LEAST, "services": {service: block}})
    slots, rpm = acquisition.share(whole, service)
    most = acquisition.known_services()[service].slots
    assert (slots, rpm) == expected and (most // slots) * rpm <= max(whole["services"][service]["rpm"], most // slots)


@pytest.mark.parametrize(("surveys", "several", "largest"), [
    (["hsc"], False, 127 * 0.168), (["ps1"], True, 42.5), (["hsc", "ps1"], True, 42.5), (["ps1", "galex", "unwise"], True, 88.0)])
def test_layout_and_largest_stamp(surveys, several, largest):
    whole = config.complete({**LEAST, "stamps": {"surveys": surveys}, "models": {}})
    assert acquisition.several(whole) == several and acquisition.largest_stamp(whole) == pytest.approx(largest)


def test_flag_bits_stay_and_others_get_free_ones():
    ours = flags.flag_bits()
    assert [ours[f"{name}_not_ok"] for name in ("ps1", "galex", "unwise", "hsc")] == [17, 18, 19, 20]
    assert list(ours.values()) == list(range(22))
    more = flags.flag_bits(["ps1", "zoo", "abc"])
    assert more == {**ours, "abc_not_ok": 22, "zoo_not_ok": 23}
    with pytest.raises(InputError, match="zoo gets the flag bit 5, which means missing_magnitude"):
        flags.assigned({"zoo": 5})
    with pytest.raises(InputError, match="zoo gets the flag bit 22, which means a_not_ok"):
        flags.assigned({"a": 22, "zoo": 22})
    with pytest.raises(InputError, match="where all others are taken"):
        flags.assigned({f"s{k}": None for k in range(15)})


def test_the_client_of_one_request_an_object(tmp_path):
    """What a plug-in gets with two functions: the cache, bad replies asked again, statuses, the survey's own PSF."""
    from skyloom.archives.plane import Plane
    from skyloom.surveys.clients import Cubes

    def parse(body, ra, dec, size):
        if body.endswith(b"bad"):
            raise ReplyError("not_ours", "bad")
        plane = Plane(np.ones((size, size), np.float32), np.zeros((size, size), np.int32), np.zeros((size, size), bool),
                      np.ones((size, size)), 31.4, (ra, dec), ((size + 1) / 2,) * 2, np.diag([-0.5, 0.5]) / 3600)
        return {"a": plane, "b": None}

    survey = made(fwhm={"a": 1.0, "b": 2.0})
    asked = {"size": 16, "psf_size": 9, "max_nan_fraction": 0.01, "max_masked_fraction": 0.05, "ivar_source": "archive"}
    def params(ra, dec, size, weights):
        return {"ra": ra, "w": weights}

    cubes = Cubes(survey, asked, [150.0, 151.0], [2.0, 3.0], "toy", params, parse)
    assert cubes.keys == ["ra=150.0 w=True", "ra=151.0 w=True"]

    class Archive:
        def fetch(self, method, url, params):
            return b"good" if params["ra"] == 150.0 else b"SIMPLE  = another archive's, bad"

    with replies.Replies(tmp_path / "r.sqlite", "t") as cache:
        assert cubes.missing(cache) == 2
        assert not cubes.fetch(Archive(), {"url": "http://x"}, {"attempts": 2, "streams": 1}, cache, None)
        stamps, kernels, digests = cubes.stamps(0, cache, {})
        assert [s.status for s in stamps] == ["ok", "no_coverage"] and np.allclose(stamps[0].image, 1) and digests[0]
        assert [k.sum() for k in kernels] == pytest.approx([1, 1]) and kernels[0].max() > kernels[1].max()
        assert [s.cause for s in cubes.stamps(1, cache, {})[0]] == ["not_ours: bad"] * 2
    assert np.isnan(Cubes(made(), asked, [], [], "toy", params, parse).kernels()[0]).all()  # no width is known: no PSF


def test_another_layer_of_the_viewer_is_a_few_facts(sky, tmp_path):
    """One band, which the server sends as an image: the same pixels as in the survey of two bands."""
    w1 = made(name="wone", bands={"w": 3368.2}, scale=2.75, zero_point={"w": 25.199}, service=viewer.SERVICE,
              client=viewer.Layer("unwise-neo7", "unWISE", "1", ("", "vega nanomaggy", "nanomaggy")))
    asked = {"size": 16, "psf_size": 9, "max_nan_fraction": 0.01, "max_masked_fraction": 0.05, "ivar_source": "archive"}
    images = []
    with world.server(sky).running() as server:
        for survey in (w1, imaging.REGISTRY["unwise"]):
            made_of = survey.cutouts(asked, [150.1], [2.1])
            with replies.Replies(tmp_path / f"{survey.name}.sqlite", "t") as cache:
                urls, limits = world.urls(server.url)["viewer"], {"attempts": 2, "streams": 1}
                assert not made_of.fetch(Client(rpm=60000), urls, limits, cache, None)
                images.append(made_of.stamps(0, cache, {})[0][0])
    assert images[0].status == images[1].status == "ok" and np.array_equal(images[0].image, images[1].image)
    assert np.array_equal(images[0].ivar, images[1].ivar)


@pytest.mark.parametrize("survey", SURVEYS, ids=[survey.name for survey in SURVEYS])
def test_the_docs_state_the_registrys_facts(survey):
    rows = [line for line in (ROOT / "docs" / "multi_survey.md").read_text(encoding="utf-8").splitlines()
            if line.startswith(f"| `{survey.name}` |")]
    page = "\n".join(rows)
    service = f"services.{survey.service.name}"
    for fact in (" ".join(survey.bands), f'{survey.scale:g}"', survey.licence, survey.citation, service):
        assert fact in page, f"{fact}: run python docs/make_tables.py"
