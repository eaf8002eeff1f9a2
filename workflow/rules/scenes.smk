"""Scenes: tiles of the sky and what is in them. A run without `scenes.survey` has none of these rules."""

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


if SCENES["survey"]:

    rule fetch_scenes:
        """The tiles of one shard; raw replies stay in cache/, which Snakemake neither declares nor deletes."""
        input:
            manifest=[config["local"]["images"]] if OWN_IMAGES else [],
            images=ancient(scene_image_files),
        output:
            scenes=f"{RESULTS}/scenes/{SCENES['survey']}/{{scene}}.h5",
        log:
            f"logs/{RUN}/fetch_scenes/{{scene}}.log",
        benchmark:
            f"logs/{RUN}/fetch_scenes/{{scene}}.benchmark.tsv"
        retries: 1
        conda:
            "../../envs/core.yaml"
        resources:
            **({f"{scene_service()}_slots": job_slots(scene_service())} if scene_service() else {}),
            mem_mb=1000,
            rpm=acquisition.share(config, scene_service())[1] if scene_service() else 60,
        params:
            settings=scene_settings,
            code=fingerprint("fetch-scenes", *scene_survey_modules()),
            survey=SCENES["survey"],
            source=scene_source,
            images=lambda wildcards: (
                contents.state(scene_images(), Path(CACHE) / "local" / "contents.json") if OWN_IMAGES else ""
            ),
        shell:
            "python -m skyloom fetch-scenes --settings {params.settings:q} --shard {wildcards.scene:q} "
            "--survey {params.survey:q} {params.source:q} --rpm {resources.rpm:q} --out {output.scenes:q} 2> {log:q}"


if SCENES["survey"] and CATALOGED and scene_service():

    rule query_objects:
        """The archive's object catalog where a part's tiles lie."""
        input:
            template=SCENES["template"],
        output:
            objects=f"{RESULTS}/scenes/objects/{{part}}.parquet",
        log:
            f"logs/{RUN}/query_objects/{{part}}.log",
        retries: 1
        conda:
            "../../envs/core.yaml"
        resources:
            **({f"{scene_service()}_slots": job_slots(scene_service())} if scene_service() else {}),
            mem_mb=2500,
            rpm=acquisition.share(config, scene_service())[1] if scene_service() else 60,
        params:
            settings=object_settings,
            survey=SCENES["survey"],
            code=fingerprint("query-objects", *scene_survey_modules()),
        shell:
            "python -m skyloom query-objects --settings {params.settings:q} --survey {params.survey:q} "
            "--template {input.template:q} --rpm {resources.rpm:q} --out {output.objects:q} 2> {log:q}"


if SCENES["survey"] and LABELS_KNOWN:

    rule label_scenes:
        """What is in the tiles of one shard."""
        input:
            scenes=f"{RESULTS}/scenes/{SCENES['survey']}/{{scene}}.h5",
            objects=lambda wildcards: (
                f"{RESULTS}/scenes/objects/{scene_part(wildcards)}.parquet"
                if CATALOGED and scene_service()
                else []
            ),
            specz=f"{RESULTS}/specz/selected.parquet" if CATALOGED else [],
        output:
            **({"truth": f"{RESULTS}/scenes/truth/{{scene}}.parquet"} if KNOWN_TRUTH else {}),
            labels=f"{RESULTS}/scenes/labels/{{scene}}.h5",
            table=f"{RESULTS}/scenes/labels/{{scene}}.parquet",
        log:
            f"logs/{RUN}/label_scenes/{{scene}}.log",
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=1000,
        params:
            settings=label_settings(),
            code=fingerprint("label-scenes"),
            truth=lambda wildcards, output: option("--truth", output.truth if KNOWN_TRUTH else ""),
            catalog=lambda wildcards, input: (
                option("--objects", input.objects) + option("--specz", input.specz)
            ),
        shell:
            "python -m skyloom label-scenes {input.scenes:q} --settings {params.settings:q} --labels {output.labels:q} "
            "--table {output.table:q} {params.truth:q} {params.catalog:q} 2> {log:q}"
