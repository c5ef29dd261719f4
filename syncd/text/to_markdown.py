"""HTML as Markdown (CommonMark with tables and strike-through)."""

import re
from collections.abc import Callable

from bs4.element import NavigableString, Tag

from syncd.text.tree import Converter, address, around, is_spelled

_LINE_START = re.compile(r"^(\s*)(?:([-+>=|:~])(?=\s|$|\2)|(#)(?=#{0,5}(?:\s|$))|(\d{1,9})([.)])(?=\s|$))")
_SPECIAL = re.compile(
    r"\\(?=[!-/:-@\[-`{-~])|`|~~|(?<!\s)\*|\*(?!\s)|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|&(?=#?\w+;)|(?<=\])[(\[:]"
)
_LABEL = re.compile(r"[\[\]\\`*_<&~|\s]+")
_CODE = frozenset({"pre", "code", "kbd", "samp"})
_STARTS_LINE = frozenset({"br", "p", "div", "ul", "ol", "hr", "blockquote", "pre", "table"})


def html_to_markdown(html: str) -> str:
    """The HTML as Markdown in which a newline is a line break, as it is in comments on GitHub."""
    return _Markdown.of(html)


_Convert = Callable[["_Markdown", Tag, str, set[str]], str]


def _inline(mark: str) -> _Convert:
    """A converter that puts the mark around words; a mark cannot span paragraphs or stand in code."""

    def convert(_self: "_Markdown", _el: Tag, text: str, parent_tags: set[str]) -> str:
        words = text.strip()
        if not words or "\n\n" in words or "_noformat" in parent_tags:
            return text
        return around(text, f"{mark}{words}{mark}")

    return convert


class _Markdown(Converter):
    convert_b = convert_strong = _inline("**")
    convert_i = convert_em = _inline("*")
    convert_s = convert_strike = convert_del = _inline("~~")

    def process_text(self, el: NavigableString, parent_tags: set[str]) -> str:
        text = super().process_text(el, parent_tags)
        if parent_tags & _CODE:
            return text
        text = _SPECIAL.sub(r"\\\g<0>", text)
        return _LINE_START.sub(_escaped_start, text) if _starts_line(el) else text

    def convert_a(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        url, words = address(el, "href"), " ".join(text.split())
        if not url or not words or "\n\n" in text.strip() or "_noformat" in parent_tags:
            return text
        if el.find("img") is None and is_spelled(url, el.get_text()):
            return around(text, f"<{url.removeprefix('mailto:')}>")
        return around(text, f"[{words}]({url})")

    def convert_img(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        label = _LABEL.sub(" ", str(el.get("alt") or "")).strip()
        return f"![{label}]({address(el, 'src')})"

    def convert_pre(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        body = text.strip("\n")
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", body)), default=0))
        return f"\n\n{fence}\n{body}\n{fence}\n\n" if body.strip() else ""

    def convert_td(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        words = " ".join(text.replace("|", "\\|").split())
        return f" {words} |" + " |" * (int(str(el.get("colspan") or "1")) - 1)

    convert_th = convert_td


def _starts_line(el: NavigableString) -> bool:
    before = el.previous_sibling
    return before is None or (isinstance(before, Tag) and before.name in _STARTS_LINE)


def _escaped_start(match: re.Match[str]) -> str:
    blanks, sign, hashes, number, point = match.groups()
    return f"{blanks}{number}\\{point}" if number else f"{blanks}\\{sign or hashes}"
