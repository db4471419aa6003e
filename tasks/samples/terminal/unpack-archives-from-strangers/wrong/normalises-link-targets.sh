#!/bin/bash
# Takes `a/b/..` for `a`, which it is not when `b` is a link itself.
sed 's/end = os.path.realpath(place)/end = os.path.normpath(os.path.join(os.path.dirname(place), os.readlink(place)))/' \
    "$(dirname "$0")/unpack.py" > /app/unpack && chmod 755 /app/unpack
