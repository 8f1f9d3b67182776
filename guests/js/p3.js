// The JavaScript guest for WASI 0.3: bindings of the component model in the engine QuickJS.

import types from "wasi:http/types@0.3.0";

const bytes = (text) => Uint8Array.from(text, (c) => c.charCodeAt(0));

export const handler = {
  async handle(request) {
    const path = (request.getPathWithQuery() ?? "/").split("?")[0];
    const status = /^\/status\/(\d+)$/.exec(path);
    if (path === "/") return answer(200, "text/plain; charset=utf-8", "Hello from JavaScript!\n");
    if (path === "/json") {
      const method = request.getMethod().tag.toUpperCase();
      const about = { guest: "js-p3", language: "JavaScript", wasi: "0.3", method, path };
      return answer(200, "application/json", JSON.stringify(about) + "\n");
    }
    if (status) return answer(Number(status[1]), "text/plain; charset=utf-8", `status ${status[1]}\n`);
    return answer(404, "text/plain; charset=utf-8", `no route ${path}\n`);
  },
};

function answer(status, type, text) {
  const headers = new types.Fields();
  headers.append("content-type", bytes(type));
  headers.append("x-guest", bytes("js-p3"));
  const body = (async function* () {
    yield bytes(text);
  })();
  // No trailers, and no error either.
  const trailers = wit.Future.from({ tag: "ok", val: null }, wit.Future.RESULT_OPTION_OTHER_ERROR_CODE);
  const [response] = types.Response.new(headers, body, trailers.readable);
  response.setStatusCode(status);
  return response;
}
