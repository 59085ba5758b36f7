"""Uncertainty of a prediction (survey, section 3.1): single predictions, disagreement of draws, evidence."""

from medal.uncertainty.disagreement import BALD as BALD
from medal.uncertainty.disagreement import mutual_information as mutual_information
from medal.uncertainty.evidential import BetaAleatoric as BetaAleatoric
from medal.uncertainty.evidential import BetaDifferentialEntropy as BetaDifferentialEntropy
from medal.uncertainty.evidential import BetaEpistemic as BetaEpistemic
from medal.uncertainty.evidential import BetaTotal as BetaTotal
from medal.uncertainty.evidential import BetaVacuity as BetaVacuity
from medal.uncertainty.evidential import BetaVariance as BetaVariance
from medal.uncertainty.evidential import beta_aleatoric as beta_aleatoric
from medal.uncertainty.evidential import beta_differential_entropy as beta_differential_entropy
from medal.uncertainty.evidential import beta_epistemic as beta_epistemic
from medal.uncertainty.evidential import beta_kl as beta_kl
from medal.uncertainty.evidential import beta_total as beta_total
from medal.uncertainty.evidential import beta_vacuity as beta_vacuity
from medal.uncertainty.evidential import beta_variance as beta_variance
from medal.uncertainty.prediction import Entropy as Entropy
from medal.uncertainty.prediction import LeastConfidence as LeastConfidence
from medal.uncertainty.prediction import Margin as Margin
from medal.uncertainty.prediction import entropy as entropy
from medal.uncertainty.prediction import least_confidence as least_confidence
from medal.uncertainty.prediction import margin as margin
