"""The crontab outside of our blocks, byte for byte."""

from hypothesis import given
from hypothesis import strategies as st

from batchrec.nightly.crontab import blocks_in, quoted, with_block, without_block

USERS_LINES = st.sampled_from(
    [
        b"# a comment",
        b"#0 2 * * * switched off",
        b"",
        b"   \t ",
        b"MAILTO=ops@example.com",
        b"FOO = bar baz",
        b"CRON_TZ=Europe/Berlin",
        b'PATH="/usr/local/bin:/usr/bin"',
        b"0\t 2  *  * *   backup --all % one %two \\% three",
        b"@reboot  /usr/bin/true",
        b"not a line that cron reads",
        b"\xff\xfe bytes \x80 of another encoding",
        b"0 0 * * * echo \xe5\xa4\x9c\r",
        b"# >>> batchrec /other/job.toml (do not edit) >>>",
        b"# <<< batchrec /other/job.toml <<<",
    ]
)
TABLES = st.lists(USERS_LINES | st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=12).map(
    lambda lines: b"".join(line + b"\n" for line in lines)
)
TEXTS = st.sampled_from(["10 16 * * * cd /x && run\n", "# a\n1 2 * * * a\n3 4 * * 1 b\n", "0 0 * * * 夜间 \\% x\n"])
JOB = "/srv/shop/夜间 1.toml"


@given(table=TABLES, first=TEXTS, second=TEXTS)
def test_all_other_lines_stay_byte_for_byte(table: bytes, first: str, second: str) -> None:
    """Install, replace and remove touch nothing but the block; removing leaves what was there before."""
    once = with_block(table, JOB, first)
    twice = with_block(once, JOB, second)
    assert [block.text for block in blocks_in(twice) if block.job == JOB] == [second]
    assert with_block(twice, JOB, second) == twice
    assert without_block(twice, JOB) == without_block(once, JOB) == table
    assert without_block(table, JOB) is None


@given(table=TABLES, texts=st.tuples(TEXTS, TEXTS))
def test_blocks_of_other_jobs_stay(table: bytes, texts: tuple[str, str]) -> None:
    """Each job has a block of its own."""
    one = with_block(table, "/a.toml", texts[0])
    both = with_block(one, "/b.toml", texts[1])
    assert without_block(both, "/b.toml") == one


def test_a_block_stands_before_a_line_that_moves_zones() -> None:
    """cronie takes CRON_TZ for all lines below it."""
    table = b"A=1\nCRON_TZ=Asia/Tokyo\n0 0 * * * x\n"
    assert with_block(table, JOB, "1 1 * * * y\n").index(b"1 1 * * *") < table.index(b"CRON_TZ") + 80
    assert with_block(table, JOB, "1 1 * * * y\n").endswith(b"CRON_TZ=Asia/Tokyo\n0 0 * * * x\n")


def test_a_table_without_a_last_line_end_gets_one() -> None:
    """cron would not read the last line."""
    assert with_block(b"0 0 * * * x", JOB, "1 1 * * * y\n").startswith(b"0 0 * * * x\n# >>>")


def test_percent_signs_stand_outside_of_quotes() -> None:
    """Within single quotes busybox would keep the backslash."""
    assert quoted(["a b%c d"]) == "'a b'\\%'c d'"
