#!/bin/sh
# HTML in the text becomes part of the page.
sh "$(dirname "$0")/solve.sh"
sed -i "s/return escape(text)/return text/" /app/index.html
