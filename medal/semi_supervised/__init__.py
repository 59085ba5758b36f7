"""Semi-supervised parts of a learner: what the unlabelled rows of the pool add to training (survey, section 4.1)."""

from medal.semi_supervised.augment import Chain as Chain
from medal.semi_supervised.augment import FeatureDropout as FeatureDropout
from medal.semi_supervised.augment import GaussianNoise as GaussianNoise
from medal.semi_supervised.augment import RandomErasing as RandomErasing
from medal.semi_supervised.flexible_threshold import FlexibleThreshold as FlexibleThreshold
from medal.semi_supervised.gates import Confident as Confident
from medal.semi_supervised.gates import EntropyBelow as EntropyBelow
from medal.semi_supervised.gates import Evident as Evident
from medal.semi_supervised.gates import Margin as Margin
from medal.semi_supervised.mean_teacher import MeanTeacher as MeanTeacher
from medal.semi_supervised.no_teacher import NoTeacher as NoTeacher
from medal.semi_supervised.pseudo_label import PseudoLabel as PseudoLabel
from medal.semi_supervised.vat import VAT as VAT
