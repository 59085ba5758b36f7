"""Sampling strategies (survey, section 3.3): how a batch is drawn from scored candidates."""

from medal.sampling.diverse import Diverse as Diverse
from medal.sampling.group_stratified import GroupStratified as GroupStratified
from medal.sampling.label_stratified import LabelStratified as LabelStratified
from medal.sampling.random import RandomSampler as RandomSampler
from medal.sampling.top_k import TopK as TopK
