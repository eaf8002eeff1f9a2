"""The HSC catalog job API: render the template, submit, poll, download, delete."""

from __future__ import annotations

import io
import json
import string
import time

from skyloom.archives.http import Client
from skyloom.errors import InputError, Refused, ServiceError
from skyloom.sample import regions
from skyloom.surveys import releases

CLIENT_VERSION = 20190514.1
TRUE, FALSE = ("true", "t", "1"), ("false", "f", "0")


def render(template: str, options: dict) -> str:
    """The SQL of a template with `$schema`, `$magerr`, `$region`, `$homogeneous`, `$sample` and `$limit` filled in.

    InputError names a placeholder that the template has and the options lack, or a table of another release.
    """
    region, every, release = regions.of(options.get("region")), options.get("every"), options.get("release") or "pdr2"
    values = {"region": f"AND {region.search('coord')}" if region else "",
              "schema": releases.schema(release, options.get("rerun")), "magerr": releases.of(release).error,
              "homogeneous": "AND specz_flag_homogeneous" if options.get("specz_flag_homogeneous") else "",
              "sample": f"AND object_id % {int(every)} = 0" if every and every > 1 else "",
              "faintest": repr(float(options["i_max"])) if "i_max" in options else "99.0",
              "limit": f"LIMIT {int(options['limit'])}" if options.get("limit") else ""}
    try:
        text = string.Template(template).substitute(values)
    except KeyError as error:
        raise InputError(f"the SQL template has an unknown placeholder ${error.args[0]}; known: "
                         + ", ".join("$" + k for k in values)) from None
    releases.check_sql(text, release)
    return "\n".join(line for line in text.splitlines() if line.strip())


def envelope(account: tuple[str, str], **body) -> dict:
    """The JSON of one call."""
    return {"credential": {"account_name": account[0], "password": account[1]}, "clientVersion": CLIENT_VERSION, **body}


def job(sql: str, release: str) -> dict:
    """The `catalog_job` part of preview and submit."""
    return {"sql": sql, "out_format": "csv", "include_metainfo_to_body": False, "release_version": release}


class CatalogJobs:
    """The API at `url`; every call goes through `client`."""

    def __init__(self, client: Client, url: str, account: tuple[str, str], poll_s: float = 1.0):
        self.client, self.url, self.account, self.poll_s = client, url.rstrip("/") + "/", account, poll_s

    def _call(self, verb: str, **body) -> bytes:
        try:
            return self.client.fetch("POST", self.url + verb, json=envelope(self.account, **body))
        except Refused as error:
            if error.status == 401:
                raise InputError("the HSC archive refused the account; set SKYLOOM_HSC_USER and SKYLOOM_HSC_PASSWORD "
                                 "to a valid pair") from None
            if error.status == 406 and "statement timeout" not in str(error):
                raise InputError(f"the HSC archive rejected the SQL ({error}); mend the template") from None
            raise

    def count(self, sql: str, release: str) -> int:
        """The archive's own number of rows: from the preview, or a counting job where the preview times out."""
        try:
            return json.loads(self._call("preview", catalog_job=job(sql, release)))["result"]["count"]
        except Refused:
            inner = sql.rstrip().rstrip(";")
            return int(parse_csv(self.run(f"SELECT count(*) AS n FROM ({inner}) AS q", release))["n"][0])

    def run(self, sql: str, release: str, tell=lambda text: None) -> bytes:
        """The CSV of a query: submit, wait, download, delete. ServiceError if the job ends otherwise than done."""
        reply = json.loads(self._call("submit", catalog_job=job(sql, release), nomail=True, skip_syntax_check=False))
        number, pause = reply["id"], self.poll_s
        while reply["status"] not in ("done", "error", "canceled", "deleted"):
            time.sleep(pause)
            pause = min(pause * 2, 60.0)
            reply = json.loads(self._call("status", id=number))
            tell(f"job {number} is {reply['status']}")
        if reply["status"] != "done":
            text = reply.get("error", "no reason given")
            if reply["status"] == "error":
                raise InputError(f"the HSC archive could not run the SQL ({text}); mend the template")
            raise ServiceError(f"HSC job {number} was {reply['status']}: {text}")
        try:
            return self._call("download", id=number)
        finally:
            self._call("delete", id=number)


def parse_csv(body: bytes):
    """DataFrame of the archive's CSV: the last leading `#` line is the header, booleans are words, nulls empty.

    Columns with `flag` in their name or called isprimary become bool; object_id and skymap_id int64.
    """
    import pandas

    lines = body.decode().replace("\r\n", "\n").split("\n")
    heads = [k for k, line in enumerate(lines[:50]) if line.startswith("#")]
    if heads:
        lines = [lines[heads[-1]].lstrip("# ")] + lines[heads[-1] + 1:]
    ids = {"object_id": "int64", "skymap_id": "int64", "specz_name": "str", "coord": "str"}
    present = lines[0].split(",")
    frame = pandas.read_csv(io.StringIO("\n".join(lines)), dtype={k: v for k, v in ids.items() if k in present})
    for name in frame.columns:
        if ("flag" in name or name == "isprimary") and frame[name].dtype != bool:
            words = frame[name].astype(str).str.lower()
            if not words.isin(TRUE + FALSE).all():
                raise ServiceError(f"column {name} of the archive's reply holds no booleans: {words.iloc[0]!r}")
            frame[name] = words.isin(TRUE)
    return frame
