// The two text formats.
#include <algorithm>

#include "telemetry/exposition.h"
#include "telemetry/exposition_formats.h"
#include "telemetry/text_output.h"

namespace wscope::telemetry {
namespace {

std::string escape_help(std::string_view help, bool open) {
  std::string out;
  for (char const c : help) {
    if (c == '\n') {
      out += "\\n";
    } else {
      if (c == '\\' || (open && c == '"')) out += '\\';
      out += c;
    }
  }
  return out;
}

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::counter:
      return "counter";
    case Kind::gauge:
      return "gauge";
    case Kind::histogram:
      return "histogram";
  }
  return "unknown";
}

class Writer {
 public:
  Writer(TextOutput& out, bool open) : out_(out), open_(open) {}

  void family(FamilySnapshot const& family) {
    head(*family.info);
    switch (family.info->kind) {
      case Kind::counter:
        counters(family);
        break;
      case Kind::gauge:
        for (ChildSnapshot const& child : family.children) {
          out_.text(child.info->prefix).number(child.number).text("\n");
        }
        break;
      case Kind::histogram:
        histograms(family);
        break;
    }
  }

 private:
  // OpenMetrics orders TYPE, UNIT, HELP; the older format HELP, TYPE.
  void head(FamilyInfo const& info) {
    std::string_view const name = open_ ? info.open_name : info.name;
    std::string const help = escape_help(info.help, open_);
    if (!open_) out_.text("# HELP ").text(name).text(" ").text(help).text("\n");
    out_.text("# TYPE ").text(name).text(" ").text(kind_name(info.kind)).text("\n");
    if (!open_) return;
    if (!info.unit.empty()) out_.text("# UNIT ").text(name).text(" ").text(info.unit).text("\n");
    out_.text("# HELP ").text(name).text(" ").text(help).text("\n");
  }

  void exemplar(BucketExemplar const& found) {
    Exemplar const& e = found.exemplar;
    out_.text(" # {trace_id=\"").text(base::to_hex(e.trace)).text("\",span_id=\"");
    out_.text(base::to_hex(e.span)).text("\"} ").number(e.value).text(" ").seconds(e.unix_ns);
  }

  void created(FamilyInfo const& info, ChildSnapshot const& child) {
    out_.text(info.open_name).text("_created");
    labels(child);
    out_.text(" ").seconds(child.info->created_unix_ns).text("\n");
  }

  void labels(ChildSnapshot const& child) {
    if (!child.info->labels.empty()) out_.text("{").text(child.info->labels).text("}");
  }

  void counters(FamilySnapshot const& family) {
    for (ChildSnapshot const& child : family.children) {
      out_.text(child.info->prefix).number(child.count);
      if (open_ && child.exemplars_to > child.exemplars_from) {
        exemplar(family.exemplars[child.exemplars_from]);
      }
      out_.text("\n");
      if (open_) created(*family.info, child);
    }
  }

  void histograms(FamilySnapshot const& family) {
    std::vector<std::string> tails;
    for (double const bound : family.info->layout->bounds()) {
      tails.push_back("le=\"" + format_bound(bound, open_) + "\"} ");
    }
    tails.emplace_back("le=\"+Inf\"} ");
    for (ChildSnapshot const& child : family.children) histogram(family, child, tails);
  }

  void histogram(FamilySnapshot const& family, ChildSnapshot const& child,
                 std::vector<std::string> const& tails) {
    HistogramValue const& value = family.histograms[child.histogram];
    std::string const& name = family.info->name;
    size_t next = child.exemplars_from;
    uint64_t cumulative = 0;
    for (size_t i = 0; i < tails.size(); ++i) {
      cumulative += value.buckets[i];
      out_.text(name).text("_bucket{");
      if (!child.info->labels.empty()) out_.text(child.info->labels).text(",");
      out_.text(tails[i]).number(cumulative);
      if (next < child.exemplars_to && family.exemplars[next].bucket == i) {
        if (open_) exemplar(family.exemplars[next]);
        ++next;
      }
      out_.text("\n");
    }
    out_.text(name).text("_sum");
    labels(child);
    out_.text(" ").number(value.sum).text("\n").text(name).text("_count");
    labels(child);
    out_.text(" ").number(value.count).text("\n");
    if (open_) created(*family.info, child);
  }

  TextOutput& out_;
  bool const open_;
};

// Bytes that the exposition will take, roughly and rather more than less.
size_t estimate(std::vector<FamilySnapshot> const& families, bool open) {
  constexpr size_t kNumber = 24;
  size_t bytes = 0;
  for (FamilySnapshot const& family : families) {
    FamilyInfo const& info = *family.info;
    bytes += 3 * info.name.size() + info.help.size() + 64;
    size_t const lines = info.layout ? info.layout->buckets() + 2 : 1;
    for (ChildSnapshot const& child : family.children) {
      bytes += (lines + open) * (child.info->prefix.size() + (info.layout ? kNumber : 8) + kNumber);
    }
    bytes += open ? family.exemplars.size() * 120 : 0;
  }
  return bytes;
}

}  // namespace

std::string format_bound(double bound, bool open) {
  if (std::isinf(bound)) return bound > 0 ? "+Inf" : "-Inf";
  char text[40];
  char* end = std::to_chars(text, text + sizeof text, bound, std::chars_format::scientific).ptr;
  std::string_view const scientific(text, static_cast<size_t>(end - text));
  int exponent = 0;
  size_t const mark = scientific.find('e');
  bool const negative = scientific[mark + 1] == '-';
  std::from_chars(scientific.data() + mark + 2, end, exponent);
  bool const large = !negative && exponent >= 6 && bound != 0;
  if (large || (negative && exponent > 4)) return std::string(scientific);
  end = std::to_chars(text, text + sizeof text, bound, std::chars_format::fixed).ptr;
  std::string plain(text, end);
  if (open && plain.find('.') == std::string::npos) plain += ".0";
  return plain;
}

void write_text(std::vector<FamilySnapshot> const& families, bool open, std::string& out) {
  TextOutput output(out);
  output.reserve(estimate(families, open));
  Writer writer(output, open);
  for (FamilySnapshot const& family : families) writer.family(family);
  if (open) output.text("# EOF\n");
  output.finish();
}

}  // namespace wscope::telemetry
