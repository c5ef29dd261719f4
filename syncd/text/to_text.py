"""HTML as plain text."""

from bs4.element import Tag

from syncd.text.tree import BLANKS, Converter, is_spelled


def html_to_text(html: str) -> str:
    """What the HTML says as plain text; a link that hides its address spells it out."""
    return _Text.of(html)


class _Text(Converter):
    def _words(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return text

    convert_b = convert_strong = convert_i = convert_em = convert_u = convert_ins = _words
    convert_s = convert_strike = convert_del = convert_sub = convert_sup = _words
    convert_code = convert_kbd = convert_samp = _words

    def convert_a(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        url = str(el.get("href") or "")
        if not url or not text.strip() or is_spelled(url, text):
            return text
        return f"{text} ({url.removeprefix('mailto:')})"

    def convert_img(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return str(el.get("alt") or el.get("src") or "")

    def convert_hN(self, n: int, el: Tag, text: str, parent_tags: set[str]) -> str:  # noqa: N802 - the library's name
        return f"\n\n{text.strip(BLANKS)}\n\n"

    def convert_pre(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return "\n\n" + text.strip("\n") + "\n\n"

    def convert_td(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return f" {' '.join(text.split())} |"

    convert_th = convert_td

    def convert_tr(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return text.removesuffix("|").strip() + "\n"
