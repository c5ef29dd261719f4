"""HTML as a tree, so that nothing in it needs escaping by hand; pages have one style and no scripts."""

import base64
import hashlib
from collections.abc import Iterable
from xml.etree import ElementTree as ET

Child = ET.Element | str


def tag(name: str, /, *children: Child, **attributes: str) -> ET.Element:
    """An element with these children, texts among them."""
    element = ET.Element(name, attributes)
    last: ET.Element | None = None
    for child in children:
        if isinstance(child, ET.Element):
            element.append(child)
            last = child
        elif last is None:
            element.text = (element.text or "") + child
        else:
            last.tail = (last.tail or "") + child
    return element


def table(heads: Iterable[str], rows: Iterable[Iterable[Child]]) -> ET.Element:
    """A table with a row of heads."""
    head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads)))
    return tag("table", head, tag("tbody", *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows)))


def document(title: str, style: str, body: ET.Element, *head: ET.Element) -> str:
    """A whole page; `policy` of the same style is what its answer must carry."""
    top = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        *head,
        tag("title", title),
        tag("style", style),
    )
    return "<!doctype html>\n" + ET.tostring(tag("html", top, body, lang="en"), encoding="unicode", method="html")


def policy(style: str) -> str:
    """The Content-Security-Policy that allows this style, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    nothing = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return f"{nothing}; style-src 'sha256-{digest}'"
