"""A port that can't be had is a matter of the command, not of permissions."""

from __future__ import annotations

import socket

import pytest

from gliomaseg.errors import UsageError
from gliomaseg.report.serve import Viewer


def test_a_busy_port_is_named_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} can't be used") as caught:
            Viewer([], port=port)
    assert "--port" in caught.value.remedy
