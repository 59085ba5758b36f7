"""Learners: the protocol, the only training loop, heads, losses and members."""

from medal.learners.columns import Columns as Columns
from medal.learners.frozen import Frozen as Frozen
from medal.learners.heads import Beta as Beta
from medal.learners.heads import Sigmoid as Sigmoid
from medal.learners.members import MCDropout as MCDropout
from medal.learners.networks import Perceptron as Perceptron
from medal.learners.supervised import Parts as Parts
from medal.learners.supervised import Supervised as Supervised
