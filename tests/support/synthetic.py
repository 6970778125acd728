"""Synthetic output directories: results of a finished job of any size, without calls.

    python -m tests.support.synthetic FOLDER ROWS [--images]

makes `FOLDER/synthetic.toml` and its output directory `FOLDER/results`, with journal.db, results.jsonl (ROWS rows of
about 1 KB), failures.jsonl and summary.json; `batchrec verify --quick FOLDER/results` agrees with it. A million rows
take a minute and 1.1 GB.

- Images are `photos/<class>/<number>.jpg`, in nine folders with Chinese and ASCII names. Two steps were run on each of
  them: `advanced_general`, and `objects` (multi_object_detect, labels with boxes). Rows are in the order of completion,
  which differs from the order of the inputs a little.
- A row has the keys and the values of a real one: five labels, best first, scores from 0.15 to 0.95, the
  service's own `response` with a 19-digit `log_id`. One row in 200 has no label.
- One image in 100 failed at both steps (three codes). One in 50 is a copy of the image before it (`same_as`). One in
  ten was `repaired`.
- `sha256` is the digest of the image's name. With `--images` there are files: JPEG of 320 x 240 in the colour of their
  class, with a rectangle where the first box is, and `sha256` is their digest.
"""

import argparse
import hashlib
import io
import random
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from batchrec.api.services import SERVICES
from batchrec.engine.resume import step_records
from batchrec.engine.rows import Asked, answered
from batchrec.job.loading import load_job
from batchrec.journal import Journal
from batchrec.journal.schema import ANSWERED, FAILED
from batchrec.outputs import JsonlOutput
from batchrec.outputs.summary import write_failures, write_summary
from batchrec.values import Answer, Box, InputEntry, Label, Prepared, Row, Summary, Task

JOB = """\
name = "synthetic"

[input]
paths = ["photos"]

[[recognize]]
service = "advanced_general"

[[recognize]]
step = "objects"
service = "multi_object_detect"

[account]
endpoint = "embedded"

[output]
directory = "results"
formats = ["jsonl"]
"""

CLASSES = (
    ("动物", "动物-哺乳动物", ("猫", "狗", "长颈鹿", "考拉", "小熊猫")),
    ("鸟", "动物-鸟类", ("翠鸟", "金刚鹦鹉", "鸭子", "鸡", "麻雀")),
    ("鱼", "动物-鱼类", ("小丑鱼", "金鳟", "河豚", "鲤鱼", "鲨鱼")),
    ("家居", "商品-家居", ("沙发", "餐桌", "台灯", "椅子", "书柜")),
    ("日用品", "商品-容器", ("水杯", "马克杯", "奶桶", "灯泡", "排球")),
    ("建筑", "建筑-其他", ("斗兽场", "比萨斜塔", "金字塔", "大教堂", "水坝")),
    ("菜品", "食物-菜品", ("宫保鸡丁", "麻婆豆腐", "红烧肉", "米饭", "炒面")),
    ("tools", "商品-五金工具", ("锤子", "剪刀", "扳手", "镊子", "万用表")),
    ("energy & co", "商品-仪器设备", ("太阳能聚光器", "风车", "起重机", "射电望远镜", "发电机")),
)
"""Folder, root and names of each class."""

STEPS = {"advanced_general": "advanced_general", "objects": "multi_object_detect"}
"""Services by the names of the steps."""

FAILURES = (("image", 216201, "image format error"), ("image", "too_small", "14 x 9 pixels"), ("transient", 282000, ""))
"""Kind, code and message of the images that failed, in turn."""

_FAILED_EVERY, _COPY_EVERY, _REPAIRED_EVERY, _EMPTY_EVERY = 100, 50, 10, 200  # images
_SIDES_PIXELS = (320, 240)
_FIRST_LOG_ID = 2124958367024021510
_FIRST_SECONDS = 1_795_000_000  # Unix time
_TOGETHER = 8  # images that finish in another order than they began


class Sample(NamedTuple):
    """An image: its number from 0, key, digest, size in bytes, and what is on it."""

    number: int
    key: str
    sha256: bytes
    size: int
    names: tuple[str, ...]
    root: str

    @property
    def failed(self) -> bool:
        """Whether it failed."""
        return self.number % _FAILED_EVERY == _FAILED_EVERY - 1

    @property
    def copies(self) -> bool:
        """Whether it has the bytes of the image before it."""
        return self.number % _COPY_EVERY == 1


def write(folder: Path, rows: int, *, images: bool = False) -> Path:
    """Make a job file and its output directory with so many rows; returns the directory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "synthetic.toml").write_text(JOB, encoding="utf-8")
    job = load_job(folder / "synthetic.toml", environ={})
    job.directory.mkdir()
    done = (rows + 1) // len(STEPS)
    count = done + done // (_FAILED_EVERY - 1)
    samples = list(_samples(folder, count, images=images))
    with closing(Journal(job.directory, "boot")) as journal:
        journal.opening.claim_identity({"name": job.name, "endpoint": "embedded (synthetic)"})
        journal.put_note("base", "..")
        list(
            journal.opening.take_inputs(
                InputEntry(sample.key, 0, sample.number, sample.size, _FIRST_SECONDS * 10**9) for sample in samples
            )
        )
        steps = journal.opening.take_steps(step_records(job))
        journal.opening.evaluated()
        place = _write_rows(job.directory / JsonlOutput.filename, journal, samples, steps, rows)
        journal.answers.put_outputs({JsonlOutput.filename: place}, (), None)
        journal.database.execute("ANALYZE")
        journal.conclude("{}")
        write_failures(job.directory, journal.reader.failures())
        counts = journal.reader.counts()
        write_summary(
            job.directory,
            Summary(
                job=job.name,
                endpoint="embedded",
                base=str(job.base),
                exit_code=1,
                images=counts.images,
                answered=counts.answered,
                failed=counts.failed,
                left=journal.reader.remaining(),
                duplicates=counts.duplicates,
                failures_by_code=journal.reader.failures_by_code(),
            ),
        )
    return job.directory


def _samples(folder: Path, count: int, *, images: bool) -> Iterator[Sample]:
    """The images, in input order; with `images` their files are written."""
    before = b""
    for number in range(count):
        name, root, names = CLASSES[number * len(CLASSES) // count]
        key = f"photos/{name}/{number:07}.jpg"
        turned = number % len(names)
        sample = Sample(number, key, b"", 40_000 + number % 999, names[turned:] + names[:turned], root)
        if images:
            data = before if sample.copies else _jpeg(sample)
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            before, sample = data, sample._replace(size=len(data))
            digest = hashlib.sha256(data).digest()
        else:
            digest = hashlib.sha256(f"{number - sample.copies}".encode()).digest()
        yield sample._replace(sha256=digest)


def _jpeg(sample: Sample) -> bytes:
    chance = random.Random(sample.number)
    colour = tuple(chance.randrange(40, 200) for _ in "rgb")
    image = Image.new("RGB", _SIDES_PIXELS, colour)
    box = _box(sample, 0)
    ImageDraw.Draw(image).rectangle((box.left, box.top, box.right, box.bottom), outline="white", width=4)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=70)
    return data.getvalue()


def _write_rows(
    path: Path, journal: Journal, samples: list[Sample], steps: dict[str, int], rows: int
) -> tuple[int, int]:
    """Write results.jsonl and the states of all images; returns the file's length and its CRC-32."""
    encode, start, crc = JsonlOutput().encode, 0, 0
    numbers = dict(journal.database.execute("SELECT key, id FROM images").fetchall())
    insert = (
        "INSERT INTO items (image, step, state, position, attempts, at, start, length, kind, code, message, variant) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    with path.open("wb") as file, journal.database.transaction():
        journal.database.executemany(
            "UPDATE images SET sha256 = ? WHERE id = ?", ((sample.sha256, numbers[sample.key]) for sample in samples)
        )
        for sample, row in _rows(samples, rows):
            image, step = numbers[sample.key], steps[row["step"]]
            position = sample.number + 1
            if not sample.failed:
                line = encode(row)
                file.write(line)
                crc = zlib.crc32(line, crc)
                said = (image, step, ANSWERED, position, row["attempts"], row["answered_at"], start, len(line))
                journal.database.execute(insert, (*said, None, None, None, ""))
                start += len(line)
            else:
                kind, code, message = FAILURES[sample.number // _FAILED_EVERY % len(FAILURES)]
                failed = (image, step, FAILED, position, 1, row["answered_at"], None, None)
                journal.database.execute(insert, (*failed, kind, code, message, ""))
    journal.queue.fill(steps.values())  # where ROWS is odd, an image remains
    return start, crc


def _rows(samples: list[Sample], rows: int) -> Iterator[tuple[Sample, Row]]:
    """The rows in the order of completion. Those of failed images are not to be written."""
    names = {step: Asked(step, SERVICES[service], None) for step, service in STEPS.items()}
    made = 0
    for first in range(0, len(samples), _TOGETHER):
        group = samples[first : first + _TOGETHER]
        for step in STEPS:
            for sample in sorted(group, key=lambda each: each.number * 5 % _TOGETHER):
                if not sample.failed:
                    made += 1
                    if made > rows:
                        continue
                yield sample, _row(names[step], sample, made)


def _row(asked: Asked, sample: Sample, made: int) -> Row:
    original = sample.number - sample.copies
    chance = zlib.crc32(b"%d" % original) / 2**32  # of its content
    labels, reply = [], []
    best = round(0.15 + 0.8 * chance, 6)
    for rank in range(0 if original % _EMPTY_EVERY == _EMPTY_EVERY // 2 else len(sample.names)):
        name = sample.names[(rank + original - sample.number) % len(sample.names)]
        score = round(best * 0.4**rank, 6)
        if asked.step == asked.service.name:
            labels.append(Label(name, score, root=sample.root))
            reply.append({"score": score, "root": sample.root, "keyword": name})
        else:
            box = _box(sample, rank)
            labels.append(Label(name, score, box=box))
            reply.append({"location": box.sides, "name": name, "score": score})
    response = {"result_num": len(reply), "result": reply, "log_id": _FIRST_LOG_ID + 7919 * made}
    seconds, ms = divmod(made * 20, 1000)
    at = f"{_date(_FIRST_SECONDS + seconds)}.{ms:03}+00:00"
    repaired = ("shrunk from 5000 x 3000", "rotated") if sample.number % _REPAIRED_EVERY == 5 else ()
    answer = Answer(response, tuple(labels), 80 + 300 * chance)
    task = Task(0, 0, sample.key, 0, 0)
    row = answered(asked, task, sample.sha256, Prepared(b"", repaired), answer, 1, at).row or {}
    if sample.copies:
        row |= {"same_as": f"{sample.key[:-11]}{original:07}.jpg", "attempts": 0}
    return row


def _box(sample: Sample, rank: int) -> Box:
    """A rectangle within the image, in pixels."""
    chance = zlib.crc32(b"%d box %d" % (sample.number - sample.copies, rank))
    width, height = _SIDES_PIXELS
    left, top = chance % (width // 2), chance // 251 % (height // 2)
    return Box(left, top, 20 + chance // 65521 % (width - left - 20), 20 + chance // 4099 % (height - top - 20))


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.synthetic", description="A synthetic output directory"
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("--images", action="store_true", help="write the images too")
    chosen = parser.parse_args()
    print(write(chosen.folder, chosen.rows, images=chosen.images))


if __name__ == "__main__":
    main()
