"""What is shared: accounts, places at a service, caches and locks on file systems that can do less than a local disk."""

import errno
import fcntl
import json
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import time

import h5py
import numpy as np
import pandas
import pytest

from skyloom import acquisition, locks, store
from skyloom.__main__ import main
from skyloom.archives import replies
from skyloom.errors import InputError
from skyloom.sky.servers.app import Reply, SkyServer
from skyloom.sky.servers.hsc_das import END_OF_TAR
from skyloom.verbs import common

HOME = "https://hsc-release.mtk.nao.ac.jp/datasearch/api/catalog_jobs/"
BLOCK = {"rpm": 6000, "streams": 2, "timeout_s": 5, "attempts": 2, "total_s": 20, "contact": "", "wait_initial_s": 0.05,
         "poll_s": 0.02}
EMBEDDED = {"seed": 1, "footprint": [150.0, 150.1, 2.0, 2.1], "hole_rate": 0.3, "gap_rate": 0.0, "reddening": 0.0, "faults": []}


def told(monkeypatch, archive, **urls):
    monkeypatch.setenv("SKYLOOM_SERVICES", json.dumps({"archive": archive, "embedded": EMBEDDED, "hsc": BLOCK | urls}))
    monkeypatch.setenv("SKYLOOM_HSC_USER", "somebody")
    monkeypatch.setenv("SKYLOOM_HSC_PASSWORD", "real-secret")


# (h) the account

@pytest.mark.parametrize(("url", "hosts", "allowed"), [
    (HOME, "", True), (HOME.replace("https", "http"), "", False), (HOME.replace(".jp/", ".jp.evil.org/"), "", False),
    ("https://HSC-release.mtk.nao.ac.jp:443/x", "", True), ("https://hscdata.mtk.nao.ac.jp/x", "", False),
    ("https://hscdata.mtk.nao.ac.jp/x", "hscdata.mtk.nao.ac.jp", True),
    ("http://hscdata.mtk.nao.ac.jp/x", "hscdata.mtk.nao.ac.jp", False),
    ("http://hscdata.mtk.nao.ac.jp/x", "http://hscdata.mtk.nao.ac.jp", True),
    ("http://127.0.0.1:8000/x", "", False), ("http://127.0.0.1:8000/x", "127.0.0.1:8000", True),
    ("http://127.0.0.1:8000/x", "127.0.0.1", True), ("http://127.0.0.1:8000/x", "127.0.0.1:9000, other", False),
    ("http://localhost:8000/x", "localhost", True), ("http://[::1]:80/x", "", False),
    ("https://user:pw@hsc-release.mtk.nao.ac.jp/x", "", True), ("https://hsc-release.mtk.nao.ac.jp@evil.org/x", "", False)])
def test_the_account_goes_to_its_own_hosts_only(monkeypatch, url, hosts, allowed):
    told(monkeypatch, "live", sql_url=HOME, cutout_url=url)
    monkeypatch.setenv("SKYLOOM_HSC_HOSTS", hosts)
    if allowed:
        with common.service("hsc", 600) as (_, _, account, _):
            assert account == ("somebody", "real-secret")
        return
    with pytest.raises(InputError, match="refused the account of HSC.*SKYLOOM_HSC_HOSTS") as error, common.service("hsc", 600):
        pass
    assert "real-secret" not in str(error.value)


@pytest.mark.parametrize("urls", [{}, {"sql_url": "http://127.0.0.1:9/", "cutout_url": "http://127.0.0.1:9/"},
                                  {"sql_url": "https://sky.example.org/"}])
def test_the_embedded_sky_never_sees_a_real_account(monkeypatch, urls):
    told(monkeypatch, "embedded", **urls)
    with common.service("hsc", 600) as (client, _, account, _):
        assert account == ("embedded", "sky") == client.auth


def test_a_rehearsal_is_asked_with_its_own_account(monkeypatch, tmp_path, capsys):
    """A foreign server in the address of a live run gets no request with the account."""
    seen = []

    def answer(request, _):
        seen.append(request)
        return Reply(401, b"no")

    with SkyServer({"/": ("hsc", "x", answer)}).running() as server:
        told(monkeypatch, "live", **{f"{kind}_url": server.url + "/" for kind in ("sql", "cutout", "psf")})
        (tmp_path / "q.sql").write_text("SELECT 1 FROM x")
        settings = {"archive": "live", "release": "pdr2", "run": "t"}
        code = main(["query", "--settings", json.dumps(settings), "--template", str(tmp_path / "q.sql"), "--out",
                     str(tmp_path / "raw.parquet")])
    assert code == 2 and not seen and "refused the account" in capsys.readouterr().err


# (f) whose replies they are

def test_the_identity_holds_hosts_that_are_not_the_archives_own():
    def live(name, **urls):
        return acquisition.identity("live", "pdr2", {}, name, urls)

    assert live("hsc") == live("hsc", sql_url="") == live("hsc", **acquisition.addresses("hsc")) == "live pdr2"
    assert live("vvds", **acquisition.addresses("vvds")) == "live pdr2"
    rehearsal = live("hsc", **acquisition.addresses("hsc") | {"cutout_url": "http://127.0.0.1:8000/das"})
    assert rehearsal == "live pdr2 at http://127.0.0.1:8000/das"
    assert live("ps1", filenames_url="http://127.0.0.1:8001/list") != live("ps1", filenames_url="http://127.0.0.1:8002/list")
    assert live("viewer", url="https://WWW.legacysurvey.org:443/viewer/fits-cutout/") == "live pdr2"
    assert "secret" not in live("viewer", url="https://me:secret@mirror.org/x?token=secret")
    assert live("dust", url="https://mirror.org/dust/") != live("dust")
    assert live("hsc", rpm=30, contact="x", sql_url="") == "live pdr2"


def test_the_embedded_sky_is_the_same_wherever_this_machine_serves_it():
    home = acquisition.identity("embedded", "pdr2", EMBEDDED, "hsc", {})
    assert home == acquisition.identity("embedded", "pdr2", EMBEDDED)
    assert home == acquisition.identity("embedded", "pdr2", EMBEDDED, "hsc", {"sql_url": "http://127.0.0.1:8000/x"})
    assert home != acquisition.identity("embedded", "pdr2", EMBEDDED, "hsc", {"sql_url": "https://sky.example.org/x"})


def test_a_rehearsals_cache_is_refused_by_the_real_run(tmp_path):
    rehearsed = acquisition.identity("live", "pdr2", {}, "ps1", {"fitscut_url": "http://127.0.0.1:8000/cut"})
    with replies.Replies(tmp_path / "r.sqlite", rehearsed) as cache:
        cache.put("a", replies.OK, b"not the sky")
    with pytest.raises(InputError, match="127.0.0.1:8000.*cache --prune"):
        replies.Replies(tmp_path / "r.sqlite", acquisition.identity("live", "pdr2", {}, "ps1", acquisition.addresses("ps1")))


# (i) places at a service

def test_fewer_streams_are_never_faster():
    for streams, rpm in ((1, 30), (2, 30), (2, 1), (1, 1), (2, 31)):
        jobs = acquisition.jobs("hsc", {"streams": streams, "rpm": rpm})
        assert jobs <= streams and jobs * (rpm // jobs) <= rpm
    assert acquisition.jobs("ps1", {"streams": 6, "rpm": 300}) == 1 == acquisition.jobs("of a plug-in", {"streams": 3, "rpm": 9})


def hold(folder, many, seconds):
    with locks.slot("hsc", many, folder, tell=lambda text: None), open(folder / "log", "a") as log:
        print(time.monotonic(), 1, file=log, flush=True)
        time.sleep(seconds)
        print(time.monotonic(), -1, file=log, flush=True)


def starting(count, *args):
    """Processes that hold a place."""
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=hold, args=args) for _ in range(count)]
    for process in started:
        process.start()
    return started


@pytest.mark.parametrize("many", [1, 2])
def test_a_service_has_few_places_for_all_processes(tmp_path, many):
    for process in starting(4, tmp_path, many, 0.3):
        process.join(20)
    events = sorted((float(at), int(change)) for at, change in map(str.split, (tmp_path / "log").read_text().splitlines()))
    inside = np.cumsum([change for _, change in events])
    assert len(events) == 8 and inside.max() == many and inside.min() == 0


def test_a_killed_process_leaves_its_place(tmp_path):
    process = starting(1, tmp_path, 1, 60)[0]
    while not (tmp_path / "log").exists():
        time.sleep(0.02)
    process.kill()
    process.join()
    with locks.slot("hsc", 1, tmp_path):
        pass


def test_jobs_that_no_profile_caps_keep_to_one_stream(tmp_path):
    """Two downloads at once, as from a profile without slots, at a server that allows one stream."""
    def answer(request, _):
        time.sleep(0.2)
        return Reply(200, END_OF_TAR, "application/x-tar")

    settings = {"run": "t", "release": "", "size": 32, "psf_size": 15, "rerun": "pdr2_wide", "max_masked_fraction": 1.0,
                "pad": "masked", "max_failed_fraction": 0.0, "identity": "embedded"}
    with SkyServer({"/": ("hsc", "list", answer)}, streams=1).running() as server:
        block = BLOCK | {"streams": 1, "rpm": 600, **{f"{kind}_url": f"{server.url}/{kind}" for kind in ("cutout", "psf")}}
        env = os.environ | {"SKYLOOM_SERVICES": json.dumps({"archive": "embedded", "embedded": EMBEDDED, "hsc": block})}
        started = []
        for k in range(2):
            members = pandas.DataFrame({"object_id": [k], "ra": [150.1 + k / 50], "dec": [2.1]})
            store.write_parquet(tmp_path / f"{k}.parquet", members)
            words = ["download-cutouts", tmp_path / f"{k}.parquet", "--settings", json.dumps(settings), "--cache",
                     tmp_path / f"{k}.sqlite", "--rpm", 600, "--out", tmp_path / f"{k}.h5"]
            started.append(subprocess.Popen([sys.executable, "-m", "skyloom", *map(str, words)], env=env))
        assert [process.wait(100) for process in started] == [0, 0]
        stats = server.stats()
    assert stats["requests"]["hsc.list"] == 8 and stats["peak_streams"] == 1  # cutouts and PSFs, each asked for twice
    assert stats["peak_rate"] <= 11 and not {"429", "503"} & set(stats["statuses"])


# (j) file systems over a network

def test_locks_are_opened_for_reading_and_writing(tmp_path, monkeypatch):
    """NFS emulates flock by fcntl: exclusive wants a writable, shared a readable descriptor."""
    modes, real = [], fcntl.flock

    def strict(handle, kind):
        modes.append(fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE)
        return real(handle, kind)

    monkeypatch.setattr(fcntl, "flock", strict)
    with locks.run_lock(tmp_path / "a"), locks.job_lock(str(tmp_path / "b")), locks.slot("c", 2, tmp_path):
        pass
    locks.wait_for_jobs(tmp_path / "b", 1)
    assert len(modes) == 4 and set(modes) == {os.O_RDWR}


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_there_is_one_warning_and_the_run_goes_on(tmp_path, monkeypatch, capsys, code):
    def refuse(handle, kind):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locks.run_lock(tmp_path / "run"), locks.job_lock(str(tmp_path / "jobs")), locks.slot("hsc", 2, tmp_path):
        locks.wait_for_jobs(tmp_path / "jobs", 1)
    assert capsys.readouterr().err.count("knows no locks") == 1


def journal(path):
    with sqlite3.connect(path) as db:
        return db.execute("PRAGMA journal_mode").fetchone()[0]


@pytest.mark.parametrize(("kind", "mode"), [("ext4", "wal"), ("nfs4", "delete"), ("lustre", "delete"), ("fuse.sshfs", "delete"),
                                            ("gpfs", "delete"), ("", "wal")])
def test_a_cache_on_a_shared_file_system_has_no_write_ahead_log(tmp_path, monkeypatch, kind, mode):
    monkeypatch.setattr(replies, "file_system", lambda path: kind)
    with replies.Replies(tmp_path / "r.sqlite", "x") as cache:
        cache.put("a", replies.OK, b"1")
        cache.commit()
        assert [p.name for p in tmp_path.iterdir() if p.name.endswith("-wal")] == (["r.sqlite-wal"] if mode == "wal" else [])
        assert cache.db.execute("PRAGMA journal_mode").fetchone()[0] == ("wal" if mode == "wal" else "truncate")
        assert cache.db.execute("PRAGMA synchronous").fetchone()[0] == (0 if mode == "wal" else 1)
    assert journal(tmp_path / "r.sqlite") == mode


def test_an_older_cache_loses_its_log_where_that_can_not_work(tmp_path, monkeypatch):
    with replies.Replies(tmp_path / "r.sqlite", "x") as cache:
        cache.put("a", replies.OK, b"1")
    monkeypatch.setattr(replies, "file_system", lambda path: "nfs")
    with replies.Replies(tmp_path / "r.sqlite", "x") as cache:
        assert cache.get("a")[3] == b"1"


def test_where_the_log_fails_the_cache_still_works(tmp_path, monkeypatch):
    class NoLog(sqlite3.Connection):
        def execute(self, sql, *more):
            if "WAL" in sql:
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *more)

    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: real(path, factory=NoLog, **options))
    with replies.Replies(tmp_path / "r.sqlite", "x") as cache:
        cache.put("a", replies.OK, b"1")
        assert cache.have() == {"a": "ok"}


def test_a_full_disk_and_a_cache_that_can_not_be_written_are_one_sentence(tmp_path, monkeypatch):
    with replies.Replies(tmp_path / "r.sqlite", "x") as cache:
        cache.db.execute("PRAGMA max_page_count = 4")
        with pytest.raises(OSError) as error:
            cache.put("a", replies.OK, b"1" * 1_000_000)
        assert error.value.errno == errno.ENOSPC
        cache.db.rollback()
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(InputError, match="can't be used.*writable"):
        replies.Replies(tmp_path / "folder.sqlite", "x")


def test_the_file_system_of_a_path_is_that_of_its_innermost_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/home {tmp_path} nfs4 rw 0 0\ntmpfs {tmp_path}/my\\040disk tmpfs rw 0 0\n"
                      "broken line\n")
    assert replies.file_system(tmp_path / "cache" / "r.sqlite", mounts) == "nfs4"
    assert replies.file_system(tmp_path / "my disk" / "r.sqlite", mounts) == "tmpfs"
    assert replies.file_system("/elsewhere", mounts) == "ext4" and replies.file_system("/", tmp_path / "none") == ""


# cache --retry-failed

def stamps(path, status):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as handle:
        handle.attrs["status_names"] = "ok,no_coverage,failed"
        handle["status"] = np.array(status, np.uint8)
        handle["psf"] = np.zeros((len(status), len(status[0]), 3, 3), np.float32)


def test_what_failed_is_forgotten_and_what_is_good_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for run in ("a", "b"):
        for shard, state in (("s0", replies.BAD), ("s1", replies.OK), ("s2", replies.OK)):
            with replies.Replies(f"cache/{run}/hsc/{shard}.sqlite", "x") as cache:
                cache.put("good", replies.OK, b"1")
                cache.put("none", replies.NO_COVERAGE)
                cache.put("other", state, b"2", "not_fits")
            # in s2 a request was never answered: nothing in the cache, a failed stamp
            stamps(tmp_path / f"results/{run}/cutouts/hsc/{shard}.h5", [[0, 2 if shard == "s2" else 1]])
    assert main(["cache", "--retry-failed", "--run", "a"]) == 0
    assert "a/hsc: 1 failed replies forgotten, 2 files of stamps to be made again" in capsys.readouterr().out
    with replies.Replies("cache/a/hsc/s0.sqlite", "x") as cache:
        assert cache.have() == {"good": "ok", "none": "no_coverage"}
    assert sorted(p.name for p in (tmp_path / "results/a/cutouts/hsc").iterdir()) == ["s1.h5"]
    assert len(list((tmp_path / "results/b/cutouts/hsc").iterdir())) == 3
    assert main(["cache", "--retry-failed", "--run", "c"]) == 2
    assert "has no run c; it has a, b" in capsys.readouterr().err


def test_nothing_is_forgotten_under_a_run_at_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with replies.Replies("cache/a/hsc/s0.sqlite", "x") as cache:
        cache.put("other", replies.BAD, b"2", "not_fits")
    with locks.run_lock(tmp_path / "results/a/.run.lock"):
        assert main(["cache", "--retry-failed"]) == 2
    assert "another run" in capsys.readouterr().err


def test_hdf5_files_ask_the_file_system_for_no_lock(tmp_path, monkeypatch):
    """They are written under a name of their own and never changed: a file system without locks is no obstacle."""
    asked, real = [], h5py.File
    monkeypatch.setattr(h5py, "File", lambda *args, **options: asked.append(options["locking"]) or real(*args, **options))
    store.write_columns(tmp_path / "t.h5", {"object_id": np.arange(3)})
    assert store.columns(tmp_path / "t.h5")["object_id"].tolist() == [0, 1, 2] and asked == [False, False]
