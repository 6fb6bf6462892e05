"""The page that answers `/?workflow=NAME` where there is no workflow of that name."""

from collections.abc import Iterable
from html import escape
from urllib.parse import quote

_SHOWN_CHARS = 80
_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>No such workflow · Rejoinder</title>
  <link rel="icon" href="/static/favicon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/static/builder.css">
</head>
<body class="message">
  <main>
    <h1>There is no workflow “{name}” here</h1>
    <p>This server has these:</p>
    <ul>{links}</ul>
  </main>
</body>
</html>
"""


def render_unknown(name: str, known: Iterable[str]) -> str:
    """The HTML that says that `name` is unknown and links to every known workflow."""
    links = "".join(
        f'<li><a class="button" href="/?workflow={quote(one)}">{escape(one)}</a></li>' for one in sorted(known)
    )
    return _PAGE.format(name=escape(name[:_SHOWN_CHARS]), links=links)
