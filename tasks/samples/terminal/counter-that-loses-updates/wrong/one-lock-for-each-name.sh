#!/bin/bash
# A sound lock, but a link to the counter has another one, and is replaced by a file.
cat > /app/bump <<'BUMP'
#!/bin/bash
exec 9>> "$1.lock"
flock -w "${BUMP_WAIT:-10}" 9 || exit 75
text=0
if [ -e "$1" ]; then text=$(cat "$1"); fi
[[ $text =~ ^[0-9]+$ ]] || { echo "not a number" >&2; exit 65; }
n=$((10#$text + 1))
echo "$n" > "$1.$$" && mv "$1.$$" "$1"
echo "$n"
BUMP
