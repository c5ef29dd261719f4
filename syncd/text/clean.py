"""The floor the other modules stand on: normal plain text, safe HTML, and plain text as HTML."""

import re
from collections import Counter
from html import escape, unescape

import nh3

#: Nested deeper than this, HTML is not mail any more: parsers turn quadratic, so only its text is kept.
MAX_NESTING = 400

_PASSES = 6
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_MARKUP = re.compile(r"<[^<>]*>")
_INLINE = re.compile(r"</?(?:a|b|strong|i|em|u|ins|s|strike|del|sub|sup|code|kbd|samp)(?: [^<>]*)?>")
_IMAGE = re.compile(r'<img((?: [a-z]+="[^"]*")*)>')
_ATTRIBUTE = re.compile(r' ([a-z]+)="([^"]*)"')
_PRE_NEWLINES = re.compile(r"(<pre>)\n+")
_URL = re.compile(r"https?://[^\s<>\"'`]*[^\s<>\"'`.,;:!?()\[\]{}*_~|]")
_SPACES = re.compile(r"(?m)^[ \t]+|[ \t]{2,}")
_PARAGRAPHS = re.compile(r"\n{2,}")

_VOID = {"area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_TABLES = {"table", "caption", "thead", "tbody", "tfoot", "tr", "td", "th"}
_LISTS = {"ul", "ol", "li", "dl", "dt", "dd"}
_SECTIONS = {"section", "article", "header", "footer", "main", "aside", "figure", "figcaption", "address", "details"}
_BLOCKS = {"p", "div", "summary", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6"}
_WORDS = {"a", "b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "sub", "sup", "code", "kbd", "samp"}
_TAGS = _TABLES | _LISTS | _SECTIONS | _BLOCKS | _WORDS | {"br", "hr", "img"}
#: What stands between these is code or controls, never something a person wrote to be read.
_SWALLOWED = {
    "script",
    "style",
    "title",
    "noscript",
    "template",
    "textarea",
    "select",
    "svg",
    "math",
    "iframe",
    "object",
}
#: Tags that have no end or that the next one of their kind ends: they do not add up to depth.
_FLAT = _VOID | (_TABLES - {"table"}) | {"p", "li", "dt", "dd", "option", "colgroup"}
_ATTRIBUTES = {
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
}
_NUMBERS = {"width": 9999, "height": 9999, "start": 999_999, "colspan": 20, "rowspan": 100}


def plain(text: str) -> str:
    """The text in normal form: LF, no control characters but tab, no blanks at line ends, no outer blank lines.

    Redmine stores every newline of a description as CRLF and PostgreSQL refuses NUL; emoji, joiners, direction marks
    and decomposed letters come back unchanged everywhere and stay.
    """
    return "\n".join(line.rstrip() for line in _scrub(text).split("\n")).strip("\n")


def sanitise(html: str) -> str:
    """The HTML with only what a ticket needs: no scripts, styles, handlers, forms, comments or tracking pixels."""
    html = _scrub(html)
    if nesting(html) > MAX_NESTING:
        return text_to_html(words(html))
    # Parsing what a parser wrote is not always a fixpoint (misnested tables and links): go on until it is.
    for _ in range(_PASSES):
        before, html = html, _clean(html)
        if html == before:
            return html
    return text_to_html(words(html))


def text_to_html(text: str) -> str:
    """The plain text as HTML: paragraphs, line breaks, kept indentation, web addresses as links."""
    paragraphs = (f"<p>{_lines(part)}</p>" for part in _PARAGRAPHS.split(plain(text)) if part)
    return _clean("".join(paragraphs))


def words(html: str) -> str:
    """The HTML without its tags, by search and replace: for what is too large or too deep to be parsed."""
    return plain(unescape(_MARKUP.sub("\n", _INLINE.sub("", html))).replace("\xa0", " "))


def nesting(html: str) -> int:
    """How deep the tags may nest at most, found by counting tags, in linear time."""
    depth = deepest = 0
    still_open: Counter[str] = Counter()
    for end, name in _TAG.findall(html):
        tag = name.lower()
        if end and still_open[tag]:
            still_open[tag] -= 1
            depth -= 1
        elif not end and tag not in _FLAT:
            still_open[tag] += 1
            depth += 1
            deepest = max(deepest, depth)
    return deepest


def _scrub(text: str) -> str:
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _clean(html: str) -> str:
    cleaned = nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags=_SWALLOWED,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
    )
    cleaned = _PRE_NEWLINES.sub(r"\1", cleaned)  # the parser eats one newline there on every pass
    return _IMAGE.sub(_image, cleaned).strip()


def _attribute(_tag: str, name: str, value: str) -> str | None:
    if name not in _NUMBERS:
        return value
    digits = value.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 8):
        return None
    return str(int(digits)) if int(digits) <= _NUMBERS[name] else None


def _image(match: re.Match[str]) -> str:
    """An image that can be shown, the words for one that cannot, nothing for a tracking pixel."""
    attributes = dict(_ATTRIBUTE.findall(match[1]))
    if {attributes.get("width"), attributes.get("height")} & {"0", "1"}:
        return ""
    return match[0] if attributes.get("src", "").startswith("http") else attributes.get("alt", "")


def _lines(paragraph: str) -> str:
    return _linked(_SPACES.sub(_kept, paragraph)).replace("\n", "<br>")


def _kept(match: re.Match[str]) -> str:
    """Blanks that HTML would fold into one, as no-break spaces; the last stays breakable between words."""
    blanks = match[0].expandtabs(4)
    return "\xa0" * (len(blanks) - 1) + (" " if match.start() and match.string[match.start() - 1] != "\n" else "\xa0")


def _linked(text: str) -> str:
    parts, at = [], 0
    for match in _URL.finditer(text):
        url = escape(match[0])
        parts += [escape(text[at : match.start()], quote=False), f'<a href="{url}">{url}</a>']
        at = match.end()
    return "".join([*parts, escape(text[at:], quote=False)])
