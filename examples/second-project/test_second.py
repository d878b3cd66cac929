"""Shows which versions this project sees: other ones than ../python-project at the same paths."""

import lxml.etree
import numpy
import requests
import socks


def test_versions_are_those_of_this_projects_lock() -> None:
    assert numpy.__version__ == "2.2.6"
    assert requests.__version__ == "2.32.5"
    assert socks.__version__
    assert lxml.etree.fromstring("<a/>").tag == "a"
    assert numpy.linalg.inv(numpy.eye(2) * 2)[0, 0] == 0.5
