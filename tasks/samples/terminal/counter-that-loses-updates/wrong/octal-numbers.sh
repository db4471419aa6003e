#!/bin/bash
# Everything but the arithmetic: 08 is an error in base 8, and 0099 too.
cat > /app/bump <<'BUMP'
#!/bin/bash
file=$(readlink -f -- "$1")
exec 9>> "$file.lock"
flock -w "${BUMP_WAIT:-10}" 9 || exit 75
text=0
if [ -e "$file" ]; then text=$(cat "$file"); fi
[[ $text =~ ^[0-9]+$ ]] || { echo "not a number" >&2; exit 65; }
n=$((text + 1))
echo "$n" > "$file.$$" && mv "$file.$$" "$file"
echo "$n"
BUMP
