#!/bin/sh
# Whether shipping is free is decided before the coupon is taken off.
sh "$(dirname "$0")/solve.sh"
sed -i "s/const shipping = plants >= 50/const shipping = plants \/ (coupon ? 0.9 : 1) >= 50/" /app/src/shop.jsx
