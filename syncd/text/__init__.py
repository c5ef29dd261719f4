"""Bodies of tickets and comments: plain, HTML, Markdown and Textile, to and from the unified body. Pure, no I/O.

Two promises hold for every string, however malformed: no function raises, and what one pass makes of a text the
next pass leaves alone. The second is what keeps two products from rewriting one comment for ever.
"""

from syncd.text.body import Markup, digest, is_rich, read, same, write
from syncd.text.clean import plain, sanitise, text_to_html
from syncd.text.names import safe_file_name, shorten
from syncd.text.render import markdown_to_html, textile_to_html
from syncd.text.sign import sign, sign_html, unsign, unsign_html
from syncd.text.to_markdown import html_to_markdown
from syncd.text.to_text import html_to_text
from syncd.text.to_textile import html_to_textile

__all__ = [
    "Markup",
    "digest",
    "html_to_markdown",
    "html_to_text",
    "html_to_textile",
    "is_rich",
    "markdown_to_html",
    "plain",
    "read",
    "safe_file_name",
    "same",
    "sanitise",
    "shorten",
    "sign",
    "sign_html",
    "text_to_html",
    "textile_to_html",
    "unsign",
    "unsign_html",
    "write",
]
