"""Networks that were trained elsewhere, as encoders for any modality."""
