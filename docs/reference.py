"""Writes the pages of the reference that are tables of the program: `python docs/reference.py`.

`error-codes.md` and `services.md`, in docs/en and docs/zh. The texts are those of `batchrec errors` and `batchrec
services`, the Chinese ones from the compiled catalogue (`python batchrec/locale/hatch_build.py`). tests/test_docs.py
fails where a page is not what this writes.
"""

import gettext
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from batchrec.api.codes import CODES, WORDS, Code, Word
from batchrec.api.services import SERVICES, Service
from batchrec.console.exit_codes import EXIT_CODES, ExitCode
from batchrec.language import DOMAIN, LOCALE

DOCS = Path(__file__).resolve().parent

TEXTS = tomllib.loads((DOCS / "reference.toml").read_text(encoding="utf-8"))
"""Texts of the pages, by language."""

SIBLINGS = {
    "en": "English · [中文](../zh/{page}) · [README](../../README.md)",
    "zh": "[English](../en/{page}) · 中文 · [README](../../README.zh-CN.md)",
}


class Pages:
    """The pages in one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = TEXTS[language]
        catalogue = gettext.translation(DOMAIN, str(LOCALE), [language], fallback=language == "en")
        self._look_up: Callable[[str], str] = catalogue.gettext

    def all(self) -> dict[str, str]:
        """Every page: file name and text."""
        return {
            "error-codes.md": "\n".join(self._page("errors", "error-codes.md", self._errors())),
            "services.md": "\n".join(self._page("services", "services.md", self._services())),
        }

    def _page(self, name: str, page: str, lines: Iterator[str]) -> Iterator[str]:
        yield f"# {self._texts[name]}"
        yield from ("", SIBLINGS[self.language].format(page=page), "", self._texts[f"{name}_intro"])
        yield from lines
        yield ""

    def _errors(self) -> Iterator[str]:
        yield from ("", f"## {self._texts['exits']}")
        for exit_code in EXIT_CODES.values():
            title = self._texts["exit"].format(number=exit_code.number)
            yield from self._entry(f"exit-{exit_code.number}", title, self._exit(exit_code))
        yield from ("", f"## {self._texts['codes']}")
        for code in CODES.values():
            title = self._texts["code"].format(number=code.number)
            yield from self._entry(f"error-{code.number}", title, self._code(code))
        yield from ("", f"## {self._texts['words']}")
        for word in WORDS.values():
            yield from self._entry(f"error-{word.word}", f"`{word.word}`", self._word(word))

    def _entry(self, anchor: str, title: str, text: str) -> Iterator[str]:
        """A heading below an anchor that is the same in every language."""
        yield from ("", f'<a id="{anchor}"></a>', "", f"### {title}", "", text)

    def _said(self, text: str) -> str:
        """A text of the program, to be followed by a full stop."""
        return self._look_up(text).rstrip(self._texts["stop"])

    def _exit(self, code: ExitCode) -> str:
        texts = {"meaning": self._said(code.meaning), "advice": self._said(code.advice)}
        return self._texts["exit_text"].format(number=code.number, **texts)

    def _code(self, code: Code) -> str:
        texts = {"message": code.message, "kind": code.kind.value, "advice": self._said(code.advice)}
        text = self._texts["code_text"].format(number=code.number, **texts)
        return text if code.billed else text + self._texts["unbilled"]

    def _word(self, word: Word) -> str:
        kinds = self._texts["and"].join(self._texts["kind"].format(kind=kind) for kind in word.kinds.split(", "))
        return self._texts["word_text"].format(word=word.word, meaning=self._said(word.meaning), kinds=kinds)

    def _services(self) -> Iterator[str]:
        for service in SERVICES.values():
            yield from ("", f"## `{service.name}`", "", self._request(service))
            if service.options:
                columns = self._texts["head"]
                yield from ("", f"| {columns} |", f"| {' | '.join(['---'] * (columns.count('|') + 1))} |")
            for option in service.options:
                default = "" if option.default is None else f"`{str(option.default).lower()}`"
                yield f"| `{option.name}` | `{option.type.__name__}` | {default} | {self._look_up(option.meaning)} |"

    def _request(self, service: Service) -> str:
        english, _, chinese = service.title.partition(" · ")
        title = f"{english[0].upper()}{english[1:]} ({chinese})" if self.language == "en" else chinese
        limits, join = service.limits, self._texts["and"].join
        space = " " if self.language == "en" else ""
        return space.join(
            (
                self._texts["service_text"].format(title=title, path=service.path)
                + self._texts["custom"] * service.custom,
                self._texts["images"].format(
                    formats=join(limits.formats),
                    least=limits.min_side,
                    most=limits.max_side,
                    ratio=limits.max_ratio,
                    count=limits.base64_bytes,
                ),
                self._texts["labels"].format(fields=join(f"`{each}`" for each in service.reading.fields)),
            )
        )


if __name__ == "__main__":
    for language in TEXTS:
        for name, text in Pages(language).all().items():
            (DOCS / language / name).write_text(text, encoding="utf-8")
