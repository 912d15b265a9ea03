"""HTML that shows everywhere: pieces whose ids come from their content, pictures that survive where
scripts and styles do not, and pages that need nothing else."""

from __future__ import annotations

import base64
import html


def identity(prefix: str, body: str) -> str:
    """An id for a piece of HTML: a hash of its content, so that the same content gives the same
    bytes."""
    import hashlib  # takes 6 ms, most of which is OpenSSL

    return prefix + "-" + hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest()[:12]


def image(svg: str, width: int, height: int, alt: str) -> str:
    """An SVG as an <img> with a data URI, which untrusted notebooks keep while they drop inline
    SVG."""
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<img width="{width}" height="{height}" alt="{html.escape(alt, quote=True)}" '
        f'src="data:image/svg+xml;base64,{data}">'
    )


def document(title: str, style: str, body: str) -> str:
    """A page that needs no other file; `title` is plain text."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
