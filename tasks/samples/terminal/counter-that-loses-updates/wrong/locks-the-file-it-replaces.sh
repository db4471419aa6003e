#!/bin/bash
# The lock is on the counter itself, which the rename replaces by another file: the next in line holds a lock on nothing.
cat > /app/bump <<'BUMP'
#!/bin/bash
file=$(readlink -f -- "$1")
exec 9>> "$file"
flock -w "${BUMP_WAIT:-10}" 9 || exit 75
text=$(cat "$file")
text=${text:-0}
[[ $text =~ ^[0-9]+$ ]] || { echo "not a number" >&2; exit 65; }
n=$((10#$text + 1))
echo "$n" > "$file.$$"
mv "$file.$$" "$file"
echo "$n"
BUMP
