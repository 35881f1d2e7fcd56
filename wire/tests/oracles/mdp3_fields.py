"""Prints every field of every MDP 3.0 message of a capture, as PyPI sbedecoder reads it.

Usage: mdp3_fields.py TEMPLATES.xml CAPTURE.pcapng

One line a message: template id, size, schema version, the root block's fields and each group entry's, as
name=value. A part of a composite is Field.part; a null value is "null"; a text ends at its first NUL.
"""

import sys

import dpkt
from sbedecoder import MDPMessageFactory, MDPSchema, SBEParser
from sbedecoder.message import CompositeMessageField, EnumMessageField

PACKET_HEADER_BYTES = 12
HEADER = ("message_size", "block_length", "template_id", "schema_id", "version")


def payloads(path):
    """UDP payloads in the capture's order."""
    with open(path, "rb") as file:
        for _, frame in dpkt.pcapng.Reader(file):
            ip = dpkt.ethernet.Ethernet(frame).data
            if isinstance(ip, dpkt.ip.IP) and isinstance(ip.data, dpkt.udp.UDP):
                yield ip.data.data


def text(value):
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return value.split(b"\0", 1)[0].decode("ascii")
    return str(value)


def fields(of, nulls):
    """(name, value) of each field, composites taken apart."""
    for field in of:
        if field.name in HEADER and field.id is None:
            continue
        if isinstance(field, CompositeMessageField):
            for part in field.parts:
                yield f"{field.original_name}.{part.original_name}", text(part.value)
        elif isinstance(field, EnumMessageField):
            # sbedecoder gives an enumeration's number; whether it is null stands in its encoding type.
            raw = field.raw_value
            null = nulls.get(tuple(sorted(value["text"] for value in field.enum_values)))
            yield field.original_name, "null" if null is not None and raw == null else text(raw)
        elif hasattr(field, "choices"):
            yield field.original_name, text(field.raw_value)
        else:
            yield field.original_name, text(field.value)


def main(templates, capture):
    schema = MDPSchema()
    schema.parse(templates)
    nulls = {}
    for kind in schema.type_map.values():
        if kind["type"] == "enum":
            null = schema.type_map.get(kind["encoding_type"], {}).get("null_value")
            key = tuple(sorted(value["text"] for value in kind["children"]))
            nulls[key] = int(null) if null is not None else None
    parser = SBEParser(MDPMessageFactory(schema))
    out = []
    for payload in payloads(capture):
        for message in parser.parse(payload, offset=PACKET_HEADER_BYTES):
            head = f"{message.template_id.value} size={message.message_size.value} version={message.version.value} root:"
            line = [head] + [f"{name}={value}" for name, value in fields(message.fields, nulls)]
            for container in message.groups:
                for entry in container.repeating_groups:
                    line.append(f"{container.original_name}:")
                    line += [f"{name}={value}" for name, value in fields(entry.fields, nulls)]
            out.append(" ".join(line))
    sys.stdout.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
