"""Attribution: one human line above a copied text that says who wrote it, when, and where it came from."""

import re
from datetime import UTC, datetime
from html import escape, unescape

from syncd.text.clean import plain, sanitise

_LINE = r"(?P<who>[^\n]{1,80}) · \d{4}-\d\d-\d\d \d\d:\d\d UTC · (?P<ref>\S{1,200})"
_TEXT = re.compile(rf"{_LINE}(?:\n\n|$)")
_PARAGRAPH = re.compile(r"<(p|div)>(?P<line>[^<]{1,600})</\1>\s*")

_NOT_IN_NAME = re.compile(r"[*^~|<>\[\]{}\"!#=`\\%?;·\s]+")
#: Harmless inside a word (an address, a hyphenated name), a mark in Textile or Markdown at its edge.
_EDGE = re.compile(r"(?<!\w)[-_+@:]+|[-_+@:]+(?!\w)")
_BLOCK_MARK = re.compile(r"^(?:(?:h[1-6]|p|bq|bc|pre|notextile|fn\d+|\d+)[.)]+:?(?:\s+|$))+")
_MAX_WHO = 80


def sign(text: str, who: str, when: datetime, ref: str) -> str:
    """The text below a line such as `Ann Lee · 2026-11-25 10:00 UTC · gorgias:4711`."""
    return plain(f"{_line(who, when, ref)}\n\n{plain(text)}")


def unsign(text: str) -> tuple[str, str | None]:
    """The text without its first line of attribution, and the ref in it."""
    text = plain(text)
    match = _TEXT.match(text)
    return (text[match.end() :], match["ref"]) if match else (text, None)


def sign_html(html: str, who: str, when: datetime, ref: str) -> str:
    """The HTML below a paragraph with the line."""
    return f"<p>{escape(_line(who, when, ref), quote=False)}</p>{sanitise(html)}"


def unsign_html(html: str) -> tuple[str, str | None]:
    """The HTML, sanitised, without its first paragraph of attribution, and the ref in it."""
    html = sanitise(html)
    paragraph = _PARAGRAPH.match(html)
    line = re.fullmatch(_LINE, unescape(paragraph["line"]).strip()) if paragraph else None
    return (html[paragraph.end() :], line["ref"]) if paragraph and line else (html, None)


def _line(who: str, when: datetime, ref: str) -> str:
    return f"{_name(who)} · {when.astimezone(UTC):%Y-%m-%d %H:%M} UTC · {ref}"


def _name(who: str) -> str:
    """The name on one line, without what Textile or Markdown would read as markup."""
    name = " ".join(_NOT_IN_NAME.sub(" ", plain(who)).split())[:_MAX_WHO]
    return _BLOCK_MARK.sub("", " ".join(_EDGE.sub("", name).split())).strip() or "unknown"
