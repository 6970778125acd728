"""Lists as Windows and spreadsheets write them, through the command line: what is sent, told and refused."""

import pytest
from harness import Place, calls_of, images_of, picture

from batchrec.emulator import Emulator

SERVICE = "advanced_general"


def test_1_a_list_of_chinese_windows(place: Place, emulator: Emulator) -> None:
    """GBK, semicolons, drives, another case, blank cells: found files are sent, one line tells each kind, once."""
    place.put("照片/猫.jpg", picture(1, "JPEG"))
    place.put("照片/小狗.jpg", picture(2, "JPEG"))
    rows = ["编号;path;说明", "1;D:\\照片\\猫.JPG;家猫", "2;照片\\小狗.jpg ;金毛", "3;;空", "4;\\\\nas\\share\\鸟.jpg;"]
    place.put(
        "list.csv", "".join(f"{row}\r\n" for row in [*rows, "5;http://例子.invalid/a.jpg;"]).encode("gbk") + b"\x1a"
    )
    place.job(input={"paths": [], "manifest": "list.csv"})
    done = place.run()
    assert done.code == 1
    assert images_of(place.rows()) == sorted(["照片/猫.jpg", "照片/小狗.jpg"])
    assert emulator.counters.calls[SERVICE] == 2
    failures = {row["image"]: (row["kind"], row["code"]) for row in place.failures()}
    unreadable = ("image", "unreadable")
    windows = "\\\\nas\\share\\鸟.jpg"
    assert failures == dict.fromkeys(["list.csv, line 4", windows], unreadable) | {
        "http://例子.invalid/a.jpg": ("fetch", "fetch_connection")
    }
    assert [row["message"] for row in place.failures() if "Windows path" in row["message"]]
    told = [line for line in done.err.splitlines() if "input.manifest" in line]
    kinds = ("GB18030", "blanks", "with \\ for /", "Windows drive", "another case")
    assert len(told) == len(kinds)
    assert all(sum(kind in line for line in told) == 1 for kind in kinds)
    place.run()
    assert emulator.counters.calls[SERVICE] == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gbk", "big5"])
def test_2_a_list_without_any_file_sends_nothing(place: Place, emulator: Emulator, encoding: str) -> None:
    """The folder that paths are relative to is named, also if the list is in another encoding; other inputs wait."""
    place.pictures(2)
    place.put("lists/list.txt", "家居/家居_0000.png\r\n家居/家居_0001.jpg\r\n".encode(encoding))
    place.job(input={"manifest": "lists/list.txt"})
    done = place.run()
    assert done.code == 2
    assert [line for line in done.err.splitlines() if f'"{place.root}/lists"' in line]
    assert calls_of(emulator) == 0
