"""Every complaint about a job file, word for word, and that whatever is written only ever gives complaints."""

import datetime
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from batchrec.api.services import SERVICES
from batchrec.errors import JobError
from batchrec.job import spec
from batchrec.job.diagnostics import TABLES, key_path, shown
from batchrec.job.loading import build_job, load_job

SERVICE_LIST = ", ".join(SERVICES)
SECRET = "never a key in a job file; `batchrec login` keeps it"


def complaints(raw):
    with pytest.raises(JobError) as caught:
        build_job(raw, "x.toml")
    return [complaint.removeprefix("x.toml: ") for complaint in caught.value.complaints]


def job(recognize=None, **tables):
    return {"input": {"paths": ["a"]}, "recognize": recognize or [{"service": "dish"}], **tables}


def dish(**keys):
    return {"service": "dish", **keys}


def general(**keys):
    return {"service": "advanced_general", **keys}


KEYS = [
    (job(name=""), 'name: "" is not text with something in it; for example: "furniture"'),
    (job(name="a/b"), 'name: "a/b" cannot be the name of a folder: no / or \\, at most 255 bytes'),
    (job(name=".."), 'name: ".." cannot be the name of a folder: no / or \\, at most 255 bytes'),
    (job(name="a\0"), 'name: "a\\u0000" holds a character that cannot be printed'),
    (job(name="\udcff"), 'name: "\\udcff" is not Unicode text; for example: "furniture"'),
    (job(name=5), 'name: 5 is not text in quotes; for example: "furniture"'),
    (job(input=3), 'input: 3 is not a table; for example: { paths = ["photos"] }'),
    (job(input={}), 'input.paths: is missing, and so is a manifest; for example: ["photos"]'),
    (job(input={"paths": []}), 'input.paths: is missing, and so is a manifest; for example: ["photos"]'),
    (job(input={"paths": "a"}), 'input.paths: "a" is not a list; for example: ["photos", "more/*.jpg"]'),
    (job(input={"paths": ["a", 5]}), 'input.paths[1]: 5 is not text in quotes; for example: "photos"'),
    (job(input={"paths": [""]}), 'input.paths[0]: "" is not text with something in it; for example: "photos"'),
    (job(input={"paths": ["\0"]}), 'input.paths[0]: "\\u0000" is no path: it holds a NUL'),
    (
        job(input={"manifest": "a.xlsx"}),
        'input.manifest: "a.xlsx" is not a manifest that can be read: .txt, .csv, .tsv or .jsonl; '
        "save a spreadsheet as CSV UTF-8",
    ),
    (
        job(input={"paths": ["a"], "repair": "yes"}),
        'input.repair: "yes" is not true or false; for example: true',
    ),
    (job(input={"paths": ["a"], "repair": 1}), "input.repair: 1 is not true or false; for example: true"),
    (
        job(recognize={"service": "dish"}),
        'recognize: a table is not a list; for example: [{ service = "advanced_general" }]',
    ),
    (
        {"input": {"paths": ["a"]}, "recognize": []},
        'recognize: [] names no step; for example: [[recognize]] with service = "advanced_general"',
    ),
    (
        job(["dish"]),
        'recognize[0]: "dish" is not a table; for example: { service = "advanced_general" }',
    ),
    (job([{"step": "a"}]), 'recognize[0].service: is missing; for example: "advanced_general"'),
    (
        job([{"service": "dishes"}]),
        f'recognize[0].service: "dishes" is not a service; did you mean "dish"? ({SERVICE_LIST})',
    ),
    (
        job([{"service": "xyz"}]),
        f'recognize[0].service: "xyz" is not a service; it is one of ({SERVICE_LIST})',
    ),
    (job([dish(step="")]), 'recognize[0].step: "" is not text with something in it; for example: "food"'),
    (job([dish(step="a\nb")]), 'recognize[0].step: "a\\nb" holds a character that cannot be printed'),
    (job([dish(qps=-1)]), "recognize[0].qps: -1 is not above 0; for example: 10"),
    (job([dish(daily=0)]), "recognize[0].daily: 0 is not at least 1; for example: 500"),
    (job([dish(total=True)]), "recognize[0].total: true is not a whole number; for example: 10000"),
    (job([dish(options=3)]), "recognize[0].options: 3 is not a table; for example: { baike_num = 0 }"),
    (
        job([dish(when="food")]),
        'recognize[0].when: "food" is not a table; for example: { step = "advanced_general", label = "食|菜|餐" }',
    ),
    (
        job([general(), dish(when={"label": "x"})]),
        'recognize[1].when.step: is missing; for example: "advanced_general"',
    ),
    (
        job([general(), dish(when={"step": "advanced_general", "label": "("})]),
        'recognize[1].when.label: "(" is not a regular expression: a bracket is not closed, at character 1',
    ),
    (
        job([general(), dish(when={"step": "advanced_general", "label": "a{99999999999999}"})]),
        'recognize[1].when.label: "a{99999999999999}" is not a regular expression: a repetition number is too large',
    ),
    (
        job([general(), dish(when={"step": "advanced_general", "min_score": 30})]),
        "recognize[1].when.min_score: 30 is not at most 1; for example: 0.3",
    ),
    (
        job([{"service": "easydl_detection", "model": "a/../b"}]),
        'recognize[0].model: "a/../b" is not a model; letters, digits, "-" and "_", for example: "itcast_fruit"',
    ),
    (
        job(account={"endpoint": "aip.baidubce.com"}),
        'account.endpoint: "aip.baidubce.com" is not an endpoint; "embedded", '
        'or for example: "https://aip.baidubce.com"',
    ),
    (
        job(account={"endpoint": "http://a"}),
        'account.endpoint: "http://a" would send the key unencrypted; http:// is for this machine only, else https://',
    ),
    (
        job(account={"endpoint": "https://u:hush@a"}),
        "account.endpoint: (not shown) holds a user or password; leave them out",
    ),
    (
        job(account={"endpoint": "https://a/b"}),
        'account.endpoint: "https://a/b" goes on after the host; for example: "https://aip.baidubce.com"',
    ),
    (
        job(account={"profile": ""}),
        'account.profile: "" is not text with something in it; for example: "default"',
    ),
    (
        job(account={"prices": {"dishes": 2}}),
        f'account.prices.dishes: "dishes" is not a service; did you mean "dish"? ({SERVICE_LIST})',
    ),
    (job(account={"prices": {"dish": "2"}}), 'account.prices.dish: "2" is not a number; for example: 2.0'),
    (job(account={"prices": {"dish": -1}}), "account.prices.dish: -1 is not at least 0; for example: 2.0"),
    (job(limits={"qps": "10"}), 'limits.qps: "10" is not a number; for example: 10'),
    (job(limits={"qps": True}), "limits.qps: true is not a number; for example: 10"),
    (job(limits={"qps": 0}), "limits.qps: 0 is not above 0; for example: 10"),
    (job(limits={"qps": math.inf}), "limits.qps: inf is not a finite number; for example: 10"),
    (job(limits={"qps": 1 << 9999}), "limits.qps: a number of very many digits is not a number; for example: 10"),
    (job(limits={"daily": 1.0}), "limits.daily: 1.0 is not a whole number; for example: 500"),
    (
        job(limits={"total": 10**13}),
        "limits.total: 10000000000000 is not at most 1,000,000,000,000; for example: 10000",
    ),
    (job(limits={"attempts": 0}), "limits.attempts: 0 is not at least 1; for example: 5"),
    (job(limits={"timeout": 0}), "limits.timeout: 0 is not above 0; for example: 30"),
    (job(limits={"timeout": math.nan}), "limits.timeout: nan is not a finite number; for example: 30"),
    (job(limits={"patience": -1}), "limits.patience: -1 is not at least 0; for example: 60"),
    (job(limits={"concurrency": 257}), "limits.concurrency: 257 is not at most 256; for example: 64"),
    (job(limits={"concurrency": -1}), "limits.concurrency: -1 is not at least 0; for example: 64"),
    (
        job(limits={"on_daily_limit": "wiat"}),
        'limits.on_daily_limit: "wiat" is not "stop" or "wait"; did you mean "wait"?',
    ),
    (
        job(limits={"on_daily_limit": 1 << 99999}),
        'limits.on_daily_limit: a number of very many digits is not "stop" or "wait"',
    ),
    (
        job(limits={"daily": datetime.date(2026, 1, 2)}),
        "limits.daily: 2026-01-02 is not a whole number; for example: 500",
    ),
    (job(output={"directory": 3}), 'output.directory: 3 is not text in quotes; for example: "results/furniture"'),
    (
        job(output={"formats": ["cvs"]}),
        'output.formats[0]: "cvs" is not "jsonl" or "csv"; did you mean "csv"?',
    ),
    (job(output={"formats": "csv"}), 'output.formats: "csv" is not a list; for example: ["jsonl", "csv"]'),
]

UNKNOWN = [
    (job(limits={"qsp": 3}), 'limits.qsp: unknown key, did you mean "qps"?'),
    (job(Limits={}), 'Limits: unknown key, did you mean "limits"?'),
    (job(output={"qps": 3}), "output.qps: unknown key here; it belongs under recognize or limits"),
    (job(directory="x"), "directory: unknown key here; it belongs under output"),
    (
        job(zzz={"a": 1}),
        "zzz: unknown key; here may stand: name, input, recognize, account, limits, output, notify",
    ),
    (
        job(**{"we ird\n": 1}),
        '"we ird\\n": unknown key; here may stand: name, input, recognize, account, limits, output, notify',
    ),
    (job(path="x"), "path: unknown key; here may stand: name, input, recognize, account, limits, output, notify"),
    (job(account={"api_key": "hush"}), f"account.api_key: {SECRET}"),
    (job(account={"prices": {"secret_key": 1}}), f"account.prices.secret_key: {SECRET}"),
    (job(credentials={"a": "hush"}), f"credentials: {SECRET}"),
    (job(secret_key="hush"), f"secret_key: {SECRET}"),
    (job([dish(ak="hush")]), f"recognize[0].ak: {SECRET}"),
    (job([dish(options={"access_token": "hush"})]), f"recognize[0].options.access_token: {SECRET}"),
    (
        job([general(), dish(when={"step": "advanced_general", "lable": "x"})]),
        'recognize[1].when.lable: unknown key, did you mean "label"?',
    ),
]

BETWEEN = [
    (
        job([general(options={"baike_nun": 1})]),
        "recognize[0].options.baike_nun: advanced_general has no such option; "
        'did you mean "baike_num"? (it takes: baike_num)',
    ),
    (
        job([dish(options={"zzz": 1})]),
        "recognize[0].options.zzz: dish has no such option (it takes: top_num, filter_threshold, baike_num)",
    ),
    (
        job([{"service": "landmark", "options": {"top_num": 1}}]),
        "recognize[0].options.top_num: landmark has no such option (it takes none)",
    ),
    (
        job([dish(options={"top_num": "3"})]),
        'recognize[0].options.top_num: "3" is not a whole number: at most this many labels; for example: 5',
    ),
    (
        job([dish(options={"filter_threshold": True})]),
        "recognize[0].options.filter_threshold: true is not a number: "
        "a first label above this score is returned alone; for example: 0.95",
    ),
    (
        job([{"service": "logo", "options": {"custom_lib": 1}}]),
        "recognize[0].options.custom_lib: 1 is not true or false: "
        "search only the account's own logos; for example: false",
    ),
    (
        job([{"service": "easydl_detection", "model": "m", "options": {"threshold": "x"}}]),
        'recognize[0].options.threshold: "x" is not a number: '
        "only boxes above this score; default: the model's own; for example: 0.5",
    ),
    (
        job([{"service": "easydl_detection"}]),
        'recognize[0].model: is missing: easydl_detection uses a model of yours; for example: "itcast_fruit"',
    ),
    (
        job([dish(model="m")]),
        'recognize[0].model: "m" is one too many: dish takes no model; leave it out',
    ),
    (
        job([dish(), dish()]),
        'recognize[1].step: "dish" is already the name of recognize[0]; for example: "dish-2"',
    ),
    (
        job([general(), dish(step="advanced_general")]),
        'recognize[1].step: "advanced_general" is already the name of recognize[0]; for example: "advanced_general-2"',
    ),
    (
        job([dish(when={"step": "advanced_general"}), general()]),
        'recognize[0].when.step: "advanced_general" stands later in the file; put it before this step',
    ),
    (
        job([general(), dish(step="a", when={"step": "a"})]),
        'recognize[1].when.step: "a" is this step itself; it takes one that stands earlier in the file',
    ),
    (
        job([general(), dish(when={"step": "advanced_genral"})]),
        'recognize[1].when.step: "advanced_genral" is no step of this file; '
        'did you mean "advanced_general"? (advanced_general)',
    ),
    (
        job([general(step="all"), dish(when={"step": "advanced_general"})]),
        'recognize[1].when.step: "advanced_general" is no step of this file; earlier in the file stand (all)',
    ),
    (
        job([dish(when={"step": "x"})]),
        'recognize[0].when.step: "x" is no step of this file; no step stands before the first one',
    ),
]


@pytest.mark.parametrize(
    ("raw", "expected"), [*KEYS, *UNKNOWN, *BETWEEN], ids=lambda value: value[:60] if isinstance(value, str) else ""
)
def test_complaint(raw, expected):
    """One fault gives one complaint: where, what was given, what would be right."""
    assert complaints(raw) == [expected]


def test_empty_file():
    """What must be there is asked for."""
    assert complaints({}) == [
        'input: is missing; for example: { paths = ["photos"] }',
        'recognize: is missing; for example: [{ service = "advanced_general" }]',
    ]


def test_every_fault_at_once(tmp_path, monkeypatch):
    """All faults of a file are told in its order, also those between keys of which others are wrong."""
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text(
        """
        [input]
        repair = 1
        [[recognize]]
        service = "dishes"
        qps = "10"
        [[recognize]]
        service = "advanced_general"
        options = { baike_nun = 0, baike_num = "0" }
        when = { step = "car" }
        [[recognize]]
        service = "advanced_general"
        model = "m"
        when = { step = "dish", label = "[" }
        [limits]
        qsp = 10
        timeout = -1
        [account]
        api_key = "hush"
        """
    )
    with pytest.raises(JobError) as caught:
        load_job("x.toml", environ={})
    assert all(complaint.startswith("x.toml: line ") for complaint in caught.value.complaints)
    paths = [[complaint.split(": ")[0], complaint.split(": ")[2]] for complaint in caught.value.complaints]
    assert paths == [
        ["x.toml", "input.paths"],
        ["x.toml", "input.repair"],
        ["x.toml", "recognize[0].service"],
        ["x.toml", "recognize[0].qps"],
        ["x.toml", "recognize[1].options.baike_nun"],
        ["x.toml", "recognize[1].options.baike_num"],
        ["x.toml", "recognize[1].when.step"],
        ["x.toml", "recognize[2].step"],
        ["x.toml", "recognize[2].model"],
        ["x.toml", "recognize[2].when.label"],
        ["x.toml", "limits.qsp"],
        ["x.toml", "limits.timeout"],
        ["x.toml", "account.api_key"],
    ]
    assert "hush" not in str(caught.value)


def test_misspelt_service_is_told_once():
    """A follow-up that names the step rightly is not blamed for the step's misspelling."""
    (only,) = complaints(job([{"service": "advanced_genral"}, dish(when={"step": "advanced_general"})]))
    assert only.startswith("recognize[0].service: ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("家", '"家"'),
        ('"', '"\\""'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("a\x7f", '"a\\u007f"'),
        ("a" * 99, '"' + "a" * 60 + '…"'),
        ("bce-v3/ALTAK-x/y", "(not shown)"),
        ("https://a?access_token=x", "(not shown)"),
        (True, "true"),
        (0.5, "0.5"),
        ([1], "a list"),
        ({"api_key": "hush"}, "a table"),
    ],
)
def test_shown(value, expected):
    """A value is shortened, kept on one line, and hidden where it may be secret."""
    assert shown(value) == expected


@pytest.mark.parametrize(
    "key", ["api_key", "secret_key", "apikey", "SecretKey", "bearer", "access_token", "ak", "password"]
)
def test_secret_is_not_shown(key):
    """The value of a key that sounds secret is never shown."""
    assert shown("hush", "account", key) == "(not shown)"


def test_key_path():
    """Keys as TOML writes them, indices in brackets."""
    assert key_path(("recognize", 0, "options", "a.b", "家")) == 'recognize[0].options."a.b".家'


words = st.sampled_from(
    [key for table in TABLES.values() for key in table.model_fields] + [*SERVICES, "auto", "embedded"]
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | words
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.dates()
garbage = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)


def nearly(table):
    """A table with the right keys and, mostly, the wrong values."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(table.model_fields, garbage))


jobs = st.fixed_dictionaries(
    {},
    optional={
        "name": garbage,
        "input": garbage | nearly(TABLES["input"]),
        "recognize": garbage | st.lists(garbage | nearly(TABLES["recognize"]), max_size=3),
        "account": garbage | nearly(TABLES["account"]),
        "limits": garbage | nearly(TABLES["limits"]),
        "output": garbage | nearly(TABLES["output"]),
    },
)


def toml(value):
    """`value` as inline TOML; None, which TOML lacks, as an empty table."""
    if value is None:
        return "{}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower()


def complaints_of(load):
    """The complaints, each on a line; none if there is a job instead."""
    try:
        load()
        return ()
    except JobError as exc:
        told = exc.complaints
    assert told
    assert all(len(complaint.splitlines()) == 1 for complaint in told)
    return told


@settings(max_examples=300, deadline=None)
@given(raw=jobs)
def test_garbage_in_values(raw):
    """Whatever stands where, the answer is complaints."""
    told = complaints_of(lambda: build_job(raw, "x.toml"))
    assert len(set(told)) == len(told)


@settings(max_examples=150, deadline=None)
@given(raw=jobs | st.dictionaries(texts, garbage, max_size=4))
def test_garbage_as_toml(tmp_path_factory, raw):
    """The same through a file."""
    path = tmp_path_factory.getbasetemp() / "garbage.toml"
    path.write_text("".join(f"{toml(key)} = {toml(value)}\n" for key, value in raw.items()), encoding="utf-8")
    complaints_of(lambda: load_job(path, environ={}))


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=60) | texts.map(str.encode))
def test_garbage_as_bytes(tmp_path_factory, content):
    """A file of anything is complained about."""
    path = tmp_path_factory.getbasetemp() / "garbage.toml"
    path.write_bytes(content)
    complaints_of(lambda: load_job(path, environ={}))


paths = st.lists(words | texts | st.sampled_from("012"), min_size=1, max_size=4).map(".".join)


@settings(max_examples=150, deadline=None)
@given(
    overrides=st.lists(texts | st.builds("{}={}".format, paths, garbage.map(toml) | texts), max_size=3), endpoint=texts
)
def test_garbage_as_settings(tmp_path_factory, overrides, endpoint):
    """Settings and environment may hold anything as well."""
    path = tmp_path_factory.getbasetemp() / "settings.toml"
    path.write_text('input.paths = ["a"]\n[[recognize]]\nservice = "dish"\n')
    complaints_of(lambda: load_job(path, overrides, {"BATCHREC_ENDPOINT": endpoint}))


WRONG = ("x", "", 5, -5, 1.5, True, [], [5], [{}], {}, {"a": 1}, {"dish": "x"}, math.inf, math.nan, 10**13, -1e9)
WRONG += (datetime.date(2020, 1, 1), "\0", "\udcff", None, b"x", (1,), {1}, 1j)
"""Values of every type that TOML or Python has, each wrong for most keys."""

PLACES = {"fetch": ("input", "fetch"), "recognize": ("recognize", 0), "when": ("recognize", 0, "when"), "": ()}


@pytest.mark.parametrize("table", TABLES)
def test_no_text_of_pydantic_reaches_the_user(table):
    """Whatever stands at a key, complaints are in our words: each kind of error that the models raise has its own."""
    for key in (*TABLES[table].model_fields, "unknown"):
        for value in WRONG:
            raw = job([general(when={"step": "x"})], notify={"use": "x"})
            node = raw
            for part in PLACES.get(table, (table,)):
                node = node[part] if isinstance(part, int) else node.setdefault(part, {})
            node[key] = value
            try:
                spec.Job.model_validate(raw)
            except ValidationError as error:
                theirs = {each["msg"] for each in error.errors() if each["type"] != "value_error"}
                assert not [(text, each) for text in theirs for each in complaints(raw) if text in each]
            except RecursionError:
                pass


def test_complaints_come_in_the_order_of_the_lines(tmp_path):
    """What is wrong further up is told first; what no line holds comes last."""
    path = tmp_path / "x.toml"
    path.write_text('[limits]\nqps = "x"\n[account]\nprofile = 3\n[[recognize]]\nservice = "dish"\ntotal = 0\n')
    with pytest.raises(JobError) as caught:
        load_job(path, ["output.formats=3"], environ={})
    found = [complaint.removeprefix(f"{path}: ").split(": ")[:2] for complaint in caught.value.complaints]
    assert found[:3] == [["line 2", "limits.qps"], ["line 4", "account.profile"], ["line 7", "recognize[0].total"]]
    assert sorted(found[3:]) == [["--set", "output.formats"], ["input", "is missing; for example"]]
