#!/usr/bin/env python3
"""Makes `chunks.txt` beside this file with a stock restic: `make.py /path/to/restic`.

The file backed up is made of 64-bit little-endian numbers of SplitMix64 with seed 1, 64 MiB of them, followed by
20 MiB of zeros, 9 MiB of the byte 0x55 and 8 MiB + 12345 bytes of further numbers. The first line is the repository's
polynomial, each further one the length and the ID of a chunk, in the order of the file.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
RESTIC = sys.argv[1] if len(sys.argv) > 1 else "restic"
MIB = 1 << 20
MASK = (1 << 64) - 1


def numbers(state, count):
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def content():
    words = (72 * MIB + 12345 + 7) // 8
    random = struct.pack(f"<{words}Q", *numbers(1, words))
    return random[:64 * MIB] + bytes(20 * MIB) + b"\x55" * (9 * MIB) + random[64 * MIB:72 * MIB + 12345]


def main():
    work = tempfile.mkdtemp()
    environment = dict(os.environ, RESTIC_PASSWORD="golden", RESTIC_REPOSITORY=f"{work}/repository", RESTIC_CACHE_DIR=f"{work}/cache")

    def restic(*arguments):
        return subprocess.run([RESTIC, *arguments], env=environment, cwd=work, check=True, stdout=subprocess.PIPE).stdout

    try:
        with open(f"{work}/file", "wb") as file:
            file.write(content())
        restic("init", "-q")
        restic("backup", "-q", "file")
        tree = json.loads(restic("snapshots", "--json"))[0]["tree"]
        identifiers = json.loads(restic("cat", "blob", tree))["nodes"][0]["content"]
        lengths = {identifier: len(restic("cat", "blob", identifier)) for identifier in set(identifiers)}
        with open(f"{HERE}/chunks.txt", "w") as file:
            print(json.loads(restic("cat", "config"))["chunker_polynomial"], file=file)
            for identifier in identifiers:
                print(lengths[identifier], identifier, file=file)
    finally:
        shutil.rmtree(work)


main()
