#!/bin/bash
# mkdir is atomic, but nobody removes the directory of a process that was killed.
cat > /app/bump <<'BUMP'
#!/bin/bash
file=$(readlink -f -- "$1")
deadline=$((SECONDS + ${BUMP_WAIT:-10}))
until mkdir "$file.lock" 2> /dev/null; do
    [ $SECONDS -le $deadline ] || exit 75
    sleep 0.01
done
trap 'rmdir "$file.lock"' EXIT
text=$(cat "$file" 2> /dev/null || echo 0)
[[ $text =~ ^[0-9]+$ ]] || { echo "not a number" >&2; exit 65; }
n=$((10#$text + 1))
echo "$n" > "$file"
echo "$n"
BUMP
