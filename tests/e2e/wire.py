"""Protobuf's wire format, read and written by hand with field numbers as the only schema.

A schema is {field number: (name, kind)}; kind is "varint", "sint", "int", "bool", "double",
"fixed64", "fixed32", "string", "bytes", a schema (a message), or a list of one of these (repeated).
"""

import struct


class WireError(AssertionError):
    """Bytes that are no protobuf message of the schema."""


def varint(data, position):
    """(value, position after it)."""
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise WireError("bad varint")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _scalar(kind, raw, wire_type):
    if kind in ("varint", "sint", "int", "bool"):
        if wire_type != 0:
            raise WireError("wire type %d for %s" % (wire_type, kind))
        if kind == "sint":
            return (raw >> 1) ^ -(raw & 1)
        if kind == "int":
            return raw - (1 << 64) if raw >= 1 << 63 else raw
        return bool(raw) if kind == "bool" else raw
    if kind in ("double", "fixed64"):
        if wire_type != 1:
            raise WireError("wire type %d for %s" % (wire_type, kind))
        return struct.unpack("<d" if kind == "double" else "<Q", raw)[0]
    if kind == "fixed32":
        if wire_type != 5:
            raise WireError("wire type %d for fixed32" % wire_type)
        return struct.unpack("<I", raw)[0]
    if wire_type != 2:
        raise WireError("wire type %d for %s" % (wire_type, kind))
    if kind == "string":
        return raw.decode("utf-8")
    if kind == "bytes":
        return bytes(raw)
    return decode(raw, kind)


def _packed(kind, raw):
    values, position = [], 0
    while position < len(raw):
        if kind == "double":
            values.append(struct.unpack_from("<d", raw, position)[0])
            position += 8
        else:
            value, position = varint(raw, position)
            values.append(_scalar(kind, value, 0))
    return values


def _take(data, position, wire_type):
    if wire_type == 0:
        return varint(data, position)
    if wire_type == 2:
        size, position = varint(data, position)
    elif wire_type in (1, 5):
        size = 8 if wire_type == 1 else 4
    else:
        raise WireError("wire type %d" % wire_type)
    if position + size > len(data):
        raise WireError("field longer than the message")
    return data[position : position + size], position + size


def decode(data, schema):
    """A dict by name; absent repeated fields are empty lists, other absent fields are missing.

    Field numbers that the schema does not know are kept under "unknown".
    """
    out = {name: [] for name, kind in schema.values() if isinstance(kind, list)}
    position = 0
    while position < len(data):
        key, position = varint(data, position)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise WireError("field number 0")
        raw, position = _take(data, position, wire_type)
        if number not in schema:
            out.setdefault("unknown", []).append((number, raw))
            continue
        name, kind = schema[number]
        if isinstance(kind, list):
            if wire_type == 2 and kind[0] in ("varint", "sint", "int", "bool", "double"):
                out[name].extend(_packed(kind[0], raw))
            else:
                out[name].append(_scalar(kind[0], raw, wire_type))
        else:
            out[name] = _scalar(kind, raw, wire_type)
    return out


def encode_varint(value):
    out = bytearray()
    value &= (1 << 64) - 1
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """One field: int as varint, float as double, bytes or str as length-delimited."""
    if isinstance(value, bool) or isinstance(value, int):
        return encode_varint(number << 3) + encode_varint(int(value))
    if isinstance(value, float):
        return encode_varint(number << 3 | 1) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value
    return encode_varint(number << 3 | 2) + encode_varint(len(data)) + data


def fixed64(number, value):
    return encode_varint(number << 3 | 1) + struct.pack("<Q", value)


def fixed32(number, value):
    return encode_varint(number << 3 | 5) + struct.pack("<I", value)
