"""Scenes through a vision transformer and cascaded heads: the published DeepDISC (Merz et al. 2024), in plain torch."""
