rule assign_splits:
    """Training, validation and testing of the whole sample; what is lost; the leak report."""
    input:
        members=members,
        cutouts=cutout_files,
    output:
        splits=f"{RESULTS}/dataset/splits.parquet",
        lost=f"{RESULTS}/dataset/lost.parquet",
        leaks=f"{RESULTS}/dataset/leaks.csv",
    log:
        f"logs/{RUN}/assign_splits.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1500,
    params:
        settings=split_settings(),
        code=fingerprint("assign-splits"),
    shell:
        "python -m skyloom assign-splits --settings {params.settings:q} --members {input.members:q} "
        "--cutouts {input.cutouts:q} --splits {output.splits:q} --lost {output.lost:q} --leaks {output.leaks:q} 2> {log:q}"


if MULTI:

    rule pack_multi:
        """One split of a multi-survey run: a group of stamps a survey, one dataset a column."""
        input:
            splits=f"{RESULTS}/dataset/splits.parquet",
            members=members,
            cutouts=cutout_files,
            dust=dust_files,
            photometry=photometry_files,
            structure=structure_files,
        output:
            hdf5=f"{RESULTS}/dataset/multi_{{split}}.hdf5",
            csv=f"{RESULTS}/dataset/multi_{{split}}.csv",
        log:
            f"logs/{RUN}/pack_multi/{{split}}.log",
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=1000,
        params:
            settings=split_settings(),
            code=fingerprint("pack-multi"),
            surveys=SURVEYS,
        shell:
            "python -m skyloom pack-multi --settings {params.settings:q} --splits {input.splits:q} "
            "--members {input.members:q} --surveys {params.surveys:q} --cutouts {input.cutouts:q} --dust {input.dust:q} "
            "--photometry {input.photometry:q} --structure {input.structure:q} --split {wildcards.split:q} --hdf5 {output.hdf5:q} --csv {output.csv:q} 2> {log:q}"

else:

    rule pack:
        """One split at one stamp size in GalaxiesML's layout (size 0: tables without images)."""
        input:
            splits=f"{RESULTS}/dataset/splits.parquet",
            members=members,
            cutouts=cutout_files,
            morphology=morphology_files,
            structure=structure_files,
        output:
            hdf5=f"{PACKED}.hdf5",
            csv=f"{PACKED}.csv",
        log:
            f"logs/{RUN}/pack/{{split}}{PACK_LOG}.log",
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=1200,
        params:
            settings=split_settings(),
            code=fingerprint("pack"),
            size=packed_size,
        shell:
            "python -m skyloom pack --settings {params.settings:q} --splits {input.splits:q} --members {input.members:q} "
            "--cutouts {input.cutouts:q} --morphology {input.morphology:q} --structure {input.structure:q} "
            "--split {wildcards.split:q} --size {params.size:q} "
            "--hdf5 {output.hdf5:q} --csv {output.csv:q} 2> {log:q}"
