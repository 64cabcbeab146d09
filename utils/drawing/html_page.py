"""Parts of an HTML page that needs no other file. Texts are escaped here, bodies are HTML already."""

import html
from collections.abc import Sequence

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.3em .8em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}svg{max-width:100%}"
)
PAGE_END = "</body></html>\n"


def page(title: str, body: str, style: str = STYLE) -> str:
    """The whole page; its title is its first heading."""
    return page_begin(title, style) + body + PAGE_END


def page_begin(title: str, style: str = STYLE) -> str:
    """All before the body of a page that is written piece by piece; PAGE_END ends it."""
    title = html.escape(title)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style></head>'
        f"<body><h1>{title}</h1>"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts."""
    names = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table>"


def bullets(lines: Sequence[str], tag: str = "ul") -> str:
    """A list of texts, by dots or numbers (ol); nothing for none."""
    return f"<{tag}>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</{tag}>" if lines else ""
