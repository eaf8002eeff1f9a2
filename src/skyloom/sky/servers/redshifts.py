"""Where the eight spectroscopic surveys publish: SkyServer, TAP (VizieR), and flat files behind a web server."""

from __future__ import annotations

import collections
import gzip
import hashlib
import itertools
import threading
import time
from functools import lru_cache

from skyloom.sky import hsc, specz
from skyloom.sky.servers import forms, tables
from skyloom.sky.servers.app import Reply, Request

PER_MINUTE, MOST = 60, 500_000  # SkyServer's limits
FILES = {"desi/zall-pix-fuji.fits": ("desi", "ZCATALOG"), "deep2/zcat.deep2.dr4.uniq.fits.gz": ("deep2", "ZCAT"),
         "gama/SpecObjv27.fits": ("gama", "SpecObj"), "vvds/cesam_vvds_spF02_DEEP_Full.txt": ("vvds", ""),
         "vvds/cesam_vvds_spF22_WIDE_Full.txt": ("vvds", ""),
         "vipers/VIPERS_W1_SPECTRO_PDR2.txt": ("vipers", ""),
         "vipers/VIPERS_W4_SPECTRO_PDR2.txt": ("vipers", ""), "6df/6dFGSzDR3.txt.gz": ("6df", "")}
BROWSERS = ("Mozilla/", "curl/")  # agents that the GAMA server lets in


class SkyServer:
    """SQL search of SDSS DR17: CSV, errors inside a 200, no more than 60 queries a minute."""

    def __init__(self, sky: hsc.Sky, per_minute: int = PER_MINUTE):
        self.sky, self.per_minute, self.lock = sky, per_minute, threading.Lock()
        self.times: collections.deque = collections.deque()

    def answer(self, request: Request, server) -> Reply:
        """`cmd` run over SpecObj(All)."""
        sql = forms.fields(request).get("cmd", "").replace("dbo.", "")
        with self.lock:
            now = time.monotonic()
            while self.times and self.times[0] < now - 60:
                self.times.popleft()
            if len(self.times) >= self.per_minute:
                text = f"ERROR: Maximum {self.per_minute} queries allowed per minute. Rejected query: {sql}"
                return Reply(200, text.encode(), "text/plain")
            self.times.append(now)
        server.objects["skyserver"] += 1
        rows = specz.table(self.sky, "sdss")
        try:
            names, found, _ = tables.execute({"SpecObjAll": rows, "SpecObj": rows}, sql, MOST)
        except tables.BadQuery as error:
            text = f'<html><body><span class="error_message">SQL returned the following error: {error}</span></body></html>'
            return Reply(200, text.encode(), "text/html")
        if not found:
            return Reply(200, b"No objects have been found", "text/plain")
        return Reply(200, tables.csv_text(names, found, "#Table1").encode(), "text/csv")


class Tap:
    """TAP 1.1, sync and async, over VizieR's table names."""

    def __init__(self, sky: hsc.Sky, most: int = 20_000):
        self.sky, self.most, self.jobs, self.numbers = sky, most, {}, itertools.count(1)

    def answer(self, request: Request, server) -> Reply:
        """Routes below /tap/: sync, async and the resources of a job."""
        parts = request.path.split("/tap/", 1)[1].strip("/").split("/")
        fields = {key.upper(): value for key, value in forms.fields(request).items()}
        if parts == ["sync"]:
            return self._result(fields, server)
        if parts[0] != "async":
            return Reply(404, b"not found")
        if len(parts) == 1:
            job = str(next(self.numbers))
            self.jobs[job] = {"fields": fields, "phase": "PENDING"}
            return self._to(request, job)
        job = self.jobs.get(parts[1])
        if job is None:
            return Reply(404, b"no such job")
        if request.method == "DELETE" or fields.get("ACTION") == "DELETE":
            del self.jobs[parts[1]]
            return Reply(303, headers={"Location": request.path.split("/async/")[0] + "/async"})
        return self._resource(request, server, parts, job, fields)

    def _to(self, request, job) -> Reply:
        host = request.headers.get("Host", "")
        return Reply(303, headers={"Location": f"http://{host}{request.path.split('/async')[0]}/async/{job}"})

    def _resource(self, request, server, parts, job, fields) -> Reply:
        if parts[2:] == ["phase"]:
            if request.method == "POST":
                if fields.get("PHASE") == "RUN":
                    job["reply"] = self._result(job["fields"], server, no_limit=True)
                    job["phase"] = "COMPLETED" if job["reply"].status == 200 else "ERROR"
                return self._to(request, parts[1])
            return Reply(200, job["phase"].encode())
        if parts[2:] == ["results", "result"]:
            return job.get("reply") or Reply(404, b"no result yet")
        if parts[2:] == ["error"]:
            return Reply(200, job["reply"].body, "application/x-votable+xml")
        host = request.headers.get("Host", "")
        link = f"http://{host}{request.path.split('/async')[0]}/async/{parts[1]}/results/result"
        return Reply(200, _uws(parts[1], job["phase"], link).encode(), "text/xml")

    def _result(self, fields, server, no_limit=False) -> Reply:
        sql = fields.get("QUERY", "")
        server.objects["tap"] += 1
        rows = {"J/MNRAS/474/4151/wigglez": specz.table(self.sky, "wigglez"),
                "J/MNRAS/513/439/gamadr4": specz.gama_at_vizier(self.sky)}
        most = 10**9 if no_limit else min(int(fields.get("MAXREC", self.most)), self.most)
        try:
            names, found, over = tables.execute(rows, sql, most)
        except tables.BadQuery as error:
            return Reply(400, tables.votable_error(str(error)).encode(), "application/x-votable+xml")
        if fields.get("FORMAT", "votable").lower() in ("csv", "text/csv"):
            return Reply(200, tables.csv_text(names, found).encode(), "text/csv")
        return Reply(200, tables.votable(names, found, over).encode(), "application/x-votable+xml")


def _uws(job: str, phase: str, link: str) -> str:
    result = f'<uws:result id="result" xlink:type="simple" xlink:href="{link}"/>' if phase == "COMPLETED" else ""
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" '
            'xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1">'
            f"<uws:jobId>{job}</uws:jobId><uws:phase>{phase}</uws:phase><uws:executionDuration>0</uws:executionDuration>"
            f"<uws:results>{result}</uws:results></uws:job>\n")


class Files:
    """Flat files with ETag and byte ranges; the GAMA server turns away agents that it doesn't know."""

    def __init__(self, sky: hsc.Sky):
        self.sky = sky

    def answer(self, request: Request, server) -> Reply:
        """GET of one of `FILES` below /files/."""
        name = request.path.split("/files/", 1)[1]
        if name not in FILES:
            return Reply(404, b"not found")
        if name.startswith("gama/") and not request.headers.get("User-Agent", "").startswith(BROWSERS):
            return Reply(403, b"Forbidden")
        body = self._body(name)
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Accept-Ranges": "bytes"}
        wanted = request.headers.get("Range", "")
        if wanted.startswith("bytes=") and request.headers.get("If-Range", tag) == tag:
            start = int(wanted[6:].split("-")[0])
            if start >= len(body):
                return Reply(416, b"", headers={"Content-Range": f"bytes */{len(body)}"})
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return Reply(206, body[start:], "application/octet-stream", headers)
        return Reply(200, body, "application/octet-stream", headers)

    def _body(self, name: str) -> bytes:
        return _file(self.sky, name)


@lru_cache(16)
def _file(sky: hsc.Sky, name: str) -> bytes:
    survey, extension = FILES[name]
    files = [other for other in FILES if FILES[other][0] == survey]  # a survey's fields share its rows
    columns = {key: column[files.index(name)::len(files)] for key, column in specz.table(sky, survey).items()}
    body = tables.fits_table(columns, extension) if extension else tables.text_table(columns).encode()
    return gzip.compress(body, mtime=0) if name.endswith(".gz") else body
