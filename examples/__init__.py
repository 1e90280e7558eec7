"""Code that uses `vla` and is not part of it: the training of the microworld's small models, and notebooks."""
