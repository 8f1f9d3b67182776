"""The Python guest for WASI 0.2."""

import json
import re

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam

TEXT = "text/plain; charset=utf-8"


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        path = (request.path_with_query() or "/").split("?")[0]
        status, media_type, text = answer(path, type(request.method()).__name__)
        headers = [("content-type", media_type.encode()), ("x-guest", b"py")]
        response = OutgoingResponse(Fields.from_list(headers))
        response.set_status_code(status)
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        with body.write() as stream:
            stream.blocking_write_and_flush(text.encode())
        OutgoingBody.finish(body, None)


def answer(path: str, method: str) -> tuple[int, str, str]:
    """Status, media type and body for a path. The method is the name of its class: Method_Get."""
    if path == "/":
        return 200, TEXT, "Hello from Python!\n"
    if path == "/json":
        method = method.removeprefix("Method_").upper()
        about = {"guest": "py", "language": "Python", "wasi": "0.2", "method": method, "path": path}
        return 200, "application/json", json.dumps(about) + "\n"
    if status := re.fullmatch(r"/status/(\d+)", path):
        return int(status[1]), TEXT, f"status {status[1]}\n"
    return 404, TEXT, f"no route {path}\n"
