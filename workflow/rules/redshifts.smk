# A compilation of spectroscopic surveys takes the place of `query` and `cut` for the sample with redshifts.
if COMPILED:

    localrules:
        query_survey,

    rule query_survey:
        """One spectroscopic survey's rows in its own columns; files that it publishes stay in cache/."""
        output:
            rows=f"{RESULTS}/specz/surveys/{{survey}}.parquet",
        log:
            f"logs/{RUN}/query_survey/{{survey}}.log",
        retries: 1
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=2500,
            rpm=lambda wildcards: config["services"][spectro.REGISTRY[wildcards.survey].service.name]["rpm"],
        params:
            settings=survey_settings,
            code=lambda wildcards: fingerprint("query-survey", spectro.REGISTRY.modules[wildcards.survey]),
            folder=f"{CACHE}/specz",
        shell:
            "python -m skyloom query-survey --survey {wildcards.survey:q} "
            "--settings {params.settings:q} --folder {params.folder:q}/{wildcards.survey:q} --rpm {resources.rpm:q} "
            "--out {output.rows:q} > {log:q} 2>&1"

    rule compile_redshifts:
        """All surveys in common columns: quality cuts, overrides, one redshift an object, conflicts recorded."""
        input:
            tables=expand(f"{RESULTS}/specz/surveys/{{survey}}.parquet", survey=config["query"]["surveys"]),
            overrides=[config["query"]["overrides"]] if config["query"]["overrides"] else [],
        output:
            raw=f"{RESULTS}/specz/raw.parquet",
            selected=f"{RESULTS}/specz/selected.parquet",
            rejected=f"{RESULTS}/specz/rejected.parquet",
            counts=report(f"{RESULTS}/specz/cuts.csv", category="Sample", labels={"sample": "specz"}),
            conflicts=report(f"{RESULTS}/specz/conflicts.csv", category="Sample"),
        log:
            f"logs/{RUN}/compile_redshifts.log",
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=2500,
        params:
            settings=compile_settings(),
            code=fingerprint(
                "compile-redshifts", *(spectro.REGISTRY.modules[name] for name in config["query"]["surveys"])
            ),
            overrides=lambda wildcards, input: option("--overrides", input.overrides),
        shell:
            "python -m skyloom compile-redshifts {input.tables:q} --settings {params.settings:q} {params.overrides:q} "
            "--raw {output.raw:q} --selected {output.selected:q} --rejected {output.rejected:q} "
            "--counts {output.counts:q} --conflicts {output.conflicts:q} 2> {log:q}"
