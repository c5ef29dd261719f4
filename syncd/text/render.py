"""From the markups that trackers keep (Textile, Markdown) to safe HTML."""

import re
import threading
from collections.abc import Iterator
from html import escape
from itertools import groupby
from typing import Any

from markdown_it import MarkdownIt
from textile import Textile

from syncd.text.clean import plain, sanitise, text_to_html

#: Above this a text is a log, not prose: it is shown as it is. A Textile paragraph costs time by its square.
MAX_SIZE = 60_000
MAX_PARAGRAPH = 4_000
_MAX_QUOTES = 10

_RULE = re.compile(r"-{3,}")
#: What can be Textile at all; most of what people write cannot, and parsing it costs milliseconds.
_MARKED = re.compile(
    r"""(?xm)
      (?: ^ | [^\w] ) (?: [-*_+^~%@] | \?\? ) [^\s]      # *bold*, _italic_, -gone-, @code@ …
    | ["\]] : \S | ! \S | == | <                        # links, images, notextile, tags
    | \[ [\d#*^~] | \w\( | [-|({\[]\S* [)}\]>=~<.] \.  # notes, acronyms, attributes
    | ^ \s* (?: h[1-6] | bq | bc | pre? | p | fn\d+ | notextile | table | dl | \#\#\# ) [^\w\s]
    | ^ \s* (?: [-*\#;:]+ [ ] | [-*\#;:|] )
    """
)
#: Blocks of either markup that `_MARKED` leaves out: quotes, rules, lists, headings and code by indentation.
_BLOCKS = re.compile(r"(?m)^\s*(?:>|-{3,}|[=+]|\d+[.)]|`{3}|\t| {4})|[`\\&]|\]\(|  $")
_PARAGRAPHS = re.compile(r"\n{2,}")
_CODE_IN_PRE = re.compile(r"\s*<code(?: class=\"[^\"]*\")?>(.*)</code>\s*", re.DOTALL)
#: What the libraries raise on malformed input; each stands for "this is not markup".
_NOT_MARKUP = (ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError)

# A newline is a line break in the comments of the trackers that keep Markdown; raw HTML stays visible text.
_MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])


def may_be_marked(text: str) -> bool:
    """Whether a typed text can be Textile or Markdown at all; False is certain, True is not."""
    return _MARKED.search(text) is not None or _BLOCKS.search(text) is not None


def markdown_to_html(text: str) -> str:
    """The Markdown as safe HTML."""
    source = plain(text)
    if len(source) > MAX_SIZE:
        return text_to_html(source)
    try:
        return sanitise(_MARKDOWN.render(source))
    except _NOT_MARKUP:
        return text_to_html(source)


def textile_to_html(text: str) -> str:
    """The Textile as safe HTML, as Redmine shows it: `<pre>` blocks, `>` quotes, rules, no typographic changes."""
    source = plain(text)
    if len(source) > MAX_SIZE:
        return text_to_html(source)
    return sanitise(_Page().blocks(source))


class _Redmine(Textile):  # type: ignore[misc] # the library has no types
    """The library without what Redmine leaves alone: quotes, dashes, (c) and capitals stay as they were typed."""

    def __init__(self) -> None:
        super().__init__(restricted=True, html_type="html5")
        self.glyph_replacers: list[Any] = []

    def paragraph(self, source: str) -> str:
        """The HTML of one paragraph; what former ones left on the shelf would be searched again each time."""
        for kept in (self.shelf, self.refCache, self.fn, self.urlrefs):
            kept.clear()
        self.refIndex = self.span_depth = 0
        return str(self.parse(source))

    def fImage(self, match: re.Match[str]) -> str:  # noqa: N802 - the library's name
        """An image by its address; one by the name of an attachment stays as it was typed."""
        return str(super().fImage(match)) if match[3].startswith(("http://", "https://")) else match[0]


class _Parsers(threading.local):
    """A parser for each thread: making one costs more than showing a whole text, and it keeps state while it works."""

    def __init__(self) -> None:
        self.own = _Redmine()


_parsers = _Parsers()


class _Page:
    """One text being shown."""

    def blocks(self, source: str, quoted: int = 0) -> str:
        """The HTML of some lines, `quoted` so many times."""
        parts: list[str] = []
        for is_code, part in _around_pre(source):
            parts += [_code(part)] if is_code else self._runs(part, quoted)
        return "\n".join(parts)

    def _runs(self, source: str, quoted: int) -> Iterator[str]:
        for kind, lines in groupby(source.split("\n"), _kind):
            run = list(lines)
            if kind == "rule":
                yield "<hr>"
            elif kind == "quote" and quoted < _MAX_QUOTES:
                inner = "\n".join(line[1:].removeprefix(" ") for line in run)
                yield f"<blockquote>{self.blocks(inner, quoted + 1)}</blockquote>"
            else:
                yield from map(self._paragraph, filter(str.strip, _PARAGRAPHS.split("\n".join(run))))

    def _paragraph(self, source: str) -> str:
        if len(source) > MAX_PARAGRAPH or not _MARKED.search(source):
            return text_to_html(source)
        try:
            return _parsers.own.paragraph(source.strip())
        except _NOT_MARKUP:
            return text_to_html(source)


def _around_pre(source: str) -> Iterator[tuple[bool, str]]:
    at = 0
    while (start := source.find("<pre>", at)) >= 0 and (end := source.find("</pre>", start)) >= 0:
        yield False, source[at:start]
        yield True, source[start + len("<pre>") : end]
        at = end + len("</pre>")
    yield False, source[at:]


def _code(source: str) -> str:
    inner = _CODE_IN_PRE.fullmatch(source)
    body = (inner[1] if inner else source).strip("\n")
    return f"<pre>{escape(body, quote=False)}</pre>"


def _kind(line: str) -> str:
    if line.startswith(">"):
        return "quote"
    return "rule" if _RULE.fullmatch(line) else "text"
