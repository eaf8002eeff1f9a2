"""What is known of surveys: one file an imaging survey (`imaging`), one a spectroscopic survey (`spectro`)."""
