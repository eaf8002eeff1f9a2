"""The training loop and what goes with it: data adapters, tuning, inference, ensembles."""
