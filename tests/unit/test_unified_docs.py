"""The table of docs/unified-api.md that shows where each field of Gorgias's comes from is that of the schema.

`python -m tests.unit.test_unified_docs` writes it anew.
"""

from collections.abc import Iterator
from pathlib import Path

from syncd.unified import schema

PAGE = Path(__file__).parents[2] / "docs" / "unified-api.md"
BEGIN, END = "<!-- generated: tests/unit/test_unified_docs.py -->\n", "<!-- end -->\n"


def table() -> Iterator[str]:
    """The lines of the tables, a resource each."""
    for resource in schema.every().values():
        yield f"\n**{resource.path.removeprefix('/unified/')}**\n\n"
        yield "| field | type | Gorgias |\n| --- | --- | --- |\n"
        for name, field in resource.fields.items():
            mark = f" *{field['evidence']}*" if field.get("evidence") else ""
            source = field.get("gorgias", "–").replace("|", "\\|")
            yield f"| {name}{mark} | {field['type']}{', required' if field.get('required') else ''} | {source} |\n"


def page() -> str:
    """The page with its tables as they should be."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    return before + BEGIN + "".join(table()) + "\n" + END + rest.partition(END)[2]


def test_the_page_shows_the_schema() -> None:
    """What the page says of Gorgias is what the schema says."""
    assert PAGE.read_text("utf-8") == page()


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
