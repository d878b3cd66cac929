"""Reports: a page, a picture, a signature, and sending them."""

from __future__ import annotations

import io

import jinja2
import numpy as np
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image, ImageDraw

PAGE = jinja2.Environment(autoescape=True).from_string("""\
<!DOCTYPE html>
<html><head><title>{{ name }}</title></head><body>
<table>{% for hour, degrees in rows %}
<tr><td>{{ hour }}</td><td>{{ "%.1f" | format(degrees) }}</td></tr>{% endfor %}
</table></body></html>
""")


def page(name: str, table: np.ndarray) -> str:
    """The measurements as HTML."""
    return PAGE.render(name=name, rows=[(int(hour), degrees) for hour, degrees in table])


def picture(degrees: np.ndarray) -> bytes:
    """The measurements as a PNG, 10 pixels wide for each."""
    image = Image.new("RGB", (10 * len(degrees), 100), "white")
    points = [(10 * at + 5, 100 - int(2 * value)) for at, value in enumerate(degrees)]
    ImageDraw.Draw(image).line(points, fill="red", width=2)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def sign(key: Ed25519PrivateKey, report: str) -> bytes:
    """The station's signature over a report."""
    return key.sign(report.encode())


def send(address: str, report: str, signature: bytes) -> int:
    """Post a report; gives the server's status."""
    headers = {"X-Signature": signature.hex()}
    return requests.post(address, data=report.encode(), headers=headers, timeout=10).status_code
