#!/usr/bin/env python3
"""Makes the tree fixtures beside this file with a stock restic: `make.py /path/to/restic`, as root.

Every directory below `source` becomes one `NAME.json`, the tree blob exactly as restic stored it. Inode numbers
and change times differ from run to run, so a new run gives new fixtures, not the same ones.
tmpfs is used because it keeps times that do not fit 34 bits.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
RESTIC = sys.argv[1] if len(sys.argv) > 1 else "restic"


def touch(path, content=b""):
    with open(path, "wb") as file:
        file.write(content)


def make_bytes(directory):
    """A name with each byte alone, at the beginning of a letter, and in a pair with a continuation byte."""
    for byte in range(1, 256):
        if byte == ord("/"):
            continue
        touch(directory + b"/b" + bytes([byte]))
        touch(directory + b"/c" + bytes([byte, 0x41]))
        touch(directory + b"/d" + bytes([byte, 0x80, 0xBF]))


def make_names(directory):
    for name in [
        "\ufffd", "a\ufffdb", "\u2028", "\u2029", "\u00ad", "\u00a0", "\u0085", "\u200b", "\ufeff", "\ue000",
        "\uffff", "\U0001f600", "\U000e0001", "\U0010ffff", "\U0001d173", "\u0378", "\u00e4\u00f6\u00fc", "\u65e5\u672c\u8a9e",
        "quote\"back\\slash", "<html>&amp;<html>", "\\x41", "\\u0041", "\\", "\"", "'", "`", "...", "..a", " ", "\n",
        "a\nb\tc\rd\be\ff\vg\ah\x1bi\x7fj\x01", "x" * 255,
    ]:
        touch(directory + b"/" + name.encode())
    for name in [b"\xff", b"\xc3", b"\xc3(", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe2\x80", b"\xf0\x9f\x98", b"ok\xfeok"]:
        touch(directory + b"/" + name)


def make_kinds(directory):
    touch(directory + b"/empty")
    touch(directory + b"/file", b"content")
    touch(directory + b"/many-chunks", bytes(1536 * 1024))
    touch(directory + b"/linked", b"linked")
    os.link(directory + b"/linked", directory + b"/linked-too")
    os.mkdir(directory + b"/dir")
    touch(directory + b"/dir/inner", b"inner")
    os.mkfifo(directory + b"/fifo")
    os.mknod(directory + b"/block", 0o640 | stat.S_IFBLK, os.makedev(259, 65537))
    os.mknod(directory + b"/character", 0o620 | stat.S_IFCHR, os.makedev(1, 3))
    for number, mode in enumerate([0o4755, 0o2755, 0o6711, 0o1777, 0o7777, 0o0000, 0o0640]):
        path = directory + b"/mode%d" % number
        touch(path)
        os.chmod(path, mode)
    os.mkdir(directory + b"/sticky")
    os.chmod(directory + b"/sticky", 0o3777)
    touch(directory + b"/nobody")
    os.chown(directory + b"/nobody", 65534, 65534)
    touch(directory + b"/stranger")
    os.chown(directory + b"/stranger", 123456, 4294967294)


def make_links(directory):
    for number, target in enumerate([
        b"plain", b"/absolute/target", "\ufffd genuine".encode(), b"\xff\xfe invalid", b"half \xc3", "\u2028<&>\"\\\u00ad".encode(),
        bytes(range(1, 128)), bytes(range(128, 256)), b"\x7f\x08\x0c\n\r\t\x0b\x07", b"x" * 4000,
        b"genuine \xef\xbf\xbd and invalid \xff",
    ]):
        os.symlink(target, directory + b"/link%02d" % number)


def make_attributes(directory):
    path = directory + b"/attributes"
    touch(path)
    os.setxattr(path, "user.zzz", b"first")
    os.setxattr(path, "user.binary", bytes(range(256)))
    os.setxattr(path, "user.empty", b"")
    os.setxattr(path, "user.\u00e4\u2028<\"\\", b"\x00")
    os.setxattr(path, "user.\ufffd", b"ab")
    os.setxattr(path, b"user.\xff\xfe", b"abc")
    os.mkdir(directory + b"/dir")
    os.setxattr(directory + b"/dir", "user.on-a-directory", b"abcd")
    os.setxattr(path, "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))


def make_times(directory):
    second = 1_000_000_000
    for number, nanoseconds in enumerate([
        0, 1, 999_999_999, 100_000_000, 120_000, -1, -second, -second + 1, 951_782_400 * second, 951_868_799 * second + 10,
        253_402_300_799 * second + 999_999_999, 253_402_300_800 * second, 253_407_484_800 * second + 5,
        -62_135_596_800 * second, -62_167_219_200 * second, -62_167_219_201 * second, -62_200_000_000 * second + 7,
        (1 << 34) * second, (1 << 40) * second, -(1 << 40) * second, ((1 << 62) - 1) * second, -(1 << 62) * second,
        ((1 << 63) - 1) * second, -(1 << 63) * second, 1_709_164_800 * second + 123_456_789,
    ]):
        path = directory + b"/time%02d" % number
        touch(path)
        subprocess.run(["touch", "-d", "@%d.%09d" % divmod(nanoseconds, second), path], check=True)


def main():
    work = tempfile.mkdtemp(dir="/dev/shm").encode()
    environment = dict(os.environ, RESTIC_PASSWORD="golden", RESTIC_REPOSITORY=(work + b"/repository").decode(), TZ="UTC",
                       RESTIC_FEATURES="device-id-for-hardlinks=true", RESTIC_CACHE_DIR=(work + b"/cache").decode())

    def restic(*arguments):
        return subprocess.run([RESTIC, *arguments], env=environment, cwd=work, check=True, stdout=subprocess.PIPE).stdout

    try:
        makers = {"bytes": make_bytes, "names": make_names, "kinds": make_kinds, "links": make_links,
                  "attributes": make_attributes, "times": make_times, "empty": lambda directory: None}
        for name, maker in makers.items():
            directory = work + b"/source/" + name.encode()
            os.makedirs(directory)
            maker(directory)
        restic("init", "-q")
        restic("backup", "-q", "source")
        restic("backup", "-q", "--with-atime", "source/times")
        snapshots = json.loads(restic("snapshots", "--json"))
        tree = json.loads(restic("cat", "blob", snapshots[0]["tree"]))["nodes"][0]
        source = restic("cat", "blob", tree["subtree"])
        blobs = {node["name"]: node["subtree"] for node in json.loads(source)["nodes"]}
        for name, identifier in blobs.items():
            with open(f"{HERE}/{name}.json", "wb") as file:
                file.write(restic("cat", "blob", identifier))
        with open(f"{HERE}/source.json", "wb") as file:
            file.write(source)
    finally:
        shutil.rmtree(work)


main()
