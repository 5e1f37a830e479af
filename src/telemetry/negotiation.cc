// Which exposition format an Accept header asks for.
#include <array>
#include <optional>

#include "base/text.h"
#include "telemetry/exposition.h"

namespace wscope::telemetry {
namespace {

constexpr std::array kFormats = {Format::text004, Format::openmetrics100,
                                 Format::protobuf_delimited};

struct Range {
  std::string_view type;
  std::string_view version;
  std::string_view proto;
  std::string_view encoding;
  double q = 1;
};

std::string_view unquote(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
    return value.substr(1, value.size() - 2);
  }
  return value;
}

double parse_q(std::string_view value) {
  auto const q = base::parse_double(value);
  return q && *q >= 0 && *q <= 1 ? *q : 0;
}

// The text up to `separator`, trimmed, which is taken off `rest`.
std::string_view take(std::string_view& rest, char separator) {
  size_t const end = rest.find(separator);
  std::string_view const part = base::trim(rest.substr(0, end));
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return part;
}

Range parse_range(std::string_view text) {
  Range range;
  range.type = take(text, ';');
  while (!text.empty()) {
    std::string_view value = take(text, ';');
    std::string_view const name = take(value, '=');
    value = unquote(base::trim(value));
    if (base::equals_ignoring_case(name, "q")) range.q = parse_q(value);
    if (base::equals_ignoring_case(name, "version")) range.version = value;
    if (base::equals_ignoring_case(name, "proto")) range.proto = value;
    if (base::equals_ignoring_case(name, "encoding")) range.encoding = value;
  }
  return range;
}

bool type_is(Range const& range, std::string_view type) {
  return base::equals_ignoring_case(range.type, type);
}

// How closely the range names the format: 0 not at all, 1 */*, 2 type/*, 3 the type, 4 with
// parameters.
int closeness(Range const& range, Format format) {
  if (type_is(range, "*/*")) return 1;
  switch (format) {
    case Format::text004:
      if (type_is(range, "text/*")) return 2;
      if (!type_is(range, "text/plain")) return 0;
      if (range.version.empty()) return 3;
      return range.version == "0.0.4" ? 4 : 0;
    case Format::openmetrics100:
      if (type_is(range, "application/*")) return 2;
      if (!type_is(range, "application/openmetrics-text")) return 0;
      if (range.version.empty()) return 3;
      return range.version == "1.0.0" ? 4 : 0;
    case Format::protobuf_delimited:
      // Without both parameters it is some other protobuf message.
      return type_is(range, "application/vnd.google.protobuf") &&
                     range.proto == "io.prometheus.client.MetricFamily" &&
                     range.encoding == "delimited"
                 ? 4
                 : 0;
  }
  return 0;
}

struct Wish {
  int closeness = 0;
  double q = 0;
  size_t position = 0;
};

bool better(Wish const& a, Wish const& b) {
  if (a.q != b.q) return a.q > b.q;
  if (a.position != b.position) return a.position < b.position;
  return false;
}

Format choose(std::string_view accept) {
  std::array<Wish, kFormats.size()> wishes;
  for (size_t position = 0; !accept.empty(); ++position) {
    Range const range = parse_range(take(accept, ','));
    for (size_t i = 0; i < kFormats.size(); ++i) {
      int const close = closeness(range, kFormats[i]);
      if (close > wishes[i].closeness) wishes[i] = {close, range.q, position};
    }
  }
  // A wildcard means "anything you like", and that is the text format: it stands first.
  size_t best = 0;
  for (size_t i = 1; i < kFormats.size(); ++i) {
    if (wishes[i].q > 0 && (wishes[best].q <= 0 || better(wishes[i], wishes[best]))) best = i;
  }
  return kFormats[best];
}

bool wants_gzip(std::string_view accept_encoding) {
  std::optional<double> named;
  double any = 0;
  double identity = 0;
  while (!accept_encoding.empty()) {
    Range const range = parse_range(take(accept_encoding, ','));
    if (type_is(range, "gzip") || type_is(range, "x-gzip")) named = range.q;
    if (type_is(range, "*")) any = range.q;
    if (type_is(range, "identity")) identity = range.q;
  }
  double const q = named.value_or(any);
  return q > 0 && q >= identity;
}

}  // namespace

Negotiated negotiate(std::string_view accept, std::string_view accept_encoding) {
  Format const format = choose(accept);
  return {format, wants_gzip(accept_encoding), content_type(format)};
}

}  // namespace wscope::telemetry
