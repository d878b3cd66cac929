"""The example's own tests: each compiled library does something that counts."""

import http.server
import io
import threading
from pathlib import Path

import lxml.html
import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image
from weather import measurements, reports

HERE = Path(__file__).parent


@pytest.fixture
def table() -> np.ndarray:
    return measurements.read(HERE / "data.csv")


def test_measurements_are_smoothed(table: np.ndarray) -> None:
    settings = measurements.settings(HERE / "station.yaml")
    smooth = measurements.smooth(table[:, 1], settings["smooth"])
    assert smooth[:2] == pytest.approx([3.75, 4.25])


def test_packed_measurements_come_back(table: np.ndarray) -> None:
    assert np.array_equal(measurements.unpack(measurements.pack(table)), table)


def test_the_page_has_a_row_for_each_measurement(table: np.ndarray) -> None:
    page = lxml.html.fromstring(reports.page("Bergfried <north>", table))
    assert page.findtext(".//title") == "Bergfried <north>"
    assert [row[1].text for row in page.iter("tr")][:2] == ["4.0", "3.5"]


def test_the_picture_is_drawn(table: np.ndarray) -> None:
    image = Image.open(io.BytesIO(reports.picture(table[:, 1])))
    assert image.size == (80, 100)
    assert (255, 0, 0) in {colour for _, colour in image.getcolors()}


def test_a_signed_report_is_sent(table: np.ndarray) -> None:
    key, got = Ed25519PrivateKey.generate(), []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            got.append((self.rfile.read(size), bytes.fromhex(self.headers["X-Signature"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        text = reports.page("station", table)
        address = f"http://127.0.0.1:{server.server_port}/"
        assert reports.send(address, text, reports.sign(key, text)) == 204
    body, signature = got[0]
    key.public_key().verify(signature, body)
    with pytest.raises(InvalidSignature):
        key.public_key().verify(signature, body + b"!")
