"""Strict readers of the three exposition formats; anything out of the format's rules is an error.

Text: Prometheus text format 0.0.4. OpenMetrics: 1.0.0. Protobuf: io.prometheus.client.MetricFamily,
each message behind its length as a varint.
"""

import math
import re

import wire

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
TEXT_TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}
OPEN_TYPES = {
    "counter": {"_total", "_created"},
    "gauge": {""},
    "histogram": {"_bucket", "_count", "_sum", "_created"},
    "gaugehistogram": {"_bucket", "_gcount", "_gsum"},
    "summary": {"", "_count", "_sum", "_created"},
    "info": {"_info"},
    "stateset": {""},
    "unknown": {""},
}
PROTO_TYPES = {0: "counter", 1: "gauge", 2: "summary", 3: "untyped", 4: "histogram"}


class FormatError(AssertionError):
    """The page breaks a rule of its format."""


class Metrics:
    """A parsed page: types, helps, samples {name: [(labels, value)]}, exemplars."""

    def __init__(self):
        self.types = {}
        self.helps = {}
        self.units = {}
        self.samples = {}
        self.exemplars = []
        self.order = []

    def series(self, name, **labels):
        """Samples of that exact sample name whose labels include the given ones."""
        return [
            (have, value)
            for have, value in self.samples.get(name, [])
            if all(have.get(key) == str(wanted) for key, wanted in labels.items())
        ]

    def value(self, name, **labels):
        """The value of the one sample with exactly these labels, or None."""
        wanted = {key: str(value) for key, value in labels.items()}
        for have, value in self.samples.get(name, []):
            if have == wanted:
                return value
        return None

    def total(self, name, **labels):
        """Sum over every sample whose labels include the given ones; 0.0 when there is none."""
        return sum(value for _, value in self.series(name, **labels))

    def label_names(self, name):
        """The set of label-name sets that the samples of this name carry."""
        return {tuple(sorted(labels)) for labels, _ in self.samples.get(name, [])}

    def buckets(self, name, **labels):
        """{le: cumulative count} of one histogram."""
        return {
            have["le"]: value
            for have, value in self.series(name + "_bucket", **labels)
        }

    def _add(self, name, labels, value):
        rows = self.samples.setdefault(name, [])
        if any(have == labels for have, _ in rows):
            raise FormatError("sample twice: %s%s" % (name, labels))
        rows.append((labels, value))


def _number(text):
    if text in ("+Inf", "-Inf", "NaN"):
        return float(text.replace("Inf", "inf").replace("NaN", "nan"))
    if not re.match(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\Z", text):
        raise FormatError("not a number: %r" % text)
    return float(text)


def _unescape(text, quote):
    out, position = [], 0
    while position < len(text):
        char = text[position]
        if char == "\\":
            follow = text[position + 1 : position + 2]
            if follow == "n":
                out.append("\n")
            elif follow == "\\" or (quote and follow == '"'):
                out.append(follow)
            else:
                raise FormatError("bad escape in %r" % text)
            position += 2
            continue
        out.append(char)
        position += 1
    return "".join(out)


def _labels(text, position):
    """Parses `{a="b",…}` at position (after the brace): (labels, position after it)."""
    labels = {}
    while True:
        if text[position : position + 1] == "}":
            return labels, position + 1
        match = re.compile(r"([^=,{}\" ]+)=\"((?:[^\"\\\n]|\\.)*)\"").match(text, position)
        if not match or not LABEL.match(match.group(1)):
            raise FormatError("bad labels at %d in %r" % (position, text))
        if match.group(1) in labels:
            raise FormatError("label twice in %r" % text)
        labels[match.group(1)] = _unescape(match.group(2), True)
        position = match.end()
        if text[position : position + 1] == ",":
            position += 1
        elif text[position : position + 1] != "}":
            raise FormatError("bad labels in %r" % text)


def _sample(line):
    """(name, labels, rest of the line after the blank)."""
    match = re.match(r"[^{ ]+", line)
    if not match or not NAME.match(match.group()):
        raise FormatError("bad sample name: %r" % line)
    position, labels = match.end(), {}
    if line[position : position + 1] == "{":
        labels, position = _labels(line, position + 1)
    if line[position : position + 1] != " ":
        raise FormatError("no blank before the value: %r" % line)
    return match.group(), labels, line[position + 1 :]


def _family_text(name, types):
    """The family that a sample of the text format belongs to."""
    for suffix in ("_bucket", "_count", "_sum"):
        base = name[: -len(suffix)]
        if name.endswith(suffix) and types.get(base) in ("histogram", "summary"):
            return base
    return name


def parse_text(page):
    """Reads text format 0.0.4."""
    if page and not page.endswith("\n"):
        raise FormatError("the last line has no end")
    metrics, current, closed = Metrics(), None, set()

    def enter(family):
        nonlocal current
        if family == current:
            return
        if family in closed:
            raise FormatError("family %s comes in two parts" % family)
        if current is not None:
            closed.add(current)
        current = family
        metrics.order.append(family)

    for line in page.split("\n")[:-1]:
        if "\r" in line:
            raise FormatError("carriage return in %r" % line)
        if not line:
            continue
        if line.startswith("#"):
            match = re.match(r"# (HELP|TYPE) (\S+) (.*)\Z", line)
            if not match:
                continue
            kind, name, rest = match.groups()
            if not NAME.match(name):
                raise FormatError("bad family name: %r" % line)
            enter(name)
            if kind == "HELP":
                if name in metrics.helps:
                    raise FormatError("HELP twice: %s" % name)
                metrics.helps[name] = _unescape(rest, False)
            else:
                if name in metrics.types:
                    raise FormatError("TYPE twice: %s" % name)
                if name in metrics.samples or rest not in TEXT_TYPES:
                    raise FormatError("late or unknown TYPE: %r" % line)
                metrics.types[name] = rest
            continue
        name, labels, rest = _sample(line)
        parts = rest.split(" ")
        if len(parts) > 2 or (len(parts) == 2 and not re.match(r"-?\d+\Z", parts[1])):
            raise FormatError("bad value or timestamp: %r" % line)
        enter(_family_text(name, metrics.types))
        metrics._add(name, labels, _number(parts[0]))
    _check_histograms(metrics)
    return metrics


def _check_histograms(metrics):
    """Buckets ascend in edge and count, the last is +Inf and equals the count, a sum is there."""
    for family, kind in metrics.types.items():
        if kind != "histogram":
            continue
        groups = {}
        for labels, value in metrics.samples.get(family + "_bucket", []):
            rest = tuple(sorted(item for item in labels.items() if item[0] != "le"))
            groups.setdefault(rest, []).append((_number(labels["le"]), value))
        for rest, rows in groups.items():
            edges = [edge for edge, _ in rows]
            counts = [count for _, count in rows]
            if edges != sorted(set(edges)) or counts != sorted(counts):
                raise FormatError("buckets of %s%s not ascending" % (family, dict(rest)))
            count = metrics.value(family + "_count", **dict(rest))
            if edges[-1] != math.inf or counts[-1] != count:
                raise FormatError("+Inf of %s%s is not the count" % (family, dict(rest)))
            if metrics.value(family + "_sum", **dict(rest)) is None:
                raise FormatError("no sum: %s%s" % (family, dict(rest)))


def _canonical(text):
    """Whether `le` is in OpenMetrics' canonical float form."""
    if text in ("+Inf", "-Inf", "NaN"):
        return True
    return bool(re.match(r"-?\d+\.\d+\Z|-?\d(\.\d+)?e[+-]\d+\Z", text))


def _exemplar(text, value_name):
    """Parses `{…} value [timestamp]` after ` # `."""
    if not text.startswith("{"):
        raise FormatError("bad exemplar %r" % text)
    labels, position = _labels(text, 1)
    if sum(len(key) + len(value) for key, value in labels.items()) > 128:
        raise FormatError("exemplar over 128 characters on %s" % value_name)
    parts = text[position:].split(" ")
    if parts[0] != "" or len(parts) not in (2, 3):
        raise FormatError("bad exemplar %r" % text)
    if len(parts) == 3:
        _number(parts[2])
    return labels, _number(parts[1])


def parse_open(page):
    """Reads OpenMetrics 1.0.0."""
    if not page.endswith("# EOF\n"):
        raise FormatError("no # EOF at the end")
    lines = page.split("\n")[:-2]
    metrics, family, seen, stage = Metrics(), None, set(), {}
    taken = {}
    for line in lines:
        if not line or "\r" in line:
            raise FormatError("empty line or carriage return")
        if line.startswith("#"):
            match = re.match(r"# (TYPE|UNIT|HELP) (\S+) ?(.*)\Z", line)
            if not match:
                raise FormatError("unknown comment: %r" % line)
            kind, name, rest = match.groups()
            if name != family:
                if name in seen:
                    raise FormatError("family %s comes in two parts" % name)
                seen.add(name)
                family = name
                metrics.order.append(name)
                stage[name] = set()
            if kind in stage[name] or "sample" in stage[name]:
                raise FormatError("%s twice or late: %s" % (kind, name))
            stage[name].add(kind)
            if kind == "TYPE":
                if rest not in OPEN_TYPES:
                    raise FormatError("unknown type: %r" % line)
                if rest == "counter" and name.endswith("_total"):
                    raise FormatError("counter family must not end in _total: %s" % name)
                metrics.types[name] = rest
                for suffix in OPEN_TYPES[rest] | {""}:
                    if taken.setdefault(name + suffix, name) != name:
                        raise FormatError("%s clashes with %s" % (name, taken[name + suffix]))
            elif kind == "UNIT":
                if rest and not name.endswith("_" + rest):
                    raise FormatError("unit %s is not the suffix of %s" % (rest, name))
                metrics.units[name] = rest
            else:
                metrics.helps[name] = _unescape(rest, True)
            continue
        _open_sample(metrics, line, family, stage)
    _check_histograms(metrics)
    return metrics


def _open_sample(metrics, line, family, stage):
    body, mark, exemplar = line.partition(" # ")
    name, labels, rest = _sample(body)
    kind = metrics.types.get(family, "unknown")
    suffix = name[len(family) :] if family and name.startswith(family) else None
    if suffix is None or suffix not in OPEN_TYPES[kind]:
        raise FormatError("sample %s does not belong to %s %s" % (name, kind, family))
    stage[family].add("sample")
    parts = rest.split(" ")
    if len(parts) > 2:
        raise FormatError("bad value: %r" % line)
    if len(parts) == 2:
        _number(parts[1])
    value = _number(parts[0])
    if kind in ("counter", "histogram") and not value >= 0 and suffix != "_sum":
        raise FormatError("negative: %r" % line)
    if suffix == "_bucket" and not _canonical(labels.get("le", "")):
        raise FormatError("le is not canonical: %r" % line)
    metrics._add(name, labels, value)
    if mark:
        if suffix not in ("_bucket", "_total"):
            raise FormatError("exemplar on %s" % name)
        exemplar_labels, exemplar_value = _exemplar(exemplar, name)
        if suffix == "_bucket" and exemplar_value > _number(labels["le"]):
            raise FormatError("exemplar outside its bucket: %r" % line)
        metrics.exemplars.append((name, labels, exemplar_labels, exemplar_value))


def parse_protobuf(body):
    """Reads delimited MetricFamily messages: {name: {type, help, metrics: [...]}}."""
    families, position = {}, 0
    while position < len(body):
        size, position = wire.varint(body, position)
        if position + size > len(body):
            raise FormatError("message longer than the page")
        family = wire.decode(body[position : position + size], METRIC_FAMILY)
        position += size
        if family["name"] in families:
            raise FormatError("family twice: %s" % family["name"])
        families[family["name"]] = family
    return families


_LABEL_PAIR = {1: ("name", "string"), 2: ("value", "string")}
_EXEMPLAR = {1: ("label", [_LABEL_PAIR]), 2: ("value", "double"), 3: ("timestamp", "bytes")}
_BUCKET = {
    1: ("cumulative_count", "varint"),
    2: ("upper_bound", "double"),
    3: ("exemplar", _EXEMPLAR),
    4: ("cumulative_count_float", "double"),
}
_SPAN = {1: ("offset", "sint"), 2: ("length", "varint")}
_HISTOGRAM = {
    1: ("sample_count", "varint"),
    2: ("sample_sum", "double"),
    3: ("bucket", [_BUCKET]),
    4: ("sample_count_float", "double"),
    5: ("schema", "sint"),
    6: ("zero_threshold", "double"),
    7: ("zero_count", "varint"),
    8: ("zero_count_float", "double"),
    9: ("negative_span", [_SPAN]),
    10: ("negative_delta", ["sint"]),
    11: ("negative_count", ["double"]),
    12: ("positive_span", [_SPAN]),
    13: ("positive_delta", ["sint"]),
    14: ("positive_count", ["double"]),
    15: ("created_timestamp", "bytes"),
    16: ("exemplars", [_EXEMPLAR]),
}
_METRIC = {
    1: ("label", [_LABEL_PAIR]),
    2: ("gauge", {1: ("value", "double")}),
    3: (
        "counter",
        {1: ("value", "double"), 2: ("exemplar", _EXEMPLAR), 3: ("created_timestamp", "bytes")},
    ),
    5: ("untyped", {1: ("value", "double")}),
    6: ("timestamp_ms", "varint"),
    7: ("histogram", _HISTOGRAM),
}
METRIC_FAMILY = {
    1: ("name", "string"),
    2: ("help", "string"),
    3: ("type", "varint"),
    4: ("metric", [_METRIC]),
    5: ("unit", "string"),
}
