"""HTML as Textile, in the part of it that Redmine and the Python library both understand."""

import re
from collections.abc import Callable

from bs4.element import Tag

from syncd.text.tree import BLANKS, Converter, address, around, is_spelled

_NEWLINES = re.compile(r"\n{2,}")
_PRE_END = re.compile(r"<(?=/?pre>)")


def html_to_textile(html: str) -> str:
    """The HTML as Textile; what Textile has no word for is kept as plain words."""
    return _Textile.of(html)


_Convert = Callable[["_Textile", Tag, str, set[str]], str]


def _inline(mark: str) -> _Convert:
    """A converter that puts the mark around words; a mark cannot span paragraphs or stand in code."""

    def convert(_self: "_Textile", _el: Tag, text: str, parent_tags: set[str]) -> str:
        words = text.strip()
        if not words or "\n\n" in words or mark in words or "_noformat" in parent_tags:
            return text
        return around(text, f"{mark}{words}{mark}")

    return convert


class _Textile(Converter):
    convert_b = convert_strong = _inline("*")
    convert_i = convert_em = _inline("_")
    convert_s = convert_strike = convert_del = _inline("-")
    convert_u = convert_ins = _inline("+")
    convert_sub = _inline("~")
    convert_sup = _inline("^")
    convert_code = convert_kbd = convert_samp = _inline("@")

    def convert_a(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        url, words = address(el, "href"), " ".join(text.split()).replace('"', "'")
        if not url or not words or "\n\n" in text.strip() or "_noformat" in parent_tags:
            return text
        if words.startswith("!") and words.endswith("!") and el.find("img"):
            return around(text, f"{words}:{url}")
        if is_spelled(url, words):
            return around(text, words)
        return around(text, f'"{words}":{url}')

    def convert_img(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        label = re.sub(r"[()!\"\s]+", " ", str(el.get("alt") or "")).strip()
        return f"!{address(el, 'src').replace('!', '%21')}{f'({label})' if label else ''}!"

    def convert_hN(self, n: int, el: Tag, text: str, parent_tags: set[str]) -> str:  # noqa: N802 - the library's name
        words = " ".join(text.split())
        return words if "_inline" in parent_tags or not words else f"\n\nh{min(n, 6)}. {words}\n\n"

    def convert_li(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        body = _NEWLINES.sub("\n", text.strip(BLANKS))
        if not body:
            return ""
        levels = ["#" if tag.name == "ol" else "*" for tag in el.parents if tag.name in {"ul", "ol"}]
        mark = "".join(reversed(levels)) or "*"
        starts_deeper = body.startswith((f"{mark}*", f"{mark}#"))
        return f"{body}\n" if starts_deeper else f"{mark} {body}\n"

    def convert_blockquote(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        body = text.strip(BLANKS)
        if "\n" in body or "_inline" in parent_tags or "li" in parent_tags or not body:
            return super().convert_blockquote(el, text, parent_tags)
        return f"\n\nbq. {body}\n\n"

    def convert_pre(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        body = _PRE_END.sub("< ", text.strip("\n"))
        return f"\n\n<pre>\n{body}\n</pre>\n\n" if body.strip() else ""

    def convert_hr(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return "\n\n---\n\n"

    def convert_td(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return _cell("", el, text)

    def convert_th(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return _cell("_", el, text)

    def convert_tr(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return f"|{text.strip(BLANKS)}\n"


def _cell(kind: str, el: Tag, text: str) -> str:
    """A cell; the bar would end it, and Textile cannot escape it."""
    words = " ".join(text.replace("|", "¦").split())
    span = str(el.get("colspan") or "1")
    marks = kind + (f"\\{span}" if span != "1" else "")
    return f"{marks}. {words}|" if marks else f"{words or ' '}|"
