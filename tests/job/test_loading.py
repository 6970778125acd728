"""Reading a job file: TOML, --set, the environment, and where the job is."""

from pathlib import Path

import pytest

from batchrec.errors import JobError
from batchrec.job.loading import build_job, load_job

LEAST = '[input]\npaths = ["a"]\n[[recognize]]\nservice = "dish"\n'


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes x.toml into the current folder, which is empty."""
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes) -> str:
        Path("x.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return "x.toml"

    return write


def complaints(*args, **kwargs):
    with pytest.raises(JobError) as caught:
        load_job(*args, **{"environ": {}, **kwargs})
    return list(caught.value.complaints)


def test_least_job(write, tmp_path):
    """Inputs and one step are enough; the rest has defaults, the name is the file's."""
    job = load_job(write(LEAST), environ={})
    assert (job.name, job.path, job.base) == ("x", tmp_path / "x.toml", tmp_path)
    assert job.directory == tmp_path / "results" / "x"


@pytest.mark.parametrize(
    ("directory", "expected"),
    [("../out", "/jobs/out"), ("out/a", "/jobs/here/out/a"), ("/abs", "/abs"), ("a/../b", "/jobs/here/b")],
)
def test_directory_is_relative_to_the_file(directory, expected):
    """The output directory is found from the job file, wherever batchrec was started."""
    raw = {
        "input": {"paths": ["a"]},
        "recognize": [{"service": "dish"}],
        "output": {"directory": directory},
    }
    assert build_job(raw, "/jobs/here/x.toml").directory == Path(expected)


def test_links_are_not_resolved(tmp_path):
    """A linked job file works from the folder of the link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.toml").write_text(LEAST)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert load_job(tmp_path / "link" / "x.toml", environ={}).base == tmp_path / "link"


@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
def test_byte_order_mark(write, head):
    """UTF-8 is read with or without byte order mark, and with either line end."""
    text = LEAST.replace("a", "家居").replace("\n", "\r\n").replace("p家居ths", "paths")
    assert load_job(write(head + text.encode()), environ={}).input.paths == ("家居",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nb = x\n", "x.toml: line 2, column 5: this is no value"),
        ("a = 家\n".encode("gbk"), "x.toml: line 1: byte 0xbc is not UTF-8; save the file as UTF-8"),
        (b"a = 1\n\xff\n", "x.toml: line 2: byte 0xff is not UTF-8; save the file as UTF-8"),
        ("a = " + "[" * 9999, "x.toml: lists or tables are nested too deep"),
    ],
    ids=["value", "gbk", "byte", "deep"],
)
def test_file_that_is_not_toml(write, text, expected):
    """The place and the reason come first."""
    assert complaints(write(text))[0] == expected


def test_no_such_file(tmp_path, monkeypatch):
    """A file that is not there, and how to get one."""
    monkeypatch.chdir(tmp_path)
    expected = "nope.toml: there is no such file; this writes one to start from: batchrec init --out nope.toml"
    assert complaints("nope.toml") == [expected]


def test_folder(tmp_path, monkeypatch):
    """A folder is not a job file."""
    monkeypatch.chdir(tmp_path)
    assert complaints(".") == [".: is a folder, not a job file; this writes a job file for it: batchrec init ."]


def test_file_that_cannot_be_opened():
    """The system's reason for a file that cannot be read."""
    name = "x" * 300
    assert complaints(name) == [f"{name}: cannot be read: File name too long"]


def test_path_with_nul():
    """A path that no file can have is told, not thrown."""
    assert len(complaints("a\0b")) == 1


@pytest.mark.parametrize(
    ("override", "read", "expected"),
    [
        ("limits.qps=50", lambda job: job.limits.qps, 50),
        (" limits.qps = 0.5", lambda job: job.limits.qps, 0.5),
        ("recognize.0.qps=7", lambda job: job.recognize[0].qps, 7),
        ("recognize[0].qps=7", lambda job: job.recognize[0].qps, 7),
        ("recognize.0.options.top_num=3", lambda job: job.recognize[0].options, {"top_num": 3}),
        ('output.formats=["jsonl"]', lambda job: job.output.formats, ("jsonl",)),
        ("output.formats=[]", lambda job: job.output.formats, ("jsonl",)),
        ('output.formats=["csv"]', lambda job: job.output.formats, ("jsonl", "csv")),
        ('input.paths.0="b=c"', lambda job: job.input.paths, ("b=c",)),
        ('recognize=[{service="car"}]', lambda job: job.recognize[0].service, "car"),
        ('name="菜"', lambda job: job.name, "菜"),
    ],
)
def test_set(write, override, read, expected):
    """Any key can be set, whether the file has it or not."""
    assert read(load_job(write(LEAST), [override], {})) == expected


def test_later_set_wins(write):
    """Of two settings of one key the last one holds."""
    assert load_job(write(LEAST), ["limits.qps=1", "limits.qps=3"], {}).limits.qps == 3


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "limits.on_daily_limit=wait",
            '--set limits.on_daily_limit: "wait" is not a TOML value; '
            "text is quoted: --set 'limits.on_daily_limit=\"wait\"'",
        ),
        ("limits.qps=", '--set limits.qps: "" is not a TOML value'),
        ("limits.qps=1\nx = 2", '--set limits.qps: "1\\nx = 2" is not a TOML value'),
        ('limits."a\nb"=x y', '--set limits."\\"a\\nb\\"": "x y" is not a TOML value'),
        ("limits.qps", '--set "limits.qps": it takes key.path=TOML-VALUE, for example: limits.qps=50'),
        ("=5", '--set "": it takes key.path=TOML-VALUE, for example: limits.qps=50'),
        ("limits..qps=5", '--set "limits..qps": it takes key.path=TOML-VALUE, for example: limits.qps=50'),
        ("recognize.1.qps=5", "--set recognize.1: recognize has 1 entries, counted from 0"),
        ("recognize.-1.qps=5", "--set recognize.-1: recognize has 1 entries, counted from 0"),
        ("recognize.qps=5", "--set recognize.qps: recognize has 1 entries, counted from 0"),
        ("input.paths.0.x=5", '--set input.paths[0].x: input.paths[0] is "a", which holds no keys'),
        ("limits.qsp=5", '--set: limits.qsp: unknown key, did you mean "qps"?'),
        ("recognize.0.qps=0", "--set: recognize[0].qps: 0 is not above 0; for example: 10"),
        ("limits=5", "--set: limits: 5 is not a table; for example: { qps = 10 }"),
        ("account.api_key=hush", "--set account.api_key: (not shown) is not a TOML value"),
        ('account.api_key="hush"', "--set: account.api_key: never a key in a job file; `batchrec login` keeps it"),
    ],
)
def test_set_is_refused(write, override, expected):
    """What is wrong with a setting is told as the setting's, not the file's."""
    assert complaints(write(LEAST), [override]) == [expected]


def test_settings_and_file_are_judged_together(write):
    """Complaints about settings do not hide those about the file."""
    text = LEAST + "[limits]\nqsp = 1\n"
    assert complaints(write(text), ["name", "output.formats=7"]) == [
        '--set "name": it takes key.path=TOML-VALUE, for example: limits.qps=50',
        f'x.toml: line {len(text.splitlines())}: limits.qsp: unknown key, did you mean "qps"?',
        '--set: output.formats: 7 is not a list; for example: ["jsonl", "csv"]',
    ]


def test_endpoint_of_the_environment_wins(write):
    """BATCHREC_ENDPOINT is what a test or an emulator sets, so it wins over file and --set."""
    text = LEAST + '[account]\nendpoint = "https://a"\n'
    environ = {"BATCHREC_ENDPOINT": "http://127.0.0.1:9/"}
    job = load_job(write(text), ['account.endpoint="https://b"'], environ)
    assert job.account.endpoint == "http://127.0.0.1:9"


def test_empty_endpoint_of_the_environment_is_none(write):
    """An empty variable is as good as an unset one."""
    assert load_job(write(LEAST), (), {"BATCHREC_ENDPOINT": ""}).account.endpoint == "https://aip.baidubce.com"


def test_wrong_endpoint_of_the_environment_is_told_as_such(write):
    """Nobody looks in the job file for what stands in the environment."""
    assert complaints(write(LEAST), environ={"BATCHREC_ENDPOINT": "http://a"}) == [
        'BATCHREC_ENDPOINT: account.endpoint: "http://a" would send the key unencrypted; '
        "http:// is for this machine only, else https://"
    ]


def test_error_is_exit_2(write):
    """A wrong job file ends the command with 2."""
    with pytest.raises(JobError) as caught:
        load_job(write(""), environ={})
    assert caught.value.exit_code == 2
