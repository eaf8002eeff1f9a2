"""Fields of a request, from its query or its form, and the one lock around drawing."""

from __future__ import annotations

import email
import threading
from urllib.parse import parse_qs

drawing = threading.Semaphore(1)  # more drawing threads than one only fight over the interpreter


def fields(request) -> dict[str, str]:
    """Names and texts of the query string and of a urlencoded or multipart body, uploaded files included."""
    found = {key: values[-1] for key, values in parse_qs(request.query, keep_blank_values=True).items()}
    kind = request.headers.get("Content-Type", "")
    if kind.startswith("multipart/form-data"):
        message = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + request.body)
        for part in message.get_payload():
            name = part.get_param("name", header="content-disposition")
            found[name] = part.get_payload(decode=True).decode()
    elif kind.startswith("application/x-www-form-urlencoded"):
        found |= {key: values[-1] for key, values in parse_qs(request.body.decode(), keep_blank_values=True).items()}
    return found
