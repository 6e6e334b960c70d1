"""One self-contained page: its skeleton, its policy, and the few kinds of block it is made of.

Codes and the like come from a server that may be hostile. All text goes through `text`, data of
plots through `_embedded`, and should either fail, the policy of the page runs no script but the
two whose digests it names and lets nothing reach any network.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from batchkms._version import __version__

LONGEST_TEXT = 300
"""Characters of any one text from outside: a code is far shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot. `data` and `layout` are Plotly's; a color is the name of a style variable.

    `meaning` says under it how it is to be read, for those too who cannot see it.
    """

    name: str
    title: str
    meaning: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


def text(value: object) -> str:
    """Any value as HTML that shows it and does nothing else."""
    shown = str(value)
    if len(shown) > LONGEST_TEXT:
        shown = f"{shown[: LONGEST_TEXT - 1]}…"
    # Characters that turn the direction of writing could make a text look like another one.
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)
    return html.escape(shown)


def section(title: str, *blocks: str) -> str:
    """A part of the page under a heading; nothing if none of its blocks has anything."""
    inner = "\n".join(block for block in blocks if block)
    return f"<section>\n<h2>{text(title)}</h2>\n{inner}\n</section>" if inner else ""


def figure(plot: Plot) -> str:
    """The place where a plot will be drawn."""
    name, title = text(plot.name), text(plot.title)
    return (
        f'<figure>\n<h3 id="{name}-title">{title}</h3>\n'
        f'<div class="plot" id="{name}" role="img" aria-labelledby="{name}-title" '
        f'aria-describedby="{name}-meaning"></div>\n'
        f'<figcaption id="{name}-meaning">{text(plot.meaning)}</figcaption>\n</figure>'
    )


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[object]], *, words: int = 1
) -> str:
    """A table; the first `words` columns are words, all others numbers. Nothing without rows.

    A cell that is `Markup` is taken as it is.
    """
    lines = [_row(row, words) for row in rows]
    if not lines:
        return ""
    cells = "".join(
        f'<th scope="col"{_kind(number, words)}>{text(name)}</th>'
        for number, name in enumerate(head)
    )
    return (
        f'<div class="scroll" role="region" aria-label="{text(caption)}" tabindex="0">\n'
        f"<table>\n<caption>{text(caption)}</caption>\n<thead><tr>{cells}</tr></thead>\n"
        f"<tbody>\n{chr(10).join(lines)}\n</tbody>\n</table>\n</div>"
    )


class Markup(str):
    """HTML that was made here and needs no escape."""

    __slots__ = ()


def badge(label: str, kind: str) -> Markup:
    """A word that is seen at once: `good`, `bad` or `open` for its kind."""
    return Markup(f'<span class="badge {text(kind)}">{text(label)}</span>')


def verdict(label: str, kind: str, sentence: str, reasons: Sequence[str] = ()) -> str:
    """What the page has to say above all, of the same kinds as a badge."""
    listed = "".join(f"<li>{text(reason)}</li>" for reason in reasons)
    rest = f"<ul>{listed}</ul>" if listed else ""
    return (
        f'<section class="verdict {text(kind)}" aria-label="Verdict">\n'
        f"<p><strong>{text(label)}</strong> <span>{text(sentence)}</span></p>{rest}\n</section>"
    )


def tiles(pairs: Iterable[tuple[str, str, str]]) -> str:
    """The figures that are looked for first: a label, a value, and a word about it each."""
    shown = "".join(
        f"<div><dt>{text(label)}</dt><dd>{text(value)}<small>{text(about)}</small></dd></div>"
        for label, value, about in pairs
    )
    return f'<dl class="tiles">{shown}</dl>'


def notes(sentences: Sequence[str]) -> str:
    """Remarks that change how the figures are to be taken."""
    listed = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return f'<aside class="notes" aria-label="Notes"><ul>{listed}</ul></aside>' if listed else ""


def page(*, title: str, subtitle: str, blocks: Sequence[str], plots: Sequence[Plot]) -> str:
    """The whole file. Needs plotly only if there are plots (see `require_report`)."""
    own = _asset("page.js")
    scripts = [_plotly(), own] if plots else []
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; "
        f"script-src {' '.join(map(_digest, scripts)) or chr(39) + 'none' + chr(39)}; "
        "base-uri 'none'; form-action 'none'"
    )
    body = "\n".join(block for block in blocks if block)
    code = "\n".join(f"<script>{script}</script>" for script in scripts)
    data = f'<script type="application/json" id="plots">{_embedded(plots)}</script>\n'
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(title)}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{text(title)}</h1>\n<p>{text(subtitle)}</p>\n</header>\n"
        f"<main>\n{body}\n</main>\n"
        f"<footer><p>Made by batchkms {text(__version__)}.</p></footer>\n"
        f"{data if plots else ''}{code}\n</body>\n</html>\n"
    )


def _row(row: Sequence[object], words: int) -> str:
    first, *rest = row
    cells = "".join(
        f"<td{_kind(number, words)}>{_cell(value)}</td>" for number, value in enumerate(rest, 1)
    )
    return f'<tr><th scope="row"{_kind(0, words)}>{_cell(first)}</th>{cells}</tr>'


def _cell(value: object) -> str:
    return value if isinstance(value, Markup) else text(value)


def _kind(number: int, words: int) -> str:
    return "" if number < words else ' class="number"'


def _embedded(plots: Sequence[Plot]) -> str:
    content = {plot.name: {"data": plot.data, "layout": plot.layout} for plot in plots}
    written = json.dumps(content, separators=(",", ":"), allow_nan=False)
    # In a script element nothing but `<` could end it or begin a comment.
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _asset(name: str) -> str:
    return files("batchkms.reporting.html").joinpath(name).read_text(encoding="utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    # A browser reads a CR as a LF, and the digest would be another one.
    script: str = get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")
    if "</script" in script.lower() or "<!--" in script:
        raise ValueError("plotly.js cannot be put into a page: it holds the end of a script")
    return script
