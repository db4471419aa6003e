#!/usr/bin/env python3
"""report LOG...: sessions, clients and percentiles of access logs, as JSON."""
import gzip
import json
import math
import re
import sys
from collections import Counter, defaultdict
from datetime import datetime, timezone

QUOTED = r'"((?:[^"\\]|\\.)*)"'
LINE = re.compile(
    rf"(\S+) \S+ \S+ \[([^\]]*)\] {QUOTED} (\d{{3}}) (?:\d+|-) {QUOTED} {QUOTED} (\d+(?:\.\d+)?)", re.DOTALL
)
GAP = 1800


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    return Counter(line for line in data.decode("latin-1").split("\n") if line)


def parse(line):
    match = LINE.fullmatch(line)
    if not match:
        return None
    words = match[3].split(" ")
    try:
        time = datetime.strptime(match[2], "%d/%b/%Y:%H:%M:%S %z").timestamp()
    except ValueError:
        return None
    if len(words) < 2:
        return None
    return (match[1], match[6]), time, words[1].split("?")[0], int(match[4]), float(match[7])


def main():
    counts = Counter()
    for path in sys.argv[1:]:
        counts |= read(path)
    good = bad = 0
    requests, times = defaultdict(list), defaultdict(list)
    for line, count in counts.items():
        parsed = parse(line)
        if parsed is None:
            bad += count
            continue
        good += count
        client, time, path, status, seconds = parsed
        if path == "/healthz":
            continue
        requests[client] += [time] * count
        if status < 500:
            times[path] += [seconds] * count
    sessions = []
    for (address, _), moments in requests.items():
        moments.sort()
        last = None
        for moment in moments:
            if last is None or moment - last > GAP:
                sessions.append([moment, moment, address, 0])
            sessions[-1][1] = last = moment
            sessions[-1][3] += 1
    longest = None
    if sessions:
        start, end, address, number = min(sessions, key=lambda one: (one[0] - one[1], one[0], one[2]))
        stamp = datetime.fromtimestamp(start, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        longest = {"address": address, "start": stamp, "seconds": int(end - start), "requests": number}
    p95 = {path: sorted(values)[math.ceil(0.95 * len(values) - 1e-9) - 1] for path, values in times.items()}
    report = {
        "lines": good, "bad": bad, "clients": len(requests), "sessions": len(sessions), "longest": longest, "p95": p95,
    }
    json.dump(report, sys.stdout)


main()
