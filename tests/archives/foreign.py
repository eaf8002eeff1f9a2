"""A server of its own, written from the protocol reference with astropy alone: imports nothing of skyloom.

Serves a flat sky of known surface brightness at /list (ps1filenames), /cut (fitscut) and /view (viewer).
Usage: python foreign.py; prints its port.
"""

import io
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlparse

import numpy as np
from astropy.io import fits

EXPTIME, COUNTS, GALEX, UNWISE = 400.0, {"g": 10.0, "r": 20.0, "i": 30.0, "z": 40.0, "y": 50.0}, (0.5, 0.25), (7.0, 3.0)


def cutout(query):
    size, ra, dec = int(query["size"]), float(query["ra"]), float(query["dec"])
    band = query["red"].split(".stk.")[1][0]
    head = fits.Header()
    head["CTYPE1"], head["CTYPE2"] = "RA---TAN", "DEC--TAN"
    head["CRVAL1"], head["CRVAL2"], head["CRPIX1"], head["CRPIX2"] = ra, dec, (size + 1) / 2, (size + 1) / 2
    head["CDELT1"] = head["CDELT2"] = 0.25 / 3600
    head["PC001001"], head["PC001002"], head["PC002001"], head["PC002002"] = -1.0, 0.0, 0.0, 1.0
    head["RADESYS"], head["EXPTIME"] = "FK5", EXPTIME
    noise = np.random.default_rng(1).normal(size=(size, size))
    return fits.PrimaryHDU((COUNTS[band] + 0.01 * noise).astype("f4"), head)


def view(query):
    size, scale = int(query["size"]), float(query["pixscale"])
    survey, letters, values = ("GALEX", "nf", GALEX) if query["layer"] == "galex" else ("unWISE", "12", UNWISE)
    head = fits.Header()
    head["SURVEY"], head["BANDS"], head["BAND0"], head["BAND1"] = survey, letters, *letters
    head["CTYPE1"], head["CTYPE2"] = "RA---TAN", "DEC--TAN"
    head["CRVAL1"], head["CRVAL2"] = float(query["ra"]), float(query["dec"])
    head["CRPIX1"] = head["CRPIX2"] = size / 2 + 0.5
    head["CD1_1"], head["CD1_2"], head["CD2_1"], head["CD2_2"] = -scale / 3600, 0.0, 0.0, scale / 3600
    head["IMAGEW"], head["IMAGEH"] = float(size), float(size)
    noise = 0.001 * np.random.default_rng(2).normal(size=(2, size, size))
    return fits.PrimaryHDU((np.array(values)[:, None, None] + noise).astype("f4"), head)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        address = urlparse(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        out = io.BytesIO()
        (cutout if address.path == "/cut" else view)(query).writeto(out)
        self.reply(out.getvalue(), "image/fits")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        lines = ["projcell subcell ra dec filter mjd type filename shortname badflag"]
        for line in body.splitlines():
            words = line.split()
            if len(words) == 2 and all(w.replace(".", "").replace("-", "").isdigit() for w in words):
                for band in reversed("grizy"):
                    name = f"rings.v3.skycell.1405.053.stk.{band}.unconv.fits"
                    lines.append(f"1405 53 {words[0]} {words[1]} {band} 0.0 stack /rings.v3.skycell/1405/053/{name} {name} 0")
        self.reply(("\n".join(lines) + "\n").encode(), "text/plain")


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    sys.exit(server.serve_forever())
