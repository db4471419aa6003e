#!/bin/bash
# A trap interrupts `wait`, so the script ends before the command has finished; what is left behind stays.
cat > /app/supervise <<'SH'
#!/bin/bash
"$@" <&0 &
pid=$!
trap 'kill -TERM $pid' TERM INT
trap 'kill -HUP $pid' HUP
trap 'kill -USR1 $pid' USR1
wait $pid
status=$?
kill -KILL -- -$$ 2> /dev/null
exit $status
SH
