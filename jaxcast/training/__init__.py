"""Gradient training: optimizers, checkpoints, selection."""

from jaxcast.training.closed_loop import TrainingWindows as TrainingWindows
from jaxcast.training.closed_loop import closed_loop_loss as closed_loop_loss
from jaxcast.training.closed_loop import fine_tune as fine_tune
from jaxcast.training.closed_loop import training_windows as training_windows
from jaxcast.training.fitting import FitResult as FitResult
from jaxcast.training.fitting import fit as fit
from jaxcast.training.folds import stratified_folds as stratified_folds
from jaxcast.training.folds import stratified_split as stratified_split
from jaxcast.training.optimizers import average_parameters as average_parameters
from jaxcast.training.optimizers import make_optimizer as make_optimizer
from jaxcast.training.options import TrainingOptions as TrainingOptions
from jaxcast.training.run import Curriculum as Curriculum
from jaxcast.training.selection import GridSearch as GridSearch
from jaxcast.training.selection import grid_search as grid_search
from jaxcast.training.selection import select_average as select_average
from jaxcast.training.streaming import fit_stream as fit_stream
