#!/bin/sh
# One "#define" for each line "NAME CHARACTER" of the file.
set -e
echo '/* made by mktokens.sh, do not edit */'
while read -r name character; do
    sleep 0.02
    case $character in ?) ;; *) echo "mktokens.sh: $name: not one character: $character" >&2; exit 1 ;; esac
    echo "#define TOKEN_$name '$character'"
done < "$1"
