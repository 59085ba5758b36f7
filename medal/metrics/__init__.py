"""Metrics: how good a classifier is, and how fast a learning curve climbs."""

from medal.metrics.classification import auprc as auprc
from medal.metrics.classification import auroc as auroc
from medal.metrics.classification import brier as brier
from medal.metrics.classification import ece as ece
from medal.metrics.classification import evaluate_multilabel as evaluate_multilabel
from medal.metrics.learning_curves import Band as Band
from medal.metrics.learning_curves import aubc as aubc
from medal.metrics.learning_curves import band as band
from medal.metrics.learning_curves import labels_to_reach as labels_to_reach
