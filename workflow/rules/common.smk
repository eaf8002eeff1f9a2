"""The configuration and the lists of files that it implies."""

import functools
import json
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
SOURCE = str(ROOT / "src")
# Beside a checkout's Snakefile lies its package; jobs in an environment of --sdm conda, in a container or on a node find it
# by PYTHONPATH. Where the package was installed from a wheel there is none to add.
if os.path.isdir(f"{SOURCE}/skyloom"):
    sys.path.insert(0, SOURCE)
    environment = os.environ
    others = environment.get("PYTHONPATH", "").split(os.pathsep)
    if SOURCE not in others and os.pathsep not in SOURCE:
        environment["PYTHONPATH"] = os.pathsep.join([SOURCE, *filter(None, others)])

from skyloom import config as skyloom_config
from skyloom import acquisition, textfiles, trainings
from skyloom.archives.paths import split_path
from skyloom.provenance import contents
from skyloom.provenance.canonical import canonical, digest
from skyloom.errors import InputError
from skyloom.models import families
from skyloom.provenance.fingerprint import fingerprint
from skyloom.release import exporters
from skyloom.sample.plan import read_plan, shipped
from skyloom.surveys import imaging, spectro

# A recipe given with --configfile is a whole configuration; config.yaml is the one used without.
if not workflow.configfiles:

    configfile: "config.yaml"


try:
    config = skyloom_config.complete(config)
    skyloom_config.check_files(config)
except InputError as error:
    raise WorkflowError(f"skyloom: {error}")

RUN = config["run"]
RESULTS = f"results/{RUN}"
CACHE = f"cache/{RUN}"
# Scenes: the objects are the sources that a detector finds, the dataset a table of what it measures.
ON_SCENES = bool(config["scenes"]["survey"])
# Local images without a table have no redshifts: they are targets, up to the dataset.
LABELLED = config["archive"] != "local" or "training" in config["local"]["tables"]
SAMPLES = (["found" if ON_SCENES else "specz"] if LABELLED else []) + (
    ["targets"] if ON_SCENES or config["targets"]["kind"] != "none" or not LABELLED else []
)
SPLITS = (["training", "validation", "testing"] if LABELLED else []) + (
    ["target"] if "targets" in SAMPLES else []
)
IMAGES = not ON_SCENES and (config["archive"] != "local" or bool(config["local"]["images"]))
# The imaging surveys of the run; GalaxiesML's is the case of one.
SURVEYS = ["local"] if config["archive"] == "local" else config["stamps"]["surveys"]
SERVICE = SURVEYS[0]
# A group of stamps a survey in dataset/multi_{split}.hdf5; else GalaxiesML's layout, with morphology.
MULTI = not ON_SCENES and acquisition.several(config)
# Modules whose facts the jobs use by name.
SURVEY_MODULES = [] if config["archive"] == "local" else [imaging.REGISTRY.modules[name] for name in SURVEYS]
# Services that hand out stamps, in this run. A service that the profile gives no slots works on as many shards as it says.
SERVICES = (
    [] if config["archive"] == "local" else sorted({imaging.REGISTRY[name].service.name for name in SURVEYS})
)
SCENE_SURVEYS = {config["scenes"]["survey"]} - {"", "local"}
for service in {*SERVICES, *(imaging.REGISTRY[name].service.name for name in SCENE_SURVEYS)}:
    if f"{service}_slots" not in workflow.global_resources:
        workflow.register_resource(f"{service}_slots", acquisition.known_services()[service].slots)
COMPILED = config["query"]["kind"] == "compilation" and config["archive"] != "local"
# Networks among the detectors are trained on scenes, at the first seed; the one whose sources count is a model of the run.
DETECTORS = config["scenes"]["detectors"] if ON_SCENES else {}
DETECTOR = config["scenes"]["detector"]
NETWORKS = trainings.networks(DETECTORS)
MODELS = sorted([*config["models"], *(name for name in NETWORKS if name == DETECTOR)])
SWEEP = trainings.sweep(config["models"], config["sweep"])
LEARNING = trainings.learning(config["models"], config["learning"])
# Stacks of the same sizes: no trainings.
STACKED = [name for name in trainings.points(config["learning"]) if name not in LEARNING]
TRAINED = {**config["models"], **SWEEP, **LEARNING, **NETWORKS}
FAMILIES = {model: families.of(model) for model in TRAINED}
# Models that learn from the packed dataset.
TABLED = rf"(?!(?:{'|'.join(NETWORKS)})/)[a-z0-9_]+" if NETWORKS else "[a-z0-9_]+"
OPTIONS = {model: FAMILIES[model].options(given) for model, given in TRAINED.items()}
FUSIONS = [model for model in MODELS if FAMILIES[model].reads == "surveys"]
WITH_PZ = [model for model in MODELS if FAMILIES[model].gives_pz(OPTIONS[model])]
# Models with p(z) that learned from `select`, where models are judged.
LEARNED = [model for model in WITH_PZ if getattr(OPTIONS[model], "refit", False)]
STACK = ["stack"] if config["stack"]["models"] else []
WITH_PZ += STACK
# Whether a model stands for z_phot: one that is named, the only one, or the best of those that can be judged.
Z_PHOT = trainings.stands(config["release"]["z_phot"], WITH_PZ, LEARNED)
MODEL_SURVEYS = {model: list(FAMILIES[model].surveys(OPTIONS[model])) for model in FUSIONS}
SEEDS = config["train"]["seeds"]
# The name of the evaluation table where it is one that is set aside for the end.
FINAL = os.path.basename(split_path(config["local"]["tables"].get("evaluation", ""))[0])
FINAL = FINAL if FINAL in config["evaluation"]["final_files"] else ""
# A run without tables has its own testing split for the end.
FINAL = "testing" if config["evaluation"]["final"] and config["archive"] != "local" else FINAL
PEERS = [*config["peers"]["models"], *sorted(config["peers"]["tables"])] if LABELLED else []
FORMATS = exporters.chosen(config["release"]["formats"])
EMBEDDED = acquisition.sky_options(config["embedded"])

# Rates, addresses and faults reach the jobs through the environment: changing one reruns nothing.
os.environ.update(
    SKYLOOM_SERVICES=json.dumps(acquisition.services(config)),
    PYTHONUTF8="1",  # a job reads and writes UTF-8 whatever the locale
    SKYLOOM_JOBS_LOCK=os.path.abspath(f"{RESULTS}/.jobs.lock"),
)

PLAN = Path(f"{RESULTS}/shards/plan.tsv")
SHIPPED = shipped(RUN, config["query"]["region"])
PLANNED = PLAN if PLAN.exists() else SHIPPED
if PLANNED:
    SHARDS = read_plan(textfiles.read(PLANNED))
elif config["archive"] == "local" or ON_SCENES:
    SHARDS = [f"h{config['local']['n_shards']}_{k}" for k in range(config["local"]["n_shards"])]
else:
    SHARDS = None


def option(flag, value):
    """The words of an optional argument, none without a value; every shell command quotes them with `:q`."""
    values = [value] if isinstance(value, (str, Path)) else list(value)
    return [flag, *map(str, values)] if any(values) else []


def shards(wildcards=None):
    """The shard names, or the sentence that says how to get them."""
    if SHARDS is None:
        raise WorkflowError(f"skyloom: run {RUN} has no shard plan yet; make it with `snakemake plan`")
    return SHARDS


def members(wildcards=None):
    return expand(f"{RESULTS}/shards/{{shard}}.parquet", shard=shards())


def members_if_planned(wildcards):
    return members() if SHARDS and not ON_SCENES else []


def cutout_files(wildcards=None):
    return (
        expand(f"{RESULTS}/cutouts/{{survey}}/{{shard}}.h5", survey=SURVEYS, shard=shards()) if IMAGES else []
    )


def dust_files(wildcards=None):
    return expand(f"{RESULTS}/dust/{{shard}}.parquet", shard=shards()) if config["dust"]["maps"] else []


# Surveys whose stamps have a PSF of their own; which of the user's images have one, their stamps tell.
STRUCTURED = [name for name in SURVEYS if name == "local" or imaging.REGISTRY[name].own_psf]
STRUCTURED = STRUCTURED if IMAGES and config["structure"]["measure"] else []


def structure_files(wildcards=None):
    return expand(f"{RESULTS}/structure/{{survey}}/{{shard}}.parquet", survey=STRUCTURED, shard=shards())


def photometry_files(wildcards=None):
    return expand(f"{RESULTS}/photometry/{{shard}}.parquet", shard=shards())


def morphology_files(wildcards=None):
    return expand(f"{RESULTS}/morphology/{{shard}}.parquet", shard=shards()) if IMAGES and not MULTI else []


@functools.cache
def manifest_rows():
    """The manifest of local images, read when jobs are planned, never while the Snakefile is parsed; empty where it can't be
    read: the first verb that reads it says why."""
    from skyloom.archives import manifest

    try:
        return manifest.entries(config["local"]["images"])
    except InputError:
        return []


def count_bands():
    """Bands of the stamps: the survey's, or those that the manifest of local images names."""
    if config["archive"] != "local":
        return len(imaging.REGISTRY[SERVICE].bands)
    return len({row["band"] for row in manifest_rows()})


OWN_IMAGES = config["archive"] == "local" and bool(config["local"]["images"])


def dataset_name(split, size, bands=None):
    """Path without suffix of one split's file: image files carry bands and size in their name.

    Without `bands` it is for functions that run when jobs are planned, since they may have to look into the manifest.
    """
    if MULTI:
        return f"{RESULTS}/dataset/multi_{split}"
    if not IMAGES:
        return f"{RESULTS}/dataset/table_{split}"
    return f"{RESULTS}/dataset/{bands or count_bands()}x{size}x{size}_{split}_with_morphology"


# How many bands the user's own images have is in the name that is asked for.
PACKED = dataset_name("{split}", "{size}", "{bands}" if OWN_IMAGES else None)
PACK_LOG = ("_{bands}x{size}" if OWN_IMAGES else "_{size}") if IMAGES else ""
SIZES = config["stamps"]["packed"] if IMAGES else [0]


def packed(splits):
    """Input function: the files of the given splits (names, or patterns of wildcards) at the smallest size."""
    return lambda wildcards: [f"{dataset_name(s.format(**wildcards), min(SIZES))}.hdf5" for s in splits]


def packed_size(wildcards):
    """The size that is asked for; a sentence where the name asks for other bands than the manifest has."""
    if OWN_IMAGES and IMAGES and int(wildcards.bands) != count_bands():
        raise WorkflowError(f"skyloom: the manifest names {count_bands()} bands, not {wildcards.bands}")
    return wildcards.get("size", 0)


def dataset_files(wildcards=None):
    if MULTI:
        return [f"{RESULTS}/dataset/multi_{s}.{suffix}" for s in SPLITS for suffix in ("hdf5", "csv")]
    return [f"{dataset_name(s, n)}.{suffix}" for n in SIZES for s in SPLITS for suffix in ("hdf5", "csv")]


def attribution_figure():
    return [f"{RESULTS}/evaluation/attribution.png"] if config["attribution"]["models"] else []


def fusion_tables():
    """What a multi-survey run tells about its networks besides their metrics."""
    hiding = [model for model in FUSIONS if OPTIONS[model].survey_dropout and len(MODEL_SURVEYS[model]) > 1]
    out = expand(f"{RESULTS}/models/{{model}}/seed{{seed}}/degradation.csv", model=hiding, seed=SEEDS)
    out += [f"{RESULTS}/evaluation/attribution.csv"] if config["attribution"]["models"] else []
    return out + ([f"{RESULTS}/evaluation/sweep.csv"] if SWEEP else [])


# Samples that one archive answers; a compilation of surveys is made by its own rules.
ASKED = "|".join([*([] if COMPILED else ["specz"]), "targets", *(["found"] if ON_SCENES else [])])


wildcard_constraints:
    scene=r"(training|validation|testing)_\d\d\d+",
    sample=ASKED,
    shard=r"[sh]\d+_\d+",
    survey="[a-z0-9]+",
    part="training|validation|testing",
    map="[a-z0-9]+",
    split="training|validation|testing|target",
    size=r"\d+",
    bands=r"\d+",
    model="[a-z0-9_]+",
    seed=r"\d+",
