// The Go guest for WASI 0.2.
package export_wasi_http_incoming_handler

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/wasi_http_types"
)

const text = "text/plain; charset=utf-8"

// The names of the methods that have a tag of their own, by tag.
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// Handle answers one request.
func Handle(request *wasi_http_types.IncomingRequest, out *wasi_http_types.ResponseOutparam) {
	path, _, _ := strings.Cut(request.PathWithQuery().SomeOr("/"), "?")
	status, mediaType, content := answer(path, request.Method())

	headers := wasi_http_types.FieldsFromList([]witTypes.Tuple2[string, []uint8]{
		{F0: "content-type", F1: []byte(mediaType)},
		{F0: "x-guest", F1: []byte("go")},
	}).Ok()
	response := wasi_http_types.MakeOutgoingResponse(headers)
	response.SetStatusCode(status)
	body := response.Body().Ok()
	wasi_http_types.ResponseOutparamSet(out, witTypes.Ok[*wasi_http_types.OutgoingResponse, wasi_http_types.ErrorCode](response))
	stream := body.Write().Ok()
	stream.BlockingWriteAndFlush([]byte(content))
	stream.Drop()
	wasi_http_types.OutgoingBodyFinish(body, witTypes.None[*wasi_http_types.Fields]())
}

func answer(path string, method wasi_http_types.Method) (status uint16, mediaType string, content string) {
	switch {
	case path == "/":
		return 200, text, "Hello from Go!\n"
	case path == "/json":
		name := "other"
		if tag := int(method.Tag()); tag < len(methods) {
			name = methods[tag]
		}
		about, _ := json.Marshal(map[string]string{"guest": "go", "language": "Go", "wasi": "0.2", "method": name, "path": path})
		return 200, "application/json", string(about) + "\n"
	case strings.HasPrefix(path, "/status/"):
		if status, err := strconv.ParseUint(strings.TrimPrefix(path, "/status/"), 10, 16); err == nil {
			return uint16(status), text, fmt.Sprintf("status %d\n", status)
		}
	}
	return 404, text, fmt.Sprintf("no route %s\n", path)
}
