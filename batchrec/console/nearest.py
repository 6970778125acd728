"""The known word that a mistyped one may have been meant to be."""

from collections.abc import Iterable

from ..language import _


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` may have been meant to be."""
    import difflib  # for mistakes alone

    return next(iter(difflib.get_close_matches(word.lower(), known, n=1)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest known word as the middle of a sentence; empty where none is near."""
    near = nearest(word, known)
    return _('did you mean "{near}"?').format(near=near) if near else ""
