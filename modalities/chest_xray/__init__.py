"""Chest radiographs with several findings each (survey, section 5.1.1)."""

from modalities.chest_xray.augment import XrayAugment as XrayAugment
from modalities.chest_xray.chexpert import CheXpert as CheXpert
from modalities.chest_xray.folder import Folder as Folder
from modalities.chest_xray.networks import DenseNet121 as DenseNet121
from modalities.chest_xray.networks import SmallNet as SmallNet
from modalities.chest_xray.nih import NIH as NIH
from modalities.chest_xray.phantom import Phantom as Phantom
