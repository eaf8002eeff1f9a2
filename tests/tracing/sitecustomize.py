"""Put on PYTHONPATH by the tests: writes which skyloom modules a verb imported, when it ends."""

import atexit
import json
import os
import sys


def dump():
    names = sorted(name for name in sys.modules if name == "skyloom" or name.startswith("skyloom."))
    heavy = sorted(name for name in ("pandas", "astropy", "pyarrow", "scipy", "torch", "matplotlib") if name in sys.modules)
    if names and len(sys.argv) > 1:
        with open(os.path.join(os.environ["SKYLOOM_TEST_TRACE"], f"{os.getpid()}.json"), "w") as handle:
            json.dump({"argv": sys.argv, "modules": names, "heavy": heavy}, handle)


if os.environ.get("SKYLOOM_TEST_TRACE"):
    atexit.register(dump)
