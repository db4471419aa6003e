#!/bin/bash
cat > /app/bump <<'BUMP'
#!/bin/bash
# bump FILE: adds 1 to the number in FILE and prints it. The kernel lets go of the lock whatever kills us.
set -u
file=$(readlink -f -- "$1") || exit 66
exec 9>> "$file.lock" || exit 73
flock -w "${BUMP_WAIT:-10}" 9 || exit 75
text=0
if [ -e "$file" ]; then text=$(cat -- "$file"); fi
if ! [[ $text =~ ^[0-9]+$ ]]; then
    echo "bump: $file: not a number" >&2
    exit 65
fi
n=$((10#$text + 1))
new=$(mktemp -- "$file.XXXXXX") || exit 73
trap 'rm -f -- "$new"' EXIT
printf '%d\n' "$n" > "$new"
mv -f -- "$new" "$file"
echo "$n"
BUMP
chmod 755 /app/bump
