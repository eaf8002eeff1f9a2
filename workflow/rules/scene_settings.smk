"""Settings and files of scenes: tiles of the sky, what is in them, who judges what was found. A run without `scenes.survey` has none."""

from skyloom.sample import scenes

SCENES = config["scenes"]
SCENE_SCALE = acquisition.scene_scale(config) if SCENES["survey"] else None
# Known from the config alone: a shard holds so many tiles of one part.
SCENE_SHARDS = scenes.shards(SCENES, SCENE_SCALE) if SCENES["survey"] else []
SCENE_PARTS = [part for part in scenes.PARTS if part in SCENES["parts"]]


def scene_shards(parts=scenes.PARTS):
    """Names of the shards of some parts."""
    return [shard for shard in SCENE_SHARDS if shard.rsplit("_", 1)[0] in parts]


def scene_files(parts=scenes.PARTS):
    return expand(f"{RESULTS}/scenes/{SCENES['survey']}/{{scene}}.h5", scene=scene_shards(parts))


def scene_labels(parts=scenes.PARTS, suffix="h5"):
    """What is in the tiles, to learn from; none for images of the user's own without a table of redshifts."""
    return expand(
        f"{RESULTS}/scenes/labels/{{scene}}.{suffix}", scene=scene_shards(parts if LABELS_KNOWN else ())
    )


def scene_truth(parts=scenes.PARTS):
    """What really is in the tiles; only the embedded sky tells."""
    return expand(
        f"{RESULTS}/scenes/truth/{{scene}}.parquet", scene=scene_shards(parts if KNOWN_TRUTH else ())
    )


def scene_service():
    return "" if config["archive"] == "local" else imaging.REGISTRY[SCENES["survey"]].service.name


def scene_survey_modules():
    """The module that decides a survey's tiles; none for images of the user's own."""
    return [imaging.REGISTRY.modules[SCENES["survey"]]] if scene_service() else []


def scene_part(wildcards):
    """The part that a shard belongs to."""
    return wildcards.scene.rsplit("_", 1)[0]


def scene_settings(wildcards):
    """What the tiles of a part depend on: its own box, not the others'."""
    part = scene_part(wildcards)
    own = {key: SCENES[key] for key in ("side", "overlap", "tiles_per_shard")}
    own |= {"parts": {part: SCENES["parts"][part]}, "pixel_scale": SCENE_SCALE}
    origin = archive_identity(scene_service())
    stamps = acquisition.stamp_settings(config["stamps"], SCENES["survey"], config["query"]["rerun"], origin)
    return settings(**{key: stamps[key] for key in SCENE_STAMPS if key in stamps}, **own)


SCENE_STAMPS = ("psf_size", "max_failed_fraction", "ivar_source", "rerun", "identity")
KNOWN_TRUTH = config["archive"] == "embedded"


def label_settings():
    """What the labels depend on besides the tiles."""
    own = {key: SCENES[key] for key in ("labels", "least_snr", "star_redshifts", "match_arcsec")}
    return settings(**own, embedded=EMBEDDED, identity=archive_identity(scene_service()))


def object_settings(wildcards):
    """What the archive's catalog of a part depends on: a rim of a tile about its box, because tiles may reach out of it."""
    rim = SCENES["side"] * SCENE_SCALE / 3600
    wide = scenes.wider(SCENES["parts"][wildcards.part], rim)
    own = {"region": wide, "rerun": config["query"]["rerun"], "identity": archive_identity(scene_service())}
    return settings(**own)


CATALOGED = SCENES["labels"] == "catalog"
# Images of the user's own without a table of redshifts can be searched, not learned from.
LABELS_KNOWN = LABELLED


def scene_images():
    """Every file of the user's own that tiles are cut from; what isn't there costs its own tiles."""
    from skyloom.archives import manifest

    rows = manifest_rows() if OWN_IMAGES else []
    named = sorted({row[name] for row in rows for name in manifest.PATHS if row[name]})
    return [path.removeprefix(os.getcwd() + os.sep) for path in named]


def scene_image_files(wildcards):
    return [path for path in scene_images() if os.path.exists(path) and not {"{", "}"} & set(path)]


def scene_source(wildcards):
    """Where a shard's tiles come from."""
    return option("--manifest", config["local"]["images"] if OWN_IMAGES else "") or option(
        "--cache", f"{CACHE}/scenes/{wildcards.scene}.sqlite"
    )


CLASSICAL = trainings.CLASSICAL
# Names of files that the verbs put together themselves.
SCENE_TABLES = ["detection", "paired", "groups", "thresholds", "bars"]
REDSHIFT_TABLES = ["redshifts", "redshifts_paired", "second_peak", "redshift_bars"]
JUDGED = ON_SCENES and KNOWN_TRUTH and {"validation", "testing"} <= set(SCENES["parts"])


def tuning_settings():
    """What the classical chain is tuned by."""
    own = {key: SCENES[key] for key in ("gold", "least_snr", "labels")}
    return settings(seed=config["seed"], options=DETECTORS[CLASSICAL], **own)


def judging_settings(what, **more):
    """The detectors, the one that is the standard, and the sources that count; what a look at testing is counted as."""
    own = {key: SCENES[key] for key in ("gold", "least_snr", "detector")}
    own |= {"detectors": sorted(DETECTORS, key=lambda name: name != DETECTOR), "against": CLASSICAL}
    own |= {
        "bands": list(imaging.REGISTRY[SCENES["survey"]].bands),
        "bootstrap": config["evaluation"]["bootstrap"],
    }
    own |= {"table": f"{FINAL} ({what})", "config_hash": science_hash()} if FINAL else {}
    return settings(seed=config["seed"], **own, **more)


def scene_tables(names):
    """Files of tables of judging; who detects what is in `detection.csv`."""
    return [f"{RESULTS}/evaluation/{name if name == 'detection' else f'scenes_{name}'}.csv" for name in names]


def judged_scenes():
    """The tables of judging that a run ends with."""
    found = SCENE_TABLES + (REDSHIFT_TABLES if WITH_PZ else []) if JUDGED else []
    return scene_tables(found)


def judged_files(parts, end=".parquet"):
    """What every detector found in some parts."""
    return expand(f"{RESULTS}/detections/{{name}}/{{scene}}{end}", name=DETECTORS, scene=scene_shards(parts))


def catalog_columns():
    """What a catalog of sources found in scenes has besides."""
    found = [
        "tile_id",
        "score",
        "p_star",
        "snr",
        "detect_flags",
        "half_light_radius*",
        "?_flux",
        "?_flux_err",
    ]
    return {"columns": found} if ON_SCENES else {}


def detection_files(detector, end=".parquet"):
    return expand(f"{RESULTS}/detections/{detector}/{{scene}}{end}", scene=scene_shards())


def network_settings(wildcards):
    """A network of scenes with its options, and what of the block `scenes` decides its losses."""
    own = {key: config["scenes"][key] for key in ("gold", "star_redshifts", "least_snr", "labels")}
    return settings(
        "train",
        model=wildcards.model,
        seed=int(wildcards.seed),
        options=NETWORKS[wildcards.model],
        scenes=own,
    )


def detection_settings():
    """Which labels give a redshift."""
    own = {key: config["scenes"][key] for key in ("gold", "least_snr", "detector", "match_arcsec")}
    own |= {key: config["cuts"][key] for key in ("z_min", "z_max")}
    return settings(**own)
