"""Small real files for the seed: pictures, a document, tables and text."""

import hashlib
import struct
import zlib

PDF_LINES = {
    "return-label.pdf": (
        "ACME OUTDOOR - RETURN LABEL",
        "Returns dept., Dock 4",
        "12345 Harbour Town",
        "No stamp needed",
    ),
    "company.pdf": ("NORTHSIDE OUTDOOR LTD.", "Company no. 0931 2204", "Stores: Leeds, York, Hull"),
}
TEXTS = {
    "batch-2231.csv": "lot,article,checked,torn\n2231,Fjäll 2,40,3\n2232,Fjäll 2,40,0\n",
    "draft-order.csv": "article,size,store,quantity\n88-102,M,Leeds,12\n88-102,L,Leeds,8\n88-104,M,York,20\n",
    "receipt.txt": "POST OFFICE COUNTER 3\nParcel accepted 09:14\nWeight 0.84 kg\nThank you\n",
}
TYPES = {"png": "image/png", "pdf": "application/pdf", "csv": "text/csv", "txt": "text/plain"}


def asset(name: str) -> tuple[str, bytes]:
    """The content type and the bytes of a file of the seed."""
    kind = name.rpartition(".")[2]
    if kind == "png":
        return TYPES[kind], _png(name)
    return TYPES[kind], _pdf(PDF_LINES[name]) if kind == "pdf" else TEXTS[name].encode()


def _png(name: str, width: int = 96, height: int = 64) -> bytes:
    """A picture of a slope under a sky, in colours of its own."""
    red, green, blue = hashlib.sha256(name.encode()).digest()[:3]
    rows = b""
    for y in range(height):
        rows += b"\0"
        for x in range(width):
            shade = 1.0 if y > height - x * height // width // 2 - 12 else 0.35
            rows += bytes(int(255 - (255 - tone) * shade * (0.5 + y / height / 2)) for tone in (red, green, blue))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _pdf(lines: tuple[str, ...]) -> bytes:
    """A page with some lines of text."""
    shown = " ".join(f"({line}) Tj 0 -20 Td" for line in lines)
    stream = f"BT /F1 14 Tf 40 160 Td {shown} ET".encode()
    font = b"<< /Font << /F1 5 0 R >> >>"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R /Resources %s >>" % font,
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table) + end
