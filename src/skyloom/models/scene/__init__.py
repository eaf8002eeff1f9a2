"""A network that finds, deblends, classifies and measures every source of a tile: centre points, shares of pixels, photometry."""
