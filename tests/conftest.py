import gc
import importlib.metadata
import os
import time
from pathlib import Path

import pytest

# Most of the suite's time is compilation. A test runs its programs once, so they are compiled quickly rather than well;
# `XLA_FLAGS= pytest` compiles them as for a user.
_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1"
if importlib.metadata.version("jax").startswith(
    "0.10."
):  # later ones end the process, without a word, over a flag that they do not know
    _FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", _FLAGS)
# Workers, and the processes that tests start, compile much the same programs.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache/jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
ABSENT = "no data: "
"""How the reason of a test that is skipped for want of data begins."""
OUT_OF_TIME = "the time of this run is over"


def pytest_configure(config):
    """Loads the fixtures, and with them JAX and jaxcast: half a minute that a process without tests of its own saves."""
    if "PYTEST_XDIST_WORKER" in os.environ or not config.getoption("numprocesses", None):
        config.pluginmanager.import_plugin("tests.fixtures")


def pytest_runtest_setup(item):
    """Leaves slow tests out once the time that a whole run of CI gives them is over."""
    until = os.environ.get("JAXCAST_SLOW_TESTS_UNTIL")
    if until and time.time() > float(until) and item.get_closest_marker("slow"):
        pytest.skip(OUT_OF_TIME)


def pytest_terminal_summary(terminalreporter):
    """Says in a line each, also of a quiet run, how many tests were skipped for want of data or of time."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()) if report.longrepr]
    for reason, advice in (
        (ABSENT, "NO DATA: {} tests of real data were skipped; set JAXCAST_DATA to the folder of the data"),
        (OUT_OF_TIME, "OUT OF TIME: {} slow tests were left out; `.ci/run slow` runs all of them"),
    ):
        if number := sum(reason in found for found in reasons):
            terminalreporter.write_line(advice.format(number), red=True)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """Leaves out the search of test files for examples, of which there are none: a fifth of the time of collecting."""
    return [found for found in (yield) if type(found) is pytest.Module]


def pytest_collection_finish():
    """Spares the modules and the tests, 650,000 objects, from every later look for garbage: half a second a file."""
    gc.collect()
    gc.freeze()
