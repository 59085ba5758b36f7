"""Recipe families: one readable file each, `make(recipe, seed, folder, cache) -> loop`."""
