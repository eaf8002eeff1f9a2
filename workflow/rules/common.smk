"""The configuration and the lists of files that it implies."""

import json
import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "src"))
from skyloom import config as skyloom_config
from skyloom import acquisition, trainings
from skyloom.provenance.canonical import canonical, digest
from skyloom.errors import InputError
from skyloom.provenance.fingerprint import fingerprint
from skyloom.sample.plan import read_plan, shipped
from skyloom.surveys import spectro

# A recipe given with --configfile is a whole configuration; config.yaml is the one used without.
if not workflow.configfiles:

    configfile: "config.yaml"


try:
    config = skyloom_config.complete(config)
except InputError as error:
    raise WorkflowError(f"skyloom: {error}")

RUN = config["run"]
RESULTS = f"results/{RUN}"
CACHE = f"cache/{RUN}"
# Local images without a table have no redshifts: they are targets, up to the dataset.
LABELLED = config["archive"] != "local" or "training" in config["local"]["tables"]
SAMPLES = (["specz"] if LABELLED else []) + (
    ["targets"] if config["targets"]["kind"] != "none" or not LABELLED else []
)
SPLITS = (["training", "validation", "testing"] if LABELLED else []) + (
    ["target"] if "targets" in SAMPLES else []
)
IMAGES = config["archive"] != "local" or bool(config["local"]["images"])
# The imaging surveys of the run; GalaxiesML's is the case of one.
SURVEYS = ["local"] if config["archive"] == "local" else config["stamps"]["surveys"]
MULTI = SURVEYS not in (["local"], ["hsc"])
SERVICE = SURVEYS[0]
COMPILED = config["query"]["kind"] == "compilation" and config["archive"] != "local"
MODELS = sorted(config["models"])
FUSIONS = [model for model in MODELS if trainings.is_fusion(model)]
WITH_PZ = [model for model in MODELS if trainings.has_pz(model, config["models"][model])]
MODEL_SURVEYS = {model: trainings.surveys_of(model, config["models"][model]) for model in FUSIONS}
SWEEP = trainings.sweep(config["models"], config["sweep"])
SEEDS = config["train"]["seeds"]
# The name of the evaluation table where it is one that is set aside for the end.
FINAL = os.path.basename(config["local"]["tables"].get("evaluation", "").split(":")[0])
FINAL = FINAL if FINAL in config["evaluation"]["final_files"] else ""
PEERS = [*config["peers"]["models"], *sorted(config["peers"]["tables"])] if LABELLED else []
EMBEDDED = {k: v for k, v in config["embedded"].items() if k != "faults"}

# Rates, addresses and faults reach the jobs through the environment: changing one reruns nothing.
os.environ.update(
    SKYLOOM_SERVICES=json.dumps(acquisition.services(config)),
    SKYLOOM_JOBS_LOCK=os.path.abspath(f"{RESULTS}/.jobs.lock"),
)

PLAN = Path(f"{RESULTS}/shards/plan.tsv")
SHIPPED = shipped(RUN, config["query"]["region"])
PLANNED = PLAN if PLAN.exists() else SHIPPED
if PLANNED:
    SHARDS = read_plan(PLANNED.read_text())
elif config["archive"] == "local":
    SHARDS = [f"h{config['local']['n_shards']}_{k}" for k in range(config["local"]["n_shards"])]
else:
    SHARDS = None


def shards(wildcards=None):
    """The shard names, or the sentence that says how to get them."""
    if SHARDS is None:
        raise WorkflowError(f"skyloom: run {RUN} has no shard plan yet; make it with `snakemake plan`")
    return SHARDS


def members(wildcards=None):
    return expand(f"{RESULTS}/shards/{{shard}}.parquet", shard=shards())


def members_if_planned(wildcards):
    return members() if SHARDS else []


def cutout_files(wildcards=None):
    return (
        expand(f"{RESULTS}/cutouts/{{survey}}/{{shard}}.h5", survey=SURVEYS, shard=shards()) if IMAGES else []
    )


def dust_files(wildcards=None):
    return expand(f"{RESULTS}/dust/{{shard}}.parquet", shard=shards()) if config["dust"]["maps"] else []


def photometry_files(wildcards=None):
    return expand(f"{RESULTS}/photometry/{{shard}}.parquet", shard=shards())


def morphology_files(wildcards=None):
    return expand(f"{RESULTS}/morphology/{{shard}}.parquet", shard=shards()) if IMAGES and not MULTI else []


def count_bands():
    """Bands of the stamps: five of HSC, or those that the manifest of local images names."""
    if config["archive"] != "local" or not config["local"]["images"]:
        return 5
    import csv

    with open(config["local"]["images"]) as handle:
        return len({row.get("band") for row in csv.DictReader(handle, skipinitialspace=True)})


NBANDS = count_bands()


PACK_SIZE = "_{size}" if IMAGES else ""


def dataset_name(split, size):
    """Path without suffix of one split's file: image files carry bands and size in their name."""
    if MULTI:
        return f"{RESULTS}/dataset/multi_{split}"
    if not IMAGES:
        return f"{RESULTS}/dataset/table_{split}"
    return f"{RESULTS}/dataset/{NBANDS}x{size}x{size}_{split}_with_morphology"


SIZES = config["stamps"]["packed"] if IMAGES else [0]


def dataset_files(wildcards=None):
    if MULTI:
        return [f"{RESULTS}/dataset/multi_{s}.{suffix}" for s in SPLITS for suffix in ("hdf5", "csv")]
    return [f"{dataset_name(s, n)}.{suffix}" for n in SIZES for s in SPLITS for suffix in ("hdf5", "csv")]


def attribution_figure():
    return [f"{RESULTS}/evaluation/attribution.png"] if config["attribution"]["models"] else []


def fusion_tables():
    """What a multi-survey run tells about its networks besides their metrics."""
    hiding = [
        model
        for model in FUSIONS
        if config["models"][model].get("survey_dropout") and len(MODEL_SURVEYS[model]) > 1
    ]
    out = expand(f"{RESULTS}/models/{{model}}/seed{{seed}}/degradation.csv", model=hiding, seed=SEEDS)
    out += [f"{RESULTS}/evaluation/attribution.csv"] if config["attribution"]["models"] else []
    return out + ([f"{RESULTS}/evaluation/sweep.csv"] if SWEEP else [])


# Samples that one archive answers; a compilation of surveys is made by its own rules.
ASKED = "targets" if COMPILED else "specz|targets"


wildcard_constraints:
    sample=ASKED,
    shard=r"[sh]\d+_\d+",
    survey="[a-z0-9]+",
    map="[a-z0-9]+",
    split="training|validation|testing|target",
    size=r"\d+",
    model="[a-z0-9_]+",
    seed=r"\d+",
