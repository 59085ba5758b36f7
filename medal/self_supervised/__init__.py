"""Self-supervised learning (survey, section 4.2): features from the pool's own images, before any label is paid."""

from medal.self_supervised.contrast import nt_xent as nt_xent
from medal.self_supervised.embedding import embed as embed
from medal.self_supervised.networks import ConvNet as ConvNet
from medal.self_supervised.pixels import PrincipalPixels as PrincipalPixels
from medal.self_supervised.simclr import SimCLR as SimCLR
from medal.self_supervised.views import RandomViews as RandomViews
