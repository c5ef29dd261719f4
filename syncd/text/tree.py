"""Sanitised HTML as a tree, and the converter that the three targets (text, Markdown, Textile) refine."""

import re
from urllib.parse import quote

from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag
from markdownify import MarkdownConverter

from syncd.text.clean import nesting, plain, sanitise, words

#: Parsing takes a second per 200 kB and markdownify three frames per level; beyond that only the words are kept.
MAX_DEPTH = 100
MAX_SIZE = 200_000

BLANKS = " \t\r\n"
_BLOCKS = ["section", "article", "header", "footer", "main", "aside", "figure", "figcaption", "address", "details"]
_CELLS = ["td", "th"]
_TABLE_PARTS = ["table", "caption", "thead", "tbody", "tfoot", "tr", *_CELLS]
_NOT_IN_CELLS = ["table", "pre", "ul", "ol", "blockquote", "h1", "h2", "h3"]
_THREE_NEWLINES = re.compile(r"\n{3,}")
_NOT_IN_URL = re.compile(r"[\s<>\"()\[\]\\|`^{}]")


def tree(clean: str) -> BeautifulSoup | None:
    """The sanitised HTML parsed, layout tables and page sections turned into plain blocks; None if it is too much."""
    if len(clean) > MAX_SIZE or nesting(clean) > MAX_DEPTH:
        return None
    soup = BeautifulSoup(clean, "html.parser")
    _flatten_layout(soup)
    for block in soup.find_all([*_BLOCKS, "summary"]):
        block.name = "div"
    for items in soup.find_all("ol"):
        _number(items)
    return soup


def address(tag: Tag, attribute: str) -> str:
    """The address with what would end it in Markdown or Textile percent-encoded."""
    return _NOT_IN_URL.sub(lambda match: quote(match[0]), str(tag.get(attribute) or "").strip())


def is_spelled(url: str, label: str) -> bool:
    """Whether the words of a link are its address already."""
    return label.strip() in {url, url.removeprefix("mailto:")}


def around(text: str, marked: str) -> str:
    """Marked words, with the blanks that stood inside the mark outside of it."""
    return " " * text[:1].isspace() + marked + " " * text[-1:].isspace()


def _flatten_layout(soup: BeautifulSoup) -> None:
    """Mail is laid out in tables that mean nothing; a table of data has rows of several simple cells."""
    layout = {id(table) for table in soup.find_all("table") if _is_layout(table)}
    parts = soup.find_all(_TABLE_PARTS)
    owners = [part if part.name == "table" else part.find_parent("table") for part in parts]
    for part, owner in zip(parts, owners, strict=True):
        if owner is None or id(owner) in layout:
            part.name = "div"


def _is_layout(table: Tag) -> bool:
    widest = max((len(row.find_all(_CELLS, recursive=False)) for row in table.find_all("tr")), default=0)
    return widest < 2 or table.find(_NOT_IN_CELLS) is not None


def _number(items: Tag) -> None:
    start = int(str(items.get("start") or "1"))
    for number, item in enumerate(items.find_all("li", recursive=False), start):
        item["value"] = str(number)


def _follows_break(el: NavigableString) -> bool:
    return isinstance(el.previous_sibling, Tag) and el.previous_sibling.name == "br"


class Converter(MarkdownConverter):
    """What all three have in common: a newline is a line break, soft breaks are spaces, lists are dashes."""

    class Options:
        """Read by the library's constructor."""

        heading_style = "atx"
        wrap = True
        wrap_width = None
        escape_asterisks = False
        escape_underscores = False
        table_infer_header = True

    @classmethod
    def of(cls, html: str) -> str:
        """The HTML in this converter's markup."""
        clean = sanitise(html)
        soup = tree(clean)
        if soup is None:
            return words(clean)
        text = plain(str(cls().convert_soup(soup)).replace("\xa0", " "))
        return text if "<pre>" in clean else _THREE_NEWLINES.sub("\n\n", text)

    def process_text(self, el: NavigableString, parent_tags: set[str]) -> str:
        """The words of one text node."""
        text = str(super().process_text(el, parent_tags))  # type: ignore[misc] # not in the stub
        return text.lstrip(" ") if "pre" not in parent_tags and _follows_break(el) else text

    def convert_br(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """A line break, which a cell or a heading cannot hold."""
        return " " if "_inline" in parent_tags else "\n"

    def convert_div(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """A block without space around it; editors write an empty line as a block that holds only a break."""
        body = text.strip(BLANKS)
        if "_inline" in parent_tags:
            return f" {body} "
        return f"\n{body}\n" if body else "\n\n" * (el.find("br") is not None)

    def convert_list(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """A list; one inside an item follows its words on the next line."""
        body = text.strip("\n")
        return f"\n{body}" if "li" in parent_tags else f"\n\n{body}\n\n"

    convert_ul = convert_ol = convert_list

    def convert_li(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """One item, its further lines indented; an empty one is dropped."""
        body = text.strip(BLANKS)
        mark = f"{el['value']}. " if el.get("value") else "- "
        return mark + body.replace("\n", "\n" + " " * len(mark)) + "\n" if body else ""

    def convert_blockquote(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """Quoted lines as in mail."""
        body = text.strip(BLANKS)
        if "_inline" in parent_tags or not body:
            return f" {body} "
        return "\n\n" + "\n".join(f"> {line}".rstrip() for line in body.split("\n")) + "\n\n"

    def convert_dt(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """A term stands in its own paragraph."""
        return f"\n\n{text.strip(BLANKS)}\n"

    def convert_dd(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """What is said of a term."""
        return f"\n{text.strip(BLANKS)}\n"
