"""medal: active learning for medical imaging. The core; it knows no modality."""

__version__ = "0.1.0"
