#!/bin/sh
# A pause stops all but the waves.
sh "$(dirname "$0")/solve.sh"
sed -i 's/\.still \*, \.still {/.still .beam, .still .ship, .still .hull, .still .star {/' /app/index.html
