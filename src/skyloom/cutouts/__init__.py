"""Stamps of every imaging survey: asked for, verified, brought to nJy, with a status for each object and band."""
