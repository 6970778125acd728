"""A job that goes well: what lands on the disk, to the letter, and that a second run asks for nothing."""

import hashlib
import json
import re
from datetime import datetime

from harness import JOB, Place, calls_of, images_of, now, picture, until

from batchrec import __version__
from batchrec.emulator import Emulator

ROW_KEYS = (
    *("image", "sha256", "step", "service", "model", "labels", "response", "attempts", "latency_ms"),
    *("repaired", "same_as", "reused", "answered_at", "tiles"),
)
CSV_HEADER = b"image,step,service,rank,name,score,root,calorie,year,left,top,width,height,log_id,answered_at,error\r\n"
SUMMARY_KEYS = {
    *("job", "version", "endpoint", "base", "started_at", "finished_at", "exit_code"),
    *("images", "answered", "failed", "left", "duplicates", "ignored", "ignored_by_kind", "failures_by_code"),
    *("new_failures", "calls", "throttled", "retries", "token_refreshes", "outcome_unknown", "seconds", "rate"),
    *("stopped_by", "resume_at"),
}
LABEL_KEYS = {
    "advanced_general": {"name", "score", "root"},
    "object_detect": {"name", "score", "box"},
    "dish": {"name", "score", "calorie"},
    "car": {"name", "score", "year", "box"},
    "logo": {"name", "score", "box"},
    "animal": {"name", "score"},
    "plant": {"name", "score"},
    "easydl_classification": {"name", "score"},
    "easydl_detection": {"name", "score", "box"},
    "multi_object_detect": {"name", "score", "box"},
    "ingredient": {"name", "score"},
    "landmark": {"name", "score"},
    "currency": {"name", "score", "year"},
    "redwine": {"name", "score"},
}


def test_a_row_has_every_key_of_the_contract(place: Place) -> None:
    """results.jsonl: one line per image, with the keys of the contract and values that mean what it says."""
    keys = place.pictures(6)
    place.job()
    done = place.run()
    assert (done.code, done.out) == (0, "")
    rows = place.rows()
    assert images_of(rows) == keys
    for row in rows:
        assert tuple(row) == ROW_KEYS
        assert row["sha256"] == hashlib.sha256((place.root / row["image"]).read_bytes()).hexdigest()
        assert (row["step"], row["service"], row["model"]) == ("advanced_general", "advanced_general", None)
        assert (row["attempts"], row["repaired"], row["same_as"], row["reused"]) == (1, None, None, None)
        assert isinstance(row["latency_ms"], float)
        assert isinstance(row["response"]["log_id"], int)
        assert datetime.fromisoformat(row["answered_at"]).utcoffset().total_seconds() == 0
        assert [label["name"] for label in row["labels"]] == [x["keyword"] for x in row["response"]["result"]]
        assert [label["score"] for label in row["labels"]] == sorted((x["score"] for x in row["labels"]), reverse=True)


def test_summary_and_failures_of_a_job_without_faults(place: Place, emulator: Emulator) -> None:
    """summary.json has the keys of the contract and agrees with the service; failures.jsonl is there, and empty."""
    place.pictures(5)
    place.put("家居/notes.txt", b"no picture by its name")
    place.put("家居/.hidden.jpg", picture(1))
    place.job()
    assert place.run().code == 0
    summary = place.summary()
    assert set(summary) == SUMMARY_KEYS
    assert [summary[key] for key in ("images", "answered", "failed", "duplicates")] == [5, 5, 0, 0]
    assert (summary["ignored"], summary["ignored_by_kind"]) == (2, {"hidden": 1, "text": 1})
    assert summary["calls"] == emulator.counters.calls["advanced_general"] == 5
    assert [summary[key] for key in ("throttled", "retries", "token_refreshes", "outcome_unknown")] == [0, 0, 0, 0]
    assert (summary["stopped_by"], summary["resume_at"]) == (None, None)
    assert [summary[key] for key in ("job", "version", "exit_code")] == [JOB, __version__, 0]
    assert (summary["endpoint"], summary["base"]) == (place.endpoint, str(place.root))
    begun, ended = (datetime.fromisoformat(summary[key]) for key in ("started_at", "finished_at"))
    assert begun.utcoffset() is not None
    assert abs((ended - begun).total_seconds() - summary["seconds"]) < 0.01
    assert abs(ended.timestamp() - now()) < 60
    assert [summary[key] for key in ("left", "failures_by_code", "new_failures")] == [0, {}, 0]
    assert summary["seconds"] > 0
    assert summary["rate"] > 0
    assert (place.output / "failures.jsonl").read_bytes() == b""
    assert place.counted() == 5


def test_the_csv_is_for_excel(place: Place) -> None:
    """results.csv: byte order mark, CRLF, the columns of the contract, a row per label, the log_id exact."""
    place.pictures(4)
    place.job()
    assert place.run().code == 0
    data = (place.output / "results.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf" + CSV_HEADER)
    assert data.count(b"\n") == data.count(b"\r\n")
    expected = [
        (row["image"], str(rank), label["name"], str(label["score"]), str(row["response"]["log_id"]))
        for row in place.rows()
        for rank, label in enumerate(row["labels"], start=1)
    ]
    assert [(x["image"], x["rank"], x["name"], x["score"], x["log_id"]) for x in place.csv()] == expected


def test_every_service_answers_in_one_shape(place: Place) -> None:
    """Whatever a service calls things, its labels have the names of the contract, and an exact response beside."""
    place.pictures(5)
    models = {service: {"model": "itcast_fruit"} for service in LABEL_KEYS if service.startswith("easydl")}
    place.job(steps=[{"service": service, **models.get(service, {})} for service in LABEL_KEYS])
    assert place.run().code == 0
    for service, keys in LABEL_KEYS.items():
        rows = [row for row in place.rows() if row["service"] == service]
        labels = [label for row in rows for label in row["labels"]]
        assert (len(rows), {row["model"] for row in rows}) == (5, {models.get(service, {}).get("model")})
        assert labels
        assert all(set(label) == keys for label in labels)
        assert len({type(label["score"]) for label in labels} | {float, type(None)}) == 2
        boxes = [label["box"] for label in labels if "box" in label]
        assert all(set(box) == {"left", "top", "width", "height"} for box in boxes)


def test_a_rerun_of_a_finished_job_makes_no_call(place: Place, emulator: Emulator) -> None:
    """A finished job is finished: no network call, the token's included, no change to any result, exit 0."""
    place.pictures(4)
    place.job()
    assert place.run().code == 0
    before, files = calls_of(emulator), (place.output / "results.jsonl").read_bytes()
    (place.state / "tokens").rename(place.root / "elsewhere")
    done = place.run()
    assert (done.code, calls_of(emulator)) == (0, before)
    assert (place.output / "results.jsonl").read_bytes() == files
    summary = place.summary()
    assert [summary[key] for key in ("images", "answered", "calls")] == [4, 4, 0]


def test_the_token_is_fetched_once_and_kept(place: Place, emulator: Emulator) -> None:
    """One token for everybody, kept between runs, readable by nobody else."""
    place.pictures(4)
    place.job(steps=[{"service": "advanced_general"}, {"service": "animal"}])
    assert place.run().code == 0
    place.pictures(2, start=10)
    assert place.run().code == 0
    assert emulator.counters.tokens_issued == 1
    assert place.state.stat().st_mode & 0o777 == 0o700
    files = [path for path in place.state.rglob("*") if path.is_file()]
    assert len(files) >= 2
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}


def test_keys_are_paths_as_they_were_written(place: Place, emulator: Emulator) -> None:
    """`image`: relative inputs from the job file's folder with `..` kept, absolute ones absolute; twice is once."""
    folder = place.root / "jobs"
    (place.root / "crawl").mkdir()
    folder.mkdir()
    for number, name in enumerate(("a.jpg", "b.png", "空 格.jpg")):
        (place.root / "crawl" / name).write_bytes(picture(number))
    absolute = str(place.root / "crawl" / "b.png")
    job = place.job(input={"paths": ["../crawl/a.jpg", "./../crawl//a.jpg", absolute, "../crawl/空*.jpg"]})
    job.rename(folder / job.name)
    assert place.batchrec("run", f"jobs/{job.name}").code == 0
    rows = [json.loads(line) for line in (folder / "results" / "furniture" / "results.jsonl").read_text().splitlines()]
    assert images_of(rows) == sorted(["../crawl/a.jpg", "../crawl/空 格.jpg", absolute])
    assert emulator.counters.calls["advanced_general"] == 3


def test_options_are_sent_and_reach_the_answer(place: Place) -> None:
    """A step's options are the service's own parameters."""
    place.pictures(6)
    place.job(steps=[{"service": "animal", "options": {"top_num": 2}}])
    assert place.run().code == 0
    assert max(len(row["response"]["result"]) for row in place.rows()) == 2


def test_what_is_repaired_is_told_and_boxes_are_in_the_original_pixels(place: Place) -> None:
    """A picture that is too large is shrunk, the row says so, and its box is in the pixels of the file."""
    place.put("家居/wide.jpg", picture(1, "JPEG", (5000, 2000)))
    place.put("家居/same.webp", picture(2, "WEBP", (64, 64)))
    place.job(steps=[{"service": "object_detect"}])
    assert place.run().code == 0
    rows = {row["image"]: row for row in place.rows()}
    assert all(row["repaired"] and all(isinstance(word, str) for word in row["repaired"]) for row in rows.values())
    (sent,) = [row["response"]["result"] for row in rows.values() if row["image"].endswith("wide.jpg")]
    (label,) = rows["家居/wide.jpg"]["labels"]
    assert label["box"]["left"] >= sent["left"]
    assert label["box"]["width"] > sent["width"]


def test_rows_are_visible_within_a_second(place: Place, emulator: Emulator) -> None:
    """Somebody who follows results.jsonl sees an answer while the rest is still asked."""
    place.pictures(30)
    place.job(limits={"qps": 5})
    running = place.start_run()
    until(lambda: emulator.counters.outcomes.get("advanced_general", {}).get("ok", 0) >= 3)
    until(lambda: place.row_count() >= 3, seconds=1)
    assert running.process.poll() is None
    running.kill()


def test_the_last_line_for_a_person_says_how_it_went(place: Place) -> None:
    """The end of standard error names images, answers, failures and the folder."""
    place.pictures(3)
    place.job()
    done = place.run()
    assert re.search(r"3 images done, 0 failed, 0 remaining · 3 results · 3 calls in [\d.]+ s", done.err)
    assert "batchrec show results/furniture" in done.err


def test_calls_leave_evenly_and_not_too_fast(place: Place, emulator: Emulator) -> None:
    """An account that has exactly limits.qps, measured over any second, refuses nothing or next to nothing."""
    place.pictures(60)
    place.job(limits={"qps": 20})
    emulator.configure(qps=21)
    assert place.run().code == 0
    assert place.summary()["throttled"] <= 3


def test_a_step_may_have_a_rate_of_its_own(place: Place, emulator: Emulator) -> None:
    """qps in a step wins over [limits]; the other step is not held up by it."""
    place.pictures(6)
    place.job(steps=[{"service": "dish", "qps": 2}, {"service": "animal"}])
    assert place.run().code == 0
    busiest = emulator.counters.snapshot()["busiest_second"]
    assert isinstance(busiest, dict)
    assert busiest["dish"] <= 3
    assert busiest["animal"] == 6


def test_the_token_is_renewed_before_it_ends(place: Place, emulator: Emulator) -> None:
    """Tokens that live fifteen seconds: no call ever carries one that has expired."""
    place.pictures(220)
    place.job(limits={"qps": 15})
    emulator.configure(token_life=15)
    assert place.run().code == 0
    assert not {"110", "111"} & set(emulator.counters.outcomes["advanced_general"])
    assert place.summary()["token_refreshes"] == emulator.counters.tokens_issued - 1 >= 1


def test_a_revoked_token_is_replaced_once_for_everybody(place: Place, emulator: Emulator) -> None:
    """Many calls in flight find the token revoked: one refresh, all are sent again, none has spent an attempt."""
    place.pictures(60)
    place.job(limits={"qps": 40, "attempts": 1})
    emulator.configure(latency=0.2)
    running = place.start_run()
    until(lambda: emulator.counters.in_flight >= 5)
    emulator.revoke_tokens()
    assert running.wait().code == 0
    assert emulator.counters.tokens_issued == 2
    assert (place.summary()["token_refreshes"], len(place.rows())) == (1, 60)
    assert {row["attempts"] for row in place.rows()} == {1}


def test_a_plain_environment_writes_the_same(place: Place) -> None:
    """No UTF-8 locale, as in many a cron: file names, labels and messages come out all the same."""
    place.pictures(2)
    place.put("家居/坏.jpg", b"<html>")
    place.job()
    done = place.run(env={"LC_ALL": "C", "LANG": "C"})
    assert done.code == 1
    assert len(place.rows()) == 2
    assert [row["image"] for row in place.failures()] == ["家居/坏.jpg"]


def test_manifests_name_images_and_missing_files_are_failed_rows(place: Place) -> None:
    """.csv with a column and a byte order mark, .jsonl: paths relative to the manifest, in its order."""
    keys = place.pictures(3)
    rows = "".join(f"{number},{key}\r\n" for number, key in enumerate(keys))
    place.put("lists/list.csv", f"\ufeffid,文件\r\n{rows}9,家居/gone.png\r\n".replace("家居/", "../家居/").encode())
    place.job(input={"paths": [], "manifest": "lists/list.csv", "column": "文件"})
    assert place.run().code == 1
    assert images_of(place.rows()) == keys
    assert [(row["image"], row["code"]) for row in place.failures()] == [("家居/gone.png", "unreadable")]
