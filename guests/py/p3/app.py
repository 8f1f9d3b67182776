"""The Python guest for WASI 0.3."""

import json
import re

import componentize_py_async_support
import wit_world
from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.wasi_http_types import Fields, Request, Response

TEXT = "text/plain; charset=utf-8"


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        path = (request.get_path_with_query() or "/").split("?")[0]
        status, media_type, text = answer(path, type(request.get_method()).__name__)
        writer, body = wit_world.byte_stream()

        async def send() -> None:
            with writer:
                await writer.write_all(text.encode())

        componentize_py_async_support.spawn(send())
        trailers = wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(lambda: Ok(None))[1]
        headers = Fields.from_list([("content-type", media_type.encode()), ("x-guest", b"py-p3")])
        response = Response.new(headers, body, trailers)[0]
        response.set_status_code(status)
        return response


def answer(path: str, method: str) -> tuple[int, str, str]:
    """Status, media type and body for a path. The method is the name of its class: Method_Get."""
    if path == "/":
        return 200, TEXT, "Hello from Python!\n"
    if path == "/json":
        method = method.removeprefix("Method_").upper()
        about = {"guest": "py-p3", "language": "Python", "wasi": "0.3", "method": method, "path": path}
        return 200, "application/json", json.dumps(about) + "\n"
    if status := re.fullmatch(r"/status/(\d+)", path):
        return int(status[1]), TEXT, f"status {status[1]}\n"
    return 404, TEXT, f"no route {path}\n"
