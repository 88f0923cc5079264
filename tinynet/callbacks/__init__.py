"""Callbacks: progress bar, early stopping, checkpoints, CSV log and a doctor for training."""

from tinynet.callbacks.checkpointing import Checkpoint
from tinynet.callbacks.csv_log import CSVLog
from tinynet.callbacks.doctor import Doctor
from tinynet.callbacks.early_stopping import EarlyStopping
from tinynet.callbacks.progress_bar import ProgressBar
from tinynet.training.callback import Callback

__all__ = ["CSVLog", "Callback", "Checkpoint", "Doctor", "EarlyStopping", "ProgressBar"]
