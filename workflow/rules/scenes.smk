# Tiles of the sky and what is in them. A run without `scenes.survey` has none of these rules.
if SCENES["survey"]:

    localrules:
        fetch_scenes,

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
