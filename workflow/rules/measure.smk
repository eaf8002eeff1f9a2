rule measure:
    """Morphology of one shard: sep on every band, then the Sersic fits."""
    input:
        cutouts=f"{RESULTS}/cutouts/{SERVICE}/{{shard}}.h5",
        kernel=config["morphology"]["filter"],
    output:
        morphology=f"{RESULTS}/morphology/{{shard}}.parquet",
    log:
        f"logs/{RUN}/measure/{{shard}}.log",
    benchmark:
        f"logs/{RUN}/measure/{{shard}}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=700,
    params:
        settings=settings("morphology"),
        code=fingerprint("measure"),
    shell:
        "python -m skyloom measure {input.cutouts:q} --settings {params.settings:q} --kernel {input.kernel:q} "
        "--out {output.morphology:q} 2> {log:q}"


rule measure_structure:
    """PSF-matched annuli and bulge + disc fits of one shard's stamps from a survey that gives a PSF."""
    input:
        cutouts=f"{RESULTS}/cutouts/{{survey}}/{{shard}}.h5",
    output:
        structure=f"{RESULTS}/structure/{{survey}}/{{shard}}.parquet",
    log:
        f"logs/{RUN}/measure_structure/{{survey}}_{{shard}}.log",
    benchmark:
        f"logs/{RUN}/measure_structure/{{survey}}_{{shard}}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=700,
    params:
        settings=settings("structure"),
        code=fingerprint("measure-structure"),
    shell:
        "python -m skyloom measure-structure {input.cutouts:q} --settings {params.settings:q} --survey {wildcards.survey:q} "
        "--out {output.structure:q} 2> {log:q}"


rule measure_photometry:
    """Kron or forced magnitudes of one shard's targets in every band of every imaging survey."""
    input:
        cutouts=expand(f"{RESULTS}/cutouts/{{survey}}/{{{{shard}}}}.h5", survey=SURVEYS),
    output:
        photometry=f"{RESULTS}/photometry/{{shard}}.parquet",
    log:
        f"logs/{RUN}/measure_photometry/{{shard}}.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=700,
    params:
        settings=settings(),
        code=fingerprint("measure-photometry", *SURVEY_MODULES),
    shell:
        "python -m skyloom measure-photometry {input.cutouts:q} --settings {params.settings:q} "
        "--out {output.photometry:q} 2> {log:q}"
