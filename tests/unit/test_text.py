"""Bodies to and from every markup: nothing raises, nothing is garbled, and a second pass changes nothing."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.model import Body
from syncd.text import (
    Markup,
    digest,
    html_to_markdown,
    html_to_text,
    html_to_textile,
    is_rich,
    markdown_to_html,
    plain,
    read,
    safe_file_name,
    same,
    sanitise,
    shorten,
    sign,
    sign_html,
    text_to_html,
    textile_to_html,
    unsign,
    unsign_html,
    write,
)

WHEN = datetime(2026, 11, 25, 10, 0, 59, tzinfo=UTC)
calm = settings(deadline=None, derandomize=True, max_examples=100)

MARKUPS: list[Markup] = ["plain", "textile", "markdown", "html"]
FAMILY = "👨‍👩‍👧‍👦"
NASTY = [
    "",
    " ",
    "\x00\x0b\x1b[0m",
    "\ud800 lone \udfff",
    "a\r\nb\rc\n\n\n\nd  \n",
    "*b* _i_ -s- +u+ ^a^ ~b~ @c@ %d% ??e??",
    "**b** __i__ ~~s~~ `c` ``d`` ```",
    "* a\n** b\n# c\n## d\n*** e",
    "- a\n  - b\n    1. c\n\n       d\n- e",
    "h1. head\n\nbq. quote\nmore\n\np. para\n\nbc. code",
    "# head\n\n> quote\n> > deeper\nlazy\n\n---\n\n***",
    "|_. a|b|\n|c|d|",
    "| a | b |\n| --- | --- |\n| c | d |",
    '"link":http://a.b/c?d=e&f=g, "x":mailto:a@b.c and http://x.y/_z_.',
    "[link](http://a.b/c) ![i](http://a.b/i.png) [x]: http://q <http://a.b>",
    "!http://a.b/i.png(alt)! !shot.png! !!! [1] word[1] fn1. note",
    "<pre>\n\n *x* </pre> <b>raw</b> &amp; &lt; <script>alert(1)</script> </pre><pre>",
    '<pre><code class="ruby">x < 1</code></pre>',
    "@ann and @bob, see #123, user#4 and !5",
    f"{FAMILY} 👍🏽 🇩🇪 e\u0301 \u202eRTL\u202c \u200fשלום\u200e مرحبا",
    "    indented\n\tcode  with   blanks",
    "==notextile== <notextile>*x*</notextile> {color:red}x %{color:red}y%",
    'say "hi" -- it\'s 3x4 (c) (tm) ABC... 1/2',
    "a\n---\nb\n===\nc",
    "\\* \\_ \\\\ \\",
    "&nbsp;&#42; &copy &#0; &#xD800;",
]
HTML = [
    "<p>plain</p><p>words</p>",
    "<div>a</div><div><br></div><div>b</div>",
    "<p>a <b>bold</b>, <i>it</i>, <u>u</u>, <s>s</s>, <code>c</code>, x<sub>2</sub><sup>3</sup></p>",
    "<ul><li>one<ul><li>two<ol><li>three</li></ol></li></ul></li><li><p>four</p><p>five</p></li></ul>",
    '<ol start="3"><li>x<br>y</li><li></li><li><ul><li>z</li></ul></li></ol>',
    "<blockquote><p>a</p><p>b</p><blockquote>c</blockquote></blockquote><blockquote>d</blockquote>",
    "<pre>\n\n\n  x &lt; 1 ``` </pre><pre></pre>",
    "<table><tr><th>h</th><th>i</th></tr><tr><td>a|b</td><td></td></tr></table>",
    '<table><tr><td colspan="2">x</td><td>y</td></tr><tr><td>1</td><td>2</td><td>3</td></tr></table>',
    "<table><tr><td><table><tr><td>layout</td></tr></table><p>mail</p></td></tr></table>",
    '<a href="http://a.b/c?d=e&amp;f=g">words</a> <a href="http://a.b">http://a.b</a> <a href="mailto:a@b.c">a@b.c</a>',
    '<a href="http://a.b/(x)[y] z"><img src="http://a.b/i.png" alt="pic (1)!"></a><img src="cid:1" alt="inline">',
    "<h1>One</h1>text<h3>Three<br>lines</h3><hr><p>end</p>",
    "<b><p>a</p><p>b</p></b><b> </b><b>x<i>y</b>z</i>",
    "<p>1. not a list</p><p># not a head *star* snake_case _x_ &lt;b&gt; &amp;amp; [a](b) a|b</p><b>!</b>",
    "foo<b>bar</b>baz <b>*</b> <i>_</i> <code>@`</code> <s>-</s>",
    "<dl><dt>term</dt><dd>meaning</dd></dl>",
    "<a><table><a>x</table><p><table><p>y",
]

nasty_text = st.one_of(
    st.sampled_from(NASTY),
    st.lists(st.sampled_from(NASTY), max_size=4).map("\n\n".join),
    st.text(
        st.sampled_from(list("*_-+@~^%`#>|!\"'[](){}<>&;:=.\\/ 1ahp\n\n\t\r\x00é👍\u200d\u202e\ud800")), max_size=60
    ),
    st.text(st.characters(), max_size=40),
)
_leaf = st.one_of(
    st.sampled_from(
        [
            "word",
            "two words",
            "*x*",
            "_y_",
            "a|b",
            "1. n",
            "# h",
            "&lt;b&gt;",
            "&amp;amp;",
            "שלום",
            FAMILY,
            " ",
            "-",
            '"q"',
        ]
    ),
    st.sampled_from(
        ["<br>", "<hr>", '<img src="http://a.b/i.png" alt="i">', '<a href="http://a.b/c">http://a.b/c</a>']
    ),
)


def _wrapped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    blocks = ["p", "div", "pre", "blockquote", "ul", "li", "ol", "h2", "table", "tr", "td", "th"]
    tags = st.sampled_from([*blocks, "b", "i", "s", "u", "code", "span", "sub", "a"])  # misnested on purpose
    wrap = st.builds(
        lambda tag, parts: f"<{tag}{' href=http://x.y/z' * (tag == 'a')}>{''.join(parts)}</{tag}>",
        tags,
        st.lists(inner, max_size=3),
    )
    items = st.builds(
        lambda tag, parts: f"<{tag}>{''.join(f'<li>{part}</li>' for part in parts)}</{tag}>",
        st.sampled_from(["ul", "ol"]),
        st.lists(inner, min_size=1, max_size=3),
    )
    return st.one_of(wrap, items)


nasty_html = st.one_of(
    st.sampled_from(HTML),
    st.lists(st.recursive(_leaf, _wrapped, max_leaves=8), max_size=4).map("".join),
    nasty_text,
)
some_markup = st.sampled_from(MARKUPS)


@calm
@given(nasty_text)
def test_plain_is_a_fixpoint_without_controls(text: str) -> None:
    """Normal text stays normal and can be stored anywhere."""
    normal = plain(text)
    assert plain(normal) == normal
    assert "\r" not in normal
    assert "\x00" not in normal
    normal.encode()


def test_plain_keeps_what_people_typed() -> None:
    """Emoji, joiners, direction marks, decomposed letters, tabs and indentation survive; ends of lines do not."""
    assert plain(f"\r\n \r\n  {FAMILY}\te\u0301 \u200f\r\nb \t\r\n\r\n") == f"  {FAMILY}\te\u0301 \u200f\nb"


@calm
@given(nasty_html)
def test_sanitise_is_a_fixpoint(html: str) -> None:
    """What was sanitised once is left alone."""
    clean = sanitise(html)
    assert sanitise(clean) == clean


@pytest.mark.parametrize(
    "html",
    [
        "<script>alert(1)</script>",
        "<style>p{}</style>",
        "<p onclick=alert(1)>x</p>",
        "<a href='javascript:alert(1)'>x</a>",
        "<a href='JaVa\tscript:alert(1)'>x</a>",
        "<form action=/x><input value=alert><textarea>alert(1)</textarea></form>",
        "<!-- alert(1) -->",
        "<iframe src=//alert></iframe><object data=alert></object><svg onload=alert(1)>",
        "<img src=x onerror=alert(1)>",
        "<img src='data:text/html,alert(1)'>",
        "<img src='http://t.example/alert.gif' width=1 height=1>",
        "<a href='//evil/alert'>x</a>",
    ],
)
def test_sanitise_removes_what_acts(html: str) -> None:
    """Scripts, handlers, forms, frames, unsafe addresses, comments and tracking pixels are gone."""
    assert "alert" not in sanitise(html)


def test_sanitise_keeps_what_people_read() -> None:
    """Formatting, lists, tables, safe links and images stay; links get their rel; a lost image leaves its words."""
    html = sanitise("".join(HTML))
    for part in (
        "<b>",
        "<li>",
        "<td>",
        "<blockquote>",
        "<pre>",
        'href="http://a.b"',
        'rel="noopener noreferrer"',
        'src="http',
    ):
        assert part in html
    assert "inline" in html


@calm
@given(nasty_text)
def test_plain_text_survives_html(text: str) -> None:
    """Text written as HTML and read back says the same words, and is not taken for formatting."""
    html = text_to_html(text)
    assert same(Body(html_to_text(html)), Body(text))
    assert not is_rich(html)
    assert sanitise(html) == html


def test_text_to_html_keeps_the_layout() -> None:
    """Paragraphs, line breaks, indentation and web addresses are kept; markup characters are escaped."""
    html = text_to_html("a <b> & c\nb\n\n  see https://a.b/c?d=1&e=2.")
    assert html == (
        "<p>a &lt;b&gt; &amp; c<br>b</p><p>&nbsp;&nbsp;see "
        '<a href="https://a.b/c?d=1&amp;e=2" rel="noopener noreferrer">https://a.b/c?d=1&amp;e=2</a>.</p>'
    )
    assert html_to_text(html) == "a <b> & c\nb\n\n  see https://a.b/c?d=1&e=2."


@pytest.mark.parametrize(
    ("html", "text", "markdown", "textile"),
    [
        ("<p>a</p><p>b<br>c\nd</p>", "a\n\nb\nc d", "a\n\nb\nc d", "a\n\nb\nc d"),
        ("<div>a</div><div>b</div><div><br></div><div>c</div>", "a\nb\n\nc", "a\nb\n\nc", "a\nb\n\nc"),
        ("<b>a</b> <em>b</em> <s>c</s>", "a b c", "**a** *b* ~~c~~", "*a* _b_ -c-"),
        ("<h2>a</h2>b", "a\n\nb", "## a\n\nb", "h2. a\n\nb"),
        ('<a href="http://a.b">x</a>', "x (http://a.b)", "[x](http://a.b)", '"x":http://a.b'),
        ('<a href="http://a.b">http://a.b</a>', "http://a.b", "<http://a.b>", "http://a.b"),
        ('<img src="http://a.b/i" alt="i">', "i", "![i](http://a.b/i)", "!http://a.b/i(i)!"),
        ("<ul><li>a<ol><li>b</li></ol></li><li>c</li></ul>", "- a\n  1. b\n- c", "- a\n  1. b\n- c", "* a\n*# b\n* c"),
        ("<blockquote>a</blockquote>", "> a", "> a", "bq. a"),
        ("<blockquote><p>a</p><p>b</p></blockquote>", "> a\n>\n> b", "> a\n>\n> b", "> a\n>\n> b"),
        ("<pre>a\n  *b*</pre>", "a\n  *b*", "```\na\n  *b*\n```", "<pre>\na\n  *b*\n</pre>"),
        (
            "<table><tr><th>a</th><th>b</th></tr><tr><td>c</td><td>d</td></tr></table>",
            "a | b\nc | d",
            "| a | b |\n| --- | --- |\n| c | d |",
            "|_. a|_. b|\n|c|d|",
        ),
        ("<table><tr><td><p>a</p></td></tr></table>", "a", "a", "a"),
    ],
)
def test_html_in_each_markup(html: str, text: str, markdown: str, textile: str) -> None:
    """Each construct has its natural form in text, Markdown and Textile, and shows as itself again."""
    assert (html_to_text(html), html_to_markdown(html), html_to_textile(html)) == (text, markdown, textile)
    assert html_to_markdown(markdown_to_html(markdown)) == markdown
    assert html_to_textile(textile_to_html(textile)) == textile


def test_markdown_escapes_words_that_look_like_markup() -> None:
    """Literal stars, hashes and tags in formatted HTML show as themselves; names with underscores stay readable."""
    html = "<p># 1 *a* &lt;b&gt; snake_case 2 * 3 <b>x</b></p>"
    markdown = html_to_markdown(html)
    assert markdown == "\\# 1 \\*a\\* \\<b> snake_case 2 * 3 **x**"
    assert html_to_text(markdown_to_html(markdown)) == html_to_text(html)


def test_textile_is_shown_as_redmine_shows_it() -> None:
    """No curly quotes, raw HTML visible, code blocks and mail quotes understood, attachments' names kept."""
    html = textile_to_html('say "hi" -- (c) <b>x</b>\n\n> quoted\n\n<pre>\n*x* <y>\n</pre>\n\n!shot.png!')
    for part in ('say "hi" -- (c) &lt;b&gt;x', "<blockquote>", "<pre>*x* &lt;y&gt;</pre>", "!shot.png!"):
        assert part in html


@pytest.mark.parametrize(
    ("html", "rich"),
    [
        ("<p>a</p><div>b<br></div><span>c</span>", False),
        ('<a href="http://a.b">http://a.b</a>', False),
        ("<table><tr><td>layout</td></tr></table>", False),
        ('<a href="http://a.b">x</a>', True),
        ("<b>a</b>", True),
        ("<ul><li>a</li></ul>", True),
        ('<img src="http://a.b/i">', True),
        ("<table><tr><td>a</td><td>b</td></tr></table>", True),
        ("<blockquote>a</blockquote>", True),
    ],
)
def test_is_rich(html: str, rich: bool) -> None:
    """Formatting is rich, wrappers and links that show their address are not."""
    assert is_rich(html) is rich


def test_a_link_spelled_out_in_the_text_is_not_rich() -> None:
    """With the plain text at hand, a link that it spells out adds nothing."""
    assert not is_rich('<a href="http://a.b">x</a>', "x (http://a.b)")


@calm
@given(nasty_text, some_markup)
def test_read_and_write_is_a_fixpoint(source: str, markup: Markup) -> None:
    """What a product holds, read and written back once, is never changed again."""
    once = write(read(source, markup), markup)
    assert write(read(once, markup), markup) == once
    if markup != "html":
        assert once == plain(source)


@calm
@given(nasty_html, st.sampled_from(["textile", "markdown"]))
def test_html_through_a_tracker_settles_after_one_pass(html: str, markup: Markup) -> None:
    """HTML typed into a tracker, shown as HTML again and typed again stays what it was."""
    body = read(html, "html")
    for _ in range(2):
        typed = write(body, markup)
        body = read(write(read(typed, markup), "html"), "html")
    assert write(body, markup) == typed


@calm
@given(nasty_text, some_markup, some_markup)
def test_words_cross_products(text: str, first: Markup, second: Markup) -> None:
    """Plain words written to one product are readable in another, without raising, for any string."""
    body = read(write(Body(text), first), first)
    assert isinstance(write(body, second), str)


def test_plain_words_are_never_escaped() -> None:
    """A text without HTML is stored as it was typed in every typed markup, mentions included."""
    text = "2*3*4 @ann snake_case <tag> #12 [x](y)"
    assert {write(Body(text), markup) for markup in ("plain", "textile", "markdown")} == {text}


def test_typed_markup_comes_back_as_it_was_typed() -> None:
    """A text that is the source of its own HTML goes back unchanged, not retyped from the HTML."""
    source = "h1. Title\n\n** odd *but* mine\n* list"
    body = read(source, "textile")
    assert body.html
    assert write(body, "textile") == source


def test_same_ignores_white_space_and_formatting() -> None:
    """Equality and fingerprint look at the words only, and agree with each other."""
    one, two = Body("a  b\r\n\r\nc", "<p><b>a</b> b</p>"), Body("a b c")
    assert same(one, two)
    assert digest(one) == digest(two) != digest(Body("a b d"))


@calm
@given(nasty_text, st.one_of(nasty_text, st.text()), st.sampled_from(["gorgias:4711", "redmine:17.3"]))
def test_unsign_undoes_sign(text: str, who: str, ref: str) -> None:
    """The body and the ref come back exactly, also through CRLF and when the text starts with such a line."""
    for body in (text, sign(text, "Ann", WHEN, "other:1")):
        signed = sign(body, who, WHEN, ref)
        assert unsign(signed) == (plain(body), ref)
        assert unsign(signed.replace("\n", "\r\n")) == (plain(body), ref)
        assert plain(signed) == signed


@calm
@given(nasty_html, st.one_of(nasty_text, st.text()))
def test_unsign_html_undoes_sign_html(html: str, who: str) -> None:
    """The HTML and the ref come back, sanitised."""
    assert unsign_html(sign_html(html, who, WHEN, "gorgias:1")) == (sanitise(html), "gorgias:1")


@calm
@given(st.one_of(nasty_text, st.text()))
def test_the_signature_line_is_not_garbled(who: str) -> None:
    """Redmine and Markdown show the line as it was written, whatever the name."""
    line = sign("", who, WHEN, "gorgias:4711")
    assert html_to_text(textile_to_html(line)) == line
    assert html_to_text(markdown_to_html(line)) == line


def test_sign_names_author_minute_in_utc_and_source() -> None:
    """The line is readable and in UTC, and the name is cleaned."""
    local = WHEN.astimezone(timezone(timedelta(hours=2)))
    assert (
        sign("Hello", "Ann\n *Lee* · x", local, "gorgias:4711")
        == "Ann Lee x · 2026-11-25 10:00 UTC · gorgias:4711\n\nHello"
    )
    assert sign("", "", WHEN, "redmine:17.3") == "unknown · 2026-11-25 10:00 UTC · redmine:17.3"
    assert unsign("no such line · here") == ("no such line · here", None)
    assert unsign_html("<p>a</p>") == ("<p>a</p>", None)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\dir\\a?b*.txt", "a_b_.txt"),
        ("CON.txt", "_CON.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("\x00..", "file"),
        ("", "file"),
        ("Rechnung März.pdf", "Rechnung März.pdf"),
    ],
)
def test_safe_file_name(name: str, safe: str) -> None:
    """No path, no reserved or invisible character, never empty."""
    assert safe_file_name(name) == safe


@calm
@given(st.one_of(nasty_text, st.text(max_size=400), st.text("a👍. ", min_size=100, max_size=300)))
def test_safe_file_name_is_bounded_and_a_fixpoint(name: str) -> None:
    """Any name becomes one that every file system takes, and stays it."""
    safe = safe_file_name(name)
    assert safe
    assert len(safe) <= 120
    assert len(safe.encode()) <= 255
    assert safe_file_name(safe) == safe


def test_safe_file_name_keeps_the_extension() -> None:
    """A long name is cut before its extension."""
    assert safe_file_name("x" * 300 + ".pdf") == "x" * 116 + ".pdf"


@pytest.mark.parametrize("whole", [FAMILY, "👍🏽", "🇩🇪", "e\u0301", "☎\ufe0f"])
def test_shorten_never_cuts_a_visible_character(whole: str) -> None:
    """Joined emoji, skin tones, flags and combining marks are kept whole or dropped whole."""
    text = "ab" + whole * 3
    for limit in range(len(text)):
        short = shorten(text, limit)
        assert len(short) <= limit
        assert short == "" or short.removesuffix("…") in {"a", "ab", "", *("ab" + whole * count for count in range(4))}


@calm
@given(nasty_text, st.integers(-1, 30))
def test_shorten_is_bounded_and_a_fixpoint(text: str, limit: int) -> None:
    """A shortened text is short, marked, and not shortened again."""
    short = shorten(text, limit)
    assert len(short) <= max(limit, 0)
    assert shorten(short, limit) == short


@pytest.mark.parametrize(
    "unit",
    [
        "<div>",
        "<b>",
        "<ul><li>",
        "<blockquote>",
        "<table><tr><td>",
        "<p>x",
        "</div>",
        "<",
        "<!--",
        "&amp;",
        "<pre>",
        "* a\n",
        "> ",
        "[",
        "|a",
        '"a":http://b ',
        "!a",
        "*a ",
        "`",
        "x ",
        "\n",
        " ",
        "<a href=http://x>y</a>",
        "- ",
        "a\n\n",
    ],
)
def test_repeated_markup_takes_bounded_time(unit: str) -> None:
    """Repeated markup, deep or long, neither raises nor takes time by its square."""
    text = unit * (20_000 // len(unit))
    started = time.process_time()
    for markup in MARKUPS:
        body = read(text, markup)
        for target in MARKUPS:
            write(body, target)
    assert time.process_time() - started < 20


@pytest.mark.parametrize("unit", ["<p>a <b>b</b></p>", "<div>", "*a*\n\n"])
def test_a_megabyte_takes_bounded_time(unit: str) -> None:
    """A huge body is kept, as plain words where its markup would cost too much."""
    text = unit * (1_000_000 // len(unit))
    started = time.process_time()
    bodies = [read(text, markup) for markup in MARKUPS]
    assert all(isinstance(write(body, markup), str) for body in bodies for markup in MARKUPS)
    assert time.process_time() - started < 20
