"""Compiled libraries made by hand from a few lines of C, so that the binding is tested without the compiler.

Written from docs/artifact.md alone: metadata and checksum are notes, the checksum is XXH64 over the ELF header, the
program headers and the XXH64 of every piece of 2 MiB of every PT_LOAD segment, with the fields that strip rewrites and
the checksum itself taken as zero.
"""

import json
import struct
import subprocess

NOTES = r"""
__asm__(
  ".section .note.burnish, \"a\", @note\n.balign 4\n"
  ".long 8, 2f - 1f, 1\n.asciz \"Burnish\"\n1:\n.ascii %s\n2:\n.balign 4\n"
  ".long 8, 8, 2\n.asciz \"Burnish\"\n.quad 0\n.previous\n");
"""

CODE = r"""
#include <burnish/abi.h>
%(notes)s
static int32_t run(const burnish_frame* frame, uint32_t thread, const burnish_host* host) {
  void* const* tensors = frame->tensors;
  if (thread == 0) { %(body)s }
  host->barrier(host->ctx, thread);
  return 0;
}
__attribute__((visibility("default"))) const burnish_entry* burnish_model_entry(void) {
  static burnish_entry entry;
  entry.abi = BURNISH_ABI_VERSION;
  entry.run = run;
  return &entry;
}
"""

M = (1 << 64) - 1
P1, P2, P3, P4, P5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
                      0x27D4EB2F165667C5)


def _rotl(x, n):
    return ((x << n) | (x >> (64 - n))) & M


def _round(lane, word):
    return _rotl((lane + word * P2) & M, 31) * P1 & M


def xxh64(data):
    at, end = 0, len(data)
    if end >= 32:
        lanes = [(P1 + P2) & M, P2, 0, -P1 & M]
        while end - at >= 32:
            lanes = [_round(lane, word) for lane, word in zip(lanes, struct.unpack_from("<4Q", data, at))]
            at += 32
        h = sum(_rotl(lane, n) for lane, n in zip(lanes, (1, 7, 12, 18))) & M
        for lane in lanes:
            h = ((h ^ _round(0, lane)) * P1 + P4) & M
    else:
        h = P5
    h = (h + end) & M
    while end - at >= 8:
        h = (_rotl(h ^ _round(0, struct.unpack_from("<Q", data, at)[0]), 27) * P1 + P4) & M
        at += 8
    if end - at >= 4:
        h = (_rotl(h ^ (struct.unpack_from("<I", data, at)[0] * P1 & M), 23) * P2 + P3) & M
        at += 4
    for byte in data[at:]:
        h = _rotl(h ^ (byte * P5 & M), 11) * P1 & M
    h = (h ^ (h >> 33)) * P2 & M
    h = (h ^ (h >> 29)) * P3 & M
    return h ^ (h >> 32)


def stamp(path):
    """Writes the checksum into the library's note."""
    file = bytearray(path.read_bytes())
    header_at = struct.unpack_from("<Q", file, 32)[0]
    count = struct.unpack_from("<H", file, 56)[0]
    segments = [struct.unpack_from("<IIQQQQQQ", file, header_at + 56 * i) for i in range(count)]
    checksum_at = file.index(struct.pack("<III", 8, 8, 2) + b"Burnish\0") + 20
    zeroed = bytearray(file)
    zeroed[40:48] = bytes(8)
    zeroed[60:64] = bytes(4)
    zeroed[checksum_at:checksum_at + 8] = bytes(8)
    for i, segment in enumerate(segments):
        if segment[0] == 6:
            at = header_at + 56 * i + 32
            zeroed[at:at + 16] = bytes(16)
    covered = zeroed[:64] + zeroed[header_at:header_at + 56 * count]
    for kind, _, offset, _, _, size, _, _ in segments:
        if kind == 1:
            for at in range(offset, offset + size, 2 << 20):
                covered += struct.pack("<Q", xxh64(zeroed[at:min(at + (2 << 20), offset + size)]))
    file[checksum_at:checksum_at + 8] = struct.pack("<Q", xxh64(covered))
    path.write_bytes(file)


def build(path, include, inputs, outputs, body, **changes):
    """A library at `path`. inputs and outputs are lists of (name, dtype, shape); body is C, run by thread 0, that sees
    `tensors`: the inputs' pointers, then the outputs'. Further arguments replace fields of the metadata."""
    def tensors(specs):
        return [{"name": name, "dtype": dtype, "shape": list(shape)} for name, dtype, shape in specs]

    metadata = {
        "abi": 1, "compiler": "by hand", "triple": "x86_64-unknown-linux-gnu", "cpu": "x86-64", "target": "llvm:cpu=x86-64",
        "features": [], "threads": 1, "inputs": tensors(inputs), "outputs": tensors(outputs),
        "arena_bytes": 0, "scratch_bytes": 0, "weights_bytes": 0, "macs": 0, "steps": [], **changes,
    }
    quoted = json.dumps(json.dumps(metadata))  # once as JSON, once as a string of the assembler
    notes = NOTES % quoted.replace("\\", "\\\\").replace('"', '\\"')
    source = path.with_suffix(".c")
    source.write_text(CODE % {"notes": notes, "body": body})
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-nostdlib", "-fvisibility=hidden", "-Wl,--build-id=none",
                    f"-I{include}", source, "-o", path], check=True)
    stamp(path)
    return path
