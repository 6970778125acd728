"""The models of the job file, its JSON Schema and its template."""

import json
import tomllib

import jsonschema
import pytest
from pydantic import ValidationError

from batchrec.api.services import SERVICES
from batchrec.job.diagnostics import TABLES
from batchrec.job.loading import load_job
from batchrec.job.spec import NO_LIMIT, SCHEMA_FILE, Account, Job, Limits, Step, When, job_schema, template
from batchrec.values import Label

LEAST = {"input": {"paths": ["a"]}, "recognize": [{"service": "dish"}]}


def merged(**tables):
    return {**LEAST, **tables}


def step(**keys):
    return {"service": "dish", **keys}


def valid(raw):
    return jsonschema.Draft202012Validator(job_schema()).is_valid(raw)


def test_defaults():
    """What the contract says a key is when it is left out."""
    job = Job.model_validate(LEAST)
    assert job.account == Account(endpoint="https://aip.baidubce.com", profile="default", prices={})
    assert job.limits == Limits(
        qps=None,
        daily=None,
        total=None,
        attempts=5,
        timeout=30,
        patience=60,
        concurrency=0,
        on_daily_limit="stop",
    )
    assert job.output.formats == ("jsonl", "csv")
    assert (job.input.column, job.input.repair, job.input.exclude) == ("path", True, ())


def test_models_are_frozen():
    """A job does not change under those who read it."""
    with pytest.raises(ValidationError):
        Job.model_validate(LEAST).limits.qps = 5


def test_step_is_called_after_its_service():
    """A step's name is its service's, unless it has one of its own."""
    assert Step(service="dish").name == "dish"
    assert Step(service="dish", step="food").name == "food"


def test_fingerprint_is_of_service_model_and_options():
    """Every way to ask otherwise has another digest; the name, the rate and the order of options do not matter."""
    different = [
        Step(service="dish"),
        Step(service="animal"),
        Step(service="dish", options={"top_num": 3}),
        Step(service="dish", options={"top_num": 4}),
        Step(service="dish", options={"baike_num": 3}),
        Step(service="easydl_detection", model="a"),
        Step(service="easydl_detection", model="b"),
        Step(service="easydl_classification", model="b"),
    ]
    assert len({each.fingerprint for each in different}) == len(different)
    one = Step(service="dish", options={"top_num": 3, "filter_threshold": 1})
    same = Step(service="dish", step="x", qps=9, options={"filter_threshold": 1.0, "top_num": 3})
    assert one.fingerprint == same.fingerprint


def test_fingerprint_does_not_change():
    """A digest is kept in journals, so the next version has to find the same one."""
    assert Step(service="dish", options={"top_num": 3}).fingerprint.startswith("d7f27a75")


@pytest.mark.parametrize(
    ("when", "labels", "expected"),
    [
        ({}, [], False),
        ({}, [Label("椅子", 0.1)], True),
        ({}, [Label(None)], True),
        ({"label": "食|菜"}, [Label("炒菜", 0.1)], True),
        ({"label": "食|菜"}, [Label("椅子", 0.9, root="食品-水果")], True),
        ({"label": "食|菜"}, [Label("椅子", 0.9, root="商品-家具")], False),
        ({"label": "^菜"}, [Label("炒菜", 0.9)], False),
        ({"label": "菜", "min_score": 0.3}, [Label("菜", 0.3)], True),
        ({"label": "菜", "min_score": 0.3}, [Label("菜", 0.29), Label("椅子", 0.9)], False),
        ({"label": "菜", "min_score": 0.3}, [Label("菜", None)], False),
        ({"label": "菜", "min_score": 0.0}, [Label("菜", None)], True),
        ({"label": "^$"}, [Label("菜", 0.9, root=None)], False),
        ({"label": "[[菜]"}, [Label("菜", 0.9)], True),
    ],
)
def test_when_matches(when, labels, expected):
    """The regex is searched in name and root, and the score is that of the label it is found in."""
    assert When(step="a", **when).matches(labels) is expected


def test_limits_for_a_step():
    """A step's own qps, daily and total win; what it leaves out stays."""
    job = Job.model_validate(merged(limits={"qps": 5, "daily": 7}, recognize=[step(qps=1), step(step="b", total=9)]))
    first, second = (job.limits_for(each) for each in job.recognize)
    assert (first.qps, first.daily, first.total) == (1, 7, None)
    assert (second.qps, second.daily, second.total) == (5, 7, 9)


@pytest.mark.parametrize(
    ("endpoint", "written", "qps"),
    [("https://aip.baidubce.com", {}, 2), ("embedded", {}, NO_LIMIT), ("embedded", {"qps": 3}, 3)],
)
def test_rate_of_a_job_that_sets_none(endpoint, written, qps):
    """What a new account has; no limit where the emulator is in the process. What is written holds everywhere."""
    job = Job.model_validate(merged(limits=written, account={"endpoint": endpoint}, recognize=[step()]))
    assert [job.limits_for(each).qps for each in job.recognize] == [qps]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("embedded", "embedded"),
        ("https://aip.baidubce.com/", "https://aip.baidubce.com"),
        ("HTTPS://Example.com:8443", "https://example.com:8443"),
        ("https://AIP.baidubce.com:443", "https://aip.baidubce.com"),
        ("https://aip.baidubce.com.", "https://aip.baidubce.com"),
        ("https://ａip。baidubce。com", "https://aip.baidubce.com"),
        ("https://Bücher.example", "https://xn--bcher-kva.example"),
        ("https://a:80", "https://a:80"),
        ("http://localhost:80", "http://localhost"),
        ("http://LOCALHOST.:443", "http://localhost:443"),
        ("http://127.8.9.1:080/", "http://127.8.9.1"),
        ("http://[0:0::1]:8080", "http://[::1]:8080"),
        ("http://127.0.0.1:", "http://127.0.0.1"),
    ],
)
def test_endpoint_is_taken(given, expected):
    """One endpoint has one spelling, since results belong to it."""
    assert Account(endpoint=given).endpoint == expected


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Embedded",
        "aip.baidubce.com",
        "ftp://a",
        "https://",
        "https://a:x",
        "https://a:99999",
        "https://[::1",
        "https://a b",
        "https://a\n",
        "https://a\\b",
        "https://a..b",
        "https://.",
        "https://%61ip.baidubce.com",
        "https://aip.baidubce.com@evil.example",
        "https://-\u00ad",
        "https://[::1]x",
        "https://u:p@a",
        "https://a/x",
        "https://a?x",
        "https://a/#",
        "http://aip.baidubce.com",
        "http://localhost.evil.com",
        "http://127.0.0.1.evil.com",
        "http://127.1",
        "http://10.0.0.1",
        "http://0.0.0.0",
    ],
)
def test_endpoint_is_refused(given):
    """Nothing but a host, and a key leaves this machine encrypted only."""
    with pytest.raises(ValidationError):
        Account(endpoint=given)


def test_schema_file_is_the_models():
    """The shipped schema is the one the models make."""
    expected = json.dumps(job_schema(), ensure_ascii=False, indent=2) + "\n"
    assert SCHEMA_FILE.read_text(encoding="utf-8") == expected, "write job_schema() to batchrec/job/job.schema.json"


def test_schema_is_one():
    """It is a valid schema of the draft it names, without null, which TOML does not have."""
    jsonschema.Draft202012Validator.check_schema(job_schema())
    assert '"null"' not in json.dumps(job_schema())
    assert "null" not in json.dumps(job_schema())


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.__name__)
def test_every_key_is_described(table):
    """An editor has a sentence and an example for each key, and the table has one."""
    assert table.__doc__
    assert all(field.examples for field in table.model_fields.values())
    tables = {"input", "account", "limits", "output"}
    assert all(field.description or name in tables for name, field in table.model_fields.items())


RIGHT = [
    LEAST,
    merged(recognize=[step(qps="auto")], limits={"qps": "auto"}),
    merged(input={"manifest": "a.csv"}),
    merged(recognize=[step(options={"top_num": 3, "filter_threshold": 0.5})]),
    merged(recognize=[{"service": "easydl_detection", "model": "m", "options": {"threshold": 1}}]),
    merged(account={"endpoint": "http://127.0.0.1:8080", "prices": {"dish": 2}}),
    merged(limits={"qps": 0.5, "daily": 1, "concurrency": 256, "on_daily_limit": "wait"}),
]

WRONG = [
    {},
    merged(input={}),
    merged(input={"paths": []}),
    merged(input={"paths": "a"}),
    merged(recognize=[]),
    merged(recognize=[step(service="dishes")]),
    merged(recognize=[step(model="m")]),
    merged(recognize=[{"service": "easydl_detection"}]),
    merged(recognize=[step(options={"baike": 1})]),
    merged(recognize=[step(options={"top_num": "3"})]),
    merged(recognize=[step(when={"label": "x"})]),
    merged(recognize=[step(qps="fast")]),
    merged(account={"endpoint": "http://aip.baidubce.com"}),
    merged(account={"api_key": "x"}),
    merged(account={"prices": {"dishes": 2}}),
    merged(limits={"qsp": 2}),
    merged(limits={"qps": 0}),
    merged(limits={"qps": True}),
    merged(limits={"daily": 0}),
    merged(limits={"concurrency": 257}),
    merged(output={"formats": ["xlsx"]}),
    merged(path="x"),
]


@pytest.mark.parametrize("raw", RIGHT, ids=json.dumps)
def test_schema_and_models_take(raw):
    """What batchrec takes, an editor does not underline."""
    assert valid(raw)
    assert Job.model_validate(raw)


@pytest.mark.parametrize("raw", WRONG, ids=json.dumps)
def test_schema_refuses(raw):
    """What batchrec refuses, an editor underlines."""
    assert not valid(raw)


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_schema_completes_options(service):
    """For each service an editor offers its options, with type and meaning, and no others."""
    branches = job_schema()["$defs"]["Step"]["allOf"]
    (branch,) = [each for each in branches if each["if"]["properties"]["service"]["const"] == service.name]
    options = branch["then"]["properties"]["options"]
    assert {name: each["description"] for name, each in options["properties"].items()} == {
        option.name: option.meaning for option in service.options
    }
    assert options["additionalProperties"] is False


def test_template_loads(tmp_path):
    """What `batchrec init` writes is a job file, with every key at its default."""
    path = tmp_path / "furniture.toml"
    path.write_text(template(), encoding="utf-8")
    job = load_job(path, environ={})
    least = {"input": {"paths": ["photos"]}, "recognize": [{"service": "advanced_general"}]}
    path.write_text('input.paths = ["photos"]\nrecognize = [{ service = "advanced_general" }]\n')
    assert job == load_job(path, environ={})
    assert valid(tomllib.loads(template()))
    assert valid(least)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.__name__)
def test_template_has_every_key(table):
    """There is no key that a reader of the template would not learn of."""
    tables = {"input", "recognize", "account", "limits", "output", "notify"}
    for key in table.model_fields:
        assert (f"[{key}]" if key in tables else f"{key} ") in template()
