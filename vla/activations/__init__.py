"""Activations: batches of stimuli through a model to [layer, item, unit]; the store that keeps them."""
