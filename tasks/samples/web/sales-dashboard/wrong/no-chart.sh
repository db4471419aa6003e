#!/bin/sh
# The chart is never drawn.
sh "$(dirname "$0")/solve.sh"
sed -i "s/if (!window.chart) window.chart = new Chart/if (0) window.chart = new Chart/; s/  else { chart.data.*//" /app/index.html
