"""The unified body: what a product holds read into it, and what to store in a product written from it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Literal

from bs4.element import Tag

from syncd.model import Body
from syncd.text.clean import plain, sanitise, text_to_html
from syncd.text.render import MAX_SIZE, markdown_to_html, may_be_marked, textile_to_html
from syncd.text.to_markdown import html_to_markdown
from syncd.text.to_text import html_to_text
from syncd.text.to_textile import html_to_textile
from syncd.text.tree import is_spelled, tree

Markup = Literal["plain", "textile", "markdown", "html"]

_RICH = ["b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "sub", "sup", "code", "kbd", "samp", "pre"]
_RICH += ["ul", "ol", "dl", "table", "blockquote", "img", "hr", "h1", "h2", "h3", "h4", "h5", "h6"]
_PASSES = 4
#: Characters up to which a body is remembered: all of them together stay within some megabytes.
_SHORT = 4000


@dataclass(frozen=True, slots=True)
class _Source:
    """A markup that is typed: how it is shown, and how HTML is put into it."""

    shown: Callable[[str], str]
    typed: Callable[[str], str]

    def says(self, text: str, html: str) -> bool:
        """Whether the text, shown, is that HTML, but for what this markup cannot tell apart."""
        shown = self.shown(text)
        return shown == html or self.typed(shown) == self.typed(html)


_SOURCES = {
    "textile": _Source(textile_to_html, html_to_textile),
    "markdown": _Source(markdown_to_html, html_to_markdown),
}


def is_rich(html: str, text: str | None = None) -> bool:
    """Whether the HTML says more than plain text: formatting, lists, tables, images, links that hide their address.

    With `text`, links whose address stands in that text do not count.
    """
    soup = tree(sanitise(html))
    if soup is None:
        return False
    return soup.find(_RICH) is not None or any(_hides_address(link, text or "") for link in soup.find_all("a"))


def read(source: str, markup: Markup) -> Body:
    """The unified body of what a product holds. The text of a typed markup is its source."""
    # A conversation is read again and again, and grows by a comment at a time: what was read before is remembered.
    return _remembered(source, markup) if len(source) <= _SHORT else _read(source, markup)


@lru_cache(maxsize=2048)
def _remembered(source: str, markup: Markup) -> Body:
    return _read(source, markup)


def _read(source: str, markup: Markup) -> Body:
    if markup == "html":
        html = sanitise(source)
        return Body(html_to_text(html), html or None)
    text = plain(source)
    if markup == "plain" or not may_be_marked(text):
        return Body(text)
    html = _SOURCES[markup].shown(text)
    return Body(text, html if is_rich(html) else None)


def write(body: Body, markup: Markup) -> str:
    """What to store in a product that keeps this markup.

    Plain words are stored as they are, never escaped: people read and edit the source in a tracker.
    """
    if markup == "html":
        return sanitise(body.html) if body.html else text_to_html(body.text)
    text = plain(body.text) or html_to_text(body.html or "")
    if markup == "plain" or not body.html or not is_rich(body.html):
        return text
    html = sanitise(body.html)
    source = _SOURCES[markup]
    # A text that is the source of this very HTML came from such a product: it goes back as it was typed.
    return text if source.says(text, html) else _settled(html, source)


def same(a: Body, b: Body) -> bool:
    """Whether two bodies say the same words, whatever the white space and the formatting."""
    return _words(a) == _words(b)


def digest(body: Body) -> str:
    """A short fingerprint: equal exactly when `same` holds."""
    return sha256(_words(body).encode()).hexdigest()[:16]


def _words(body: Body) -> str:
    return " ".join((plain(body.text) or html_to_text(body.html or "")).split())


def _hides_address(link: Tag, text: str) -> bool:
    url = str(link.get("href") or "")
    return bool(url) and not is_spelled(url, link.get_text()) and (not text or url not in text)


def _settled(html: str, source: _Source) -> str:
    """The HTML in this markup such that showing it and typing it again changes nothing; else its plain words."""
    typed = source.typed(html)
    for _ in range(_PASSES):
        if len(typed) > MAX_SIZE:  # it will be shown as it is, never as markup
            return typed
        before, typed = typed, source.typed(source.shown(typed))
        if typed == before:
            return typed
    return html_to_text(html)
