#!/bin/bash
# Notices everything, but only when half of it lies in DEST already.
cat > /tmp/in-place.py <<'PY'
import sys
text = open(sys.argv[1]).read()
text = text.replace("        os.mkdir(root)\n", "        root = dest\n        os.makedirs(root, exist_ok=True)\n")
text = text.replace("        if os.path.isdir(dest):\n            os.rmdir(dest)\n        os.rename(root, dest)\n", "")
open("/app/unpack", "w").write(text)
PY
python3 /tmp/in-place.py "$(dirname "$0")/unpack.py" && chmod 755 /app/unpack
