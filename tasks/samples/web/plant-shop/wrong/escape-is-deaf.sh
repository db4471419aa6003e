#!/bin/sh
# Escape does not close the cart.
sh "$(dirname "$0")/solve.sh"
sed -i "s/event.key === \"Escape\"/event.key === \"Esc\"/" /app/src/shop.jsx
