"""Representativeness (survey, sections 3.2 and 4.2.1): units that stand for the pool, chosen from features."""

from medal.representativeness.first_batch import cold_start as cold_start
from medal.representativeness.k_center import KCenter as KCenter
from medal.representativeness.k_center import pick_covering as pick_covering
from medal.representativeness.representatives import Representatives as Representatives
from medal.representativeness.representatives import pick_representatives as pick_representatives
from medal.representativeness.typiclust import TypiClust as TypiClust
from medal.representativeness.typiclust import pick_typical as pick_typical
from medal.representativeness.typiclust import typicality as typicality
