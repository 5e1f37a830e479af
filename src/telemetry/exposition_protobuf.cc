// The protobuf format, the only one that carries native histograms.
#include <algorithm>
#include <limits>
#include <protozero/pbf_writer.hpp>
#include <protozero/varint.hpp>

#include "telemetry/exposition_formats.h"

namespace wscope::telemetry {
namespace {

using protozero::pbf_writer;

// Field numbers of io/prometheus/client/metrics.proto.
namespace family_field {
enum : protozero::pbf_tag_type { name = 1, help = 2, type = 3, metric = 4, unit = 5 };
}
namespace metric_field {
enum : protozero::pbf_tag_type { label = 1, gauge = 2, counter = 3, histogram = 7 };
}
namespace histogram_field {
enum : protozero::pbf_tag_type {
  sample_count = 1,
  sample_sum = 2,
  bucket = 3,
  schema = 5,
  zero_threshold = 6,
  zero_count = 7,
  positive_span = 12,
  positive_delta = 13,
  created = 15
};
}

void write_pair(pbf_writer& parent, protozero::pbf_tag_type field, std::string_view name,
                std::string_view value) {
  pbf_writer pair(parent, field);
  pair.add_string(1, name.data(), name.size());
  pair.add_string(2, value.data(), value.size());
}

void write_time(pbf_writer& parent, protozero::pbf_tag_type field, int64_t unix_ns) {
  pbf_writer time(parent, field);
  time.add_int64(1, unix_ns / 1'000'000'000);
  time.add_int32(2, static_cast<int32_t>(unix_ns % 1'000'000'000));
}

void write_exemplar(pbf_writer& parent, protozero::pbf_tag_type field, Exemplar const& from) {
  pbf_writer exemplar(parent, field);
  write_pair(exemplar, 1, "trace_id", base::to_hex(from.trace));
  write_pair(exemplar, 1, "span_id", base::to_hex(from.span));
  exemplar.add_double(2, from.value);
  write_time(exemplar, 3, from.unix_ns);
}

// Spans of used buckets (gap before, length) and the differences of their counts. A gap of up to
// two empty buckets costs less as zeros than as a new span.
void write_native(pbf_writer& out, HistogramLayout const& layout, HistogramValue const& value) {
  struct Run {
    size_t from;
    size_t to;
  };
  std::vector<Run> runs;
  for (size_t i = 0; i < value.native.size(); ++i) {
    if (value.native[i] == 0) continue;
    if (!runs.empty() && i - runs.back().to <= 2) {
      runs.back().to = i + 1;
    } else {
      runs.push_back({i, i + 1});
    }
  }
  out.add_sint32(histogram_field::schema, layout.schema());
  out.add_double(histogram_field::zero_threshold, kNativeZeroThreshold);
  out.add_uint64(histogram_field::zero_count, value.zero);
  std::vector<int64_t> deltas;
  int64_t before = 0;
  int64_t at = 0;  // bucket index after the last span; the first offset is from 0
  for (Run const& run : runs) {
    int64_t const first = layout.native_first() + static_cast<int64_t>(run.from);
    pbf_writer span(out, histogram_field::positive_span);
    span.add_sint32(1, static_cast<int32_t>(first - at));
    span.add_uint32(2, static_cast<uint32_t>(run.to - run.from));
    at = first + static_cast<int64_t>(run.to - run.from);
    for (size_t i = run.from; i < run.to; ++i) {
      auto const count = static_cast<int64_t>(value.native[i]);
      deltas.push_back(count - before);
      before = count;
    }
  }
  if (runs.empty()) {
    // Without any span a reader takes the message for a classic histogram.
    pbf_writer span(out, histogram_field::positive_span);
    span.add_sint32(1, 0);
    span.add_uint32(2, 0);
  }
  out.add_packed_sint64(histogram_field::positive_delta, deltas.begin(), deltas.end());
}

void write_histogram(pbf_writer& metric, FamilySnapshot const& family, ChildSnapshot const& child) {
  HistogramLayout const& layout = *family.info->layout;
  HistogramValue const& value = family.histograms[child.histogram];
  pbf_writer out(metric, metric_field::histogram);
  // A reader checks that the native buckets add up to the count; the classic ones were read a
  // moment earlier and may lack what came in between, never more.
  uint64_t count = value.count;
  if (layout.native()) {
    count = value.zero;
    for (uint64_t const n : value.native) count += n;
  }
  out.add_uint64(histogram_field::sample_count, count);
  out.add_double(histogram_field::sample_sum, value.sum);
  auto const bounds = layout.bounds();
  size_t next = child.exemplars_from;
  uint64_t cumulative = 0;
  for (size_t i = 0; i < layout.buckets(); ++i) {
    cumulative = std::min(count, cumulative + value.buckets[i]);
    bool const last = i == bounds.size();
    pbf_writer bucket(out, histogram_field::bucket);
    bucket.add_uint64(1, last ? count : cumulative);
    bucket.add_double(2, last ? std::numeric_limits<double>::infinity() : bounds[i]);
    if (next < child.exemplars_to && family.exemplars[next].bucket == i) {
      write_exemplar(bucket, 3, family.exemplars[next++].exemplar);
    }
  }
  if (layout.native()) write_native(out, layout, value);
  write_time(out, histogram_field::created, child.info->created_unix_ns);
}

void write_counter(pbf_writer& metric, FamilySnapshot const& family, ChildSnapshot const& child) {
  pbf_writer counter(metric, metric_field::counter);
  counter.add_double(1, static_cast<double>(child.count));
  if (child.exemplars_to > child.exemplars_from) {
    write_exemplar(counter, 2, family.exemplars[child.exemplars_from].exemplar);
  }
  write_time(counter, 3, child.info->created_unix_ns);
}

void write_metric(pbf_writer& out, FamilySnapshot const& family, ChildSnapshot const& child) {
  pbf_writer metric(out, family_field::metric);
  FamilyInfo const& info = *family.info;
  for (size_t i = 0; i < info.labels.size(); ++i) {
    write_pair(metric, metric_field::label, info.labels[i], child.info->values[i]);
  }
  switch (info.kind) {
    case Kind::counter:
      write_counter(metric, family, child);
      break;
    case Kind::gauge: {
      pbf_writer gauge(metric, metric_field::gauge);
      gauge.add_double(1, child.number);
      break;
    }
    case Kind::histogram:
      write_histogram(metric, family, child);
      break;
  }
}

int32_t type_number(Kind kind) {
  switch (kind) {
    case Kind::counter:
      return 0;
    case Kind::gauge:
      return 1;
    case Kind::histogram:
      return 4;
  }
  return 3;
}

}  // namespace

void write_protobuf(std::vector<FamilySnapshot> const& families, std::string& out) {
  std::string message;
  for (FamilySnapshot const& family : families) {
    if (family.children.empty()) continue;
    message.clear();
    pbf_writer writer(message);
    FamilyInfo const& info = *family.info;
    writer.add_string(family_field::name, info.name);
    writer.add_string(family_field::help, info.help);
    writer.add_enum(family_field::type, type_number(info.kind));
    for (ChildSnapshot const& child : family.children) write_metric(writer, family, child);
    if (!info.unit.empty()) writer.add_string(family_field::unit, info.unit);
    protozero::write_varint(std::back_inserter(out), message.size());
    out += message;
  }
}

}  // namespace wscope::telemetry
