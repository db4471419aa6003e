#!/bin/bash
# The usual advice: signals reach the command, but nobody counts the grace and nobody cleans up.
printf '#!/bin/bash\nexec "$@"\n' > /app/supervise
