// The C guest for WASI 0.2.

#include "http_guest.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT "text/plain; charset=utf-8"

// The names of the methods that have a tag of their own, by tag.
static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};

// Grows the table of functions, which the linker leaves growable; -1 if refused.
__asm__(".tabletype __indirect_function_table, funcref\n");
static int grow_table(int entries) {
    int before;
    __asm__ volatile("ref.null_func\n"
                     "local.get %1\n"
                     "table.grow __indirect_function_table\n"
                     "local.set %0\n"
                     : "=r"(before)
                     : "r"(entries));
    return before;
}

struct answer {
    uint16_t status;
    const char *type;
    char body[512];
};

static struct answer answer(const char *path, const char *query, const char *method) {
    struct answer answer = {200, TEXT, ""};
    if (strcmp(path, "/") == 0) {
        strcpy(answer.body, "Hello from C!\n");
    } else if (strcmp(path, "/json") == 0) {
        answer.type = "application/json";
        snprintf(answer.body, sizeof answer.body,
                 "{\"guest\":\"c\",\"language\":\"C\",\"wasi\":\"0.2\",\"method\":\"%s\",\"path\":\"%s\"}\n", method, path);
    } else if (strcmp(path, "/table") == 0 && strncmp(query, "n=", 2) == 0) {
        bool refused = grow_table((int)strtol(query + 2, NULL, 10)) < 0;
        answer.status = refused ? 507 : 200;
        strcpy(answer.body, refused ? "table refused\n" : "table grown\n");
    } else if (strncmp(path, "/status/", 8) == 0 && strtol(path + 8, NULL, 10) >= 100) {
        answer.status = (uint16_t)strtol(path + 8, NULL, 10);
        snprintf(answer.body, sizeof answer.body, "status %u\n", answer.status);
    } else {
        answer.status = 404;
        snprintf(answer.body, sizeof answer.body, "no route %.400s\n", path);
    }
    return answer;
}

static wasi_http_types_tuple2_field_name_field_value_t header(const char *name, const char *value) {
    return (wasi_http_types_tuple2_field_name_field_value_t){
        .f0 = {(uint8_t *)name, strlen(name)},
        .f1 = {(uint8_t *)value, strlen(value)},
    };
}

static void send(const struct answer *answer, wasi_http_types_own_response_outparam_t out) {
    wasi_http_types_tuple2_field_name_field_value_t entries[] = {header("content-type", answer->type), header("x-guest", "c")};
    wasi_http_types_list_tuple2_field_name_field_value_t list = {entries, 2};
    wasi_http_types_own_fields_t headers;
    wasi_http_types_header_error_t header_error;
    if (!wasi_http_types_static_fields_from_list(&list, &headers, &header_error)) abort();

    wasi_http_types_own_outgoing_response_t response = wasi_http_types_constructor_outgoing_response(headers);
    wasi_http_types_borrow_outgoing_response_t borrowed = wasi_http_types_borrow_outgoing_response(response);
    wasi_http_types_own_outgoing_body_t body;
    wasi_http_types_own_output_stream_t stream;
    if (!wasi_http_types_method_outgoing_response_set_status_code(borrowed, answer->status)) abort();
    if (!wasi_http_types_method_outgoing_response_body(borrowed, &body)) abort();
    wasi_http_types_result_own_outgoing_response_error_code_t result = {.is_err = false, .val.ok = response};
    wasi_http_types_static_response_outparam_set(out, &result);

    // From here on errors mean that the client is gone.
    if (!wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(body), &stream)) abort();
    http_guest_list_u8_t data = {(uint8_t *)answer->body, strlen(answer->body)};
    wasi_io_streams_stream_error_t stream_error;
    wasi_io_streams_method_output_stream_blocking_write_and_flush(wasi_io_streams_borrow_output_stream(stream), &data, &stream_error);
    wasi_io_streams_output_stream_drop_own(stream);
    wasi_http_types_error_code_t error;
    wasi_http_types_static_outgoing_body_finish(body, NULL, &error);
}

void exports_wasi_http_incoming_handler_handle(exports_wasi_http_incoming_handler_own_incoming_request_t request,
                                               exports_wasi_http_incoming_handler_own_response_outparam_t out) {
    wasi_http_types_borrow_incoming_request_t borrowed = wasi_http_types_borrow_incoming_request(request);
    http_guest_string_t target;
    char path[256] = "/";
    if (wasi_http_types_method_incoming_request_path_with_query(borrowed, &target)) {
        snprintf(path, sizeof path, "%.*s", (int)target.len, (const char *)target.ptr);
        http_guest_string_free(&target);
    }
    char *query = strchr(path, '?');
    if (query) *query++ = '\0';

    wasi_http_types_method_t method;
    wasi_http_types_method_incoming_request_method(borrowed, &method);
    const char *name = method.tag < sizeof methods / sizeof *methods ? methods[method.tag] : "other";
    wasi_http_types_method_free(&method);
    wasi_http_types_incoming_request_drop_own(request);

    struct answer result = answer(path, query ? query : "", name);
    send(&result, out);
}
