#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "net/http_head.h"

namespace wscope::gateway {

// What a WebSocket handshake must be before anything is done for it, and what is agreed about
// compression. All functions are pure; Thread: any.

inline constexpr size_t kSubprotocolsMax = 100;
inline constexpr size_t kExtensionsMax = 100;

// Every Refusal::error_type, for children that exist from the start.
inline constexpr std::string_view kHandshakeErrorTypes[] = {
    "http_1_0_upgrade",       // RFC 6455 4.2.1 asks for HTTP/1.1                     400
    "bad_method",             // not GET                                              405
    "no_host",                //                                                      400
    "two_hosts",              //                                                      400
    "no_upgrade",             // Upgrade does not name websocket                      426
    "no_connection_upgrade",  // Connection does not name upgrade                     400
    "handshake_body",         // Content-Length above 0, or chunked                   400
    "bad_websocket_version",  // not exactly one Sec-WebSocket-Version, or not 13     426
    "no_websocket_key",       //                                                      400
    "two_websocket_keys",     //                                                      400
    "bad_websocket_key",      // not base64 of 16 bytes                               400
    "bad_subprotocol",        // an empty, malformed or repeated one, or too many     400
    "bad_extensions",         // not the grammar of RFC 6455 9.1, or too many         400
};

// Why a handshake is not accepted, and how to answer.
struct Refusal {
  int status;
  std::string_view error_type;  // one of kHandshakeErrorTypes
  std::string what;             // for a person; never holds bytes of the request
  std::string_view headers;     // further lines of the answer, each with its CRLF; often none
};

// Checks a request that parse_request() accepted against RFC 6455, section 4.2.1. Nothing if it is
// a good handshake.
std::optional<Refusal> check_handshake(net::RequestHead const& head);

// permessage-deflate as one side offers or agrees to it (RFC 7692, section 7.1).
struct DeflateParams {
  bool server_no_context_takeover = false;
  bool client_no_context_takeover = false;
  int server_max_window_bits = 15;
  int client_max_window_bits = 15;
};

// The offer that was chosen.
struct DeflateOffer {
  DeflateParams params;  // a window that was not named is 15
  bool server_window_named = false;
  bool client_window_named = false;  // only then may the answer speak of the client's window
  bool client_window_has_value = false;
};

// The first offer in a Sec-WebSocket-Extensions value that we can keep. Declined are: parameters
// that are unknown, repeated, without or with a value against the RFC, windows out of 8 to 15, and
// a server window of 8, which zlib can not write. Nothing if no offer is left, or if `header` is
// not well-formed at all.
std::optional<DeflateOffer> choose_deflate(std::string_view header);
// The same over all Sec-WebSocket-Extensions fields of a handshake, which count as one list.
std::optional<DeflateOffer> choose_deflate(net::RequestHead const& head);

// What is agreed to: no context is ever taken over, in neither direction, so that an idle
// connection keeps no window; the offered windows are kept to.
DeflateParams agreed(DeflateOffer const& offer);
// The value of the answer's Sec-WebSocket-Extensions, saying agreed(offer).
std::string deflate_answer(DeflateOffer const& offer);

}  // namespace wscope::gateway
