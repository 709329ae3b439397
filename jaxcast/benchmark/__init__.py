"""A benchmark of valid time: fixed cases with hidden truths, for tools in any language."""

from jaxcast.benchmark.case import Case as Case
from jaxcast.benchmark.cases import case_names as case_names
from jaxcast.benchmark.cases import find_case as find_case
from jaxcast.benchmark.files import case_arrays as case_arrays
from jaxcast.benchmark.files import described_case as described_case
from jaxcast.benchmark.scoring import Score as Score
from jaxcast.benchmark.scoring import compare_scores as compare_scores
from jaxcast.benchmark.scoring import score_forecasts as score_forecasts
from jaxcast.benchmark.task import Task as Task
from jaxcast.benchmark.task import ground_truth_time as ground_truth_time
from jaxcast.benchmark.task import make_task as make_task
from jaxcast.benchmark.truths import HiddenChaos as HiddenChaos
from jaxcast.benchmark.truths import Sawtooth as Sawtooth
from jaxcast.benchmark.truths import Thomas as Thomas
