// The JavaScript guest for WASI 0.2: fetch events of the engine StarlingMonkey.

addEventListener("fetch", (event) => event.respondWith(handle(event.request)));

async function handle(request) {
  const { pathname } = new URL(request.url);
  const status = /^\/status\/(\d+)$/.exec(pathname);
  if (pathname === "/") return answer(200, "text/plain; charset=utf-8", "Hello from JavaScript!\n");
  if (pathname === "/json") {
    const about = { guest: "js", language: "JavaScript", wasi: "0.2", method: request.method, path: pathname };
    return answer(200, "application/json", JSON.stringify(about) + "\n");
  }
  if (pathname === "/echo") return answer(200, "application/octet-stream", await request.arrayBuffer());
  if (status) return answer(Number(status[1]), "text/plain; charset=utf-8", `status ${status[1]}\n`);
  return answer(404, "text/plain; charset=utf-8", `no route ${pathname}\n`);
}

function answer(status, type, body) {
  return new Response(body, { status, headers: { "content-type": type, "x-guest": "js" } });
}
