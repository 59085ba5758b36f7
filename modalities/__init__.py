"""Imaging modalities: how each kind of image is read and what is labelled in it; none imports another."""
