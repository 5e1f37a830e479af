#include "model/connection_info.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/utf8.h"

namespace wscope::model {
namespace {

std::string_view cut(std::string_view text) { return text.substr(0, ConnectionInfo::kTextMax); }

bool plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    auto const byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
  });
}

// Bytes that are not UTF-8 become question marks: a receiver of spans refuses a batch for one of
// them.
void clean(char* text, size_t size) {
  for (size_t i = 0; i < size;) {
    size_t const length = base::utf8_sequence_length({text + i, size - i});
    if (length == 0) text[i] = '?';
    i += std::max<size_t>(length, 1);
  }
}

}  // namespace

ConnectionInfo::ConnectionInfo(ConnectionFields const& fields)
    : id_(fields.id),
      opened_unix_ns_(fields.opened_unix_ns),
      trace_(fields.trace),
      handshake_span_(fields.handshake_span),
      sampled_(fields.sampled),
      json_plain_(true) {
  std::string_view const texts[kTexts] = {fields.correlation_id, fields.session_id, fields.route,
                                          fields.room, fields.client};
  char* const out = reinterpret_cast<char*>(this + 1);
  size_t end = 0;
  for (size_t i = 0; i < kTexts; ++i) {
    std::string_view const part = cut(texts[i]);
    part.copy(out + end, part.size());
    if (!plain(part)) {
      clean(out + end, part.size());
      json_plain_ = false;
    }
    end += part.size();
    ends_[i] = static_cast<uint16_t>(end);
  }
  std::memset(out + end, 0, kPadding);
}

std::unique_ptr<ConnectionInfo> ConnectionInfo::make(ConnectionFields const& fields) {
  size_t const chars = cut(fields.correlation_id).size() + cut(fields.session_id).size() +
                       cut(fields.route).size() + cut(fields.room).size() +
                       cut(fields.client).size();
  void* const place = ::operator new(sizeof(ConnectionInfo) + chars + kPadding);
  return std::unique_ptr<ConnectionInfo>(new (place) ConnectionInfo(fields));
}

}  // namespace wscope::model
