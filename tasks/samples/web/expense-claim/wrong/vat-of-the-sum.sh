#!/bin/sh
# One rate for all: the VAT is that of the first expense.
sh "$(dirname "$0")/solve.sh"
sed -i "s/row.net \\* row.vat \\/ 100); }/row.net * rows()[0].vat \\/ 100); }/" /app/page.html
