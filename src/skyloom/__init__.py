"""skyloom: from sky archives to photometric-redshift catalogs."""

__version__ = "0.1.0"
