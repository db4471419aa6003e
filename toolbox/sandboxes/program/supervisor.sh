# The supervisor: the sandbox's main process. It reads frames on standard input and never evaluates a model's text.
# A frame is a line, `@ERA OP TOKEN LENGTH LINES SLOT ID`, then LENGTH bytes that end with the token; to bash, which reads
# faster so, the line is always 128 bytes long. Root in the sandbox can put bytes among them, and take some away:
# `foreign` gets back into step, and a payload without its token is left for the farm to send again.
# Only frames of the era that the last `hello` began are taken: what a stream that broke brings late is none of them.
# What it and its helpers answer are markers on both outputs: RS, `ef:`, TOKEN, `:`, kind, `:`, arguments, newline.
# Some shells know descriptors of one digit only, so here is who has which:
#   supervisor   0 frames, 1 and 2 outputs, 7 the pipe of the session that had a command last
#   helpers      2 is /dev/null, 9 is stderr; a session's keeper has its pipe on 7 and its state on 8
#   session      0 its pipe, 1 and 9 outputs, 2 is /dev/null, 8 its state
unset ENVFARM
set -f
umask 022
IFS=' 	
'
unset BASH_ENV ENV CDPATH GLOBIGNORE PS4 OLDPWD
locale=
if [ "${LC_ALL+x}" ]; then locale=LC_ALL=$LC_ALL; unset LC_ALL; fi
LC_ALL=C
me=$$
hello=$1 # the farm's first token, and the line that ends whatever still waits for bytes
keepers= # process ids of the helpers that watch the sessions
oneshot= # and of the one that watches the last script
keeper=  # the one whose command began last
slots=   # sessions that there are, with keeper_SLOT, label_SLOT and state_SLOT of each
current=- # and the one whose pipe is on 7
mark=0   # when the last command began
last=- last_slot=- # the last command that had an id
taken=-  # the last command
era=@000000
tail=???????????????????????? # any token; to look for a certain one that is not there costs bash the length squared
# lengths that no frame of the farm's has, because no flood of its would end the wait for so much
long=*:[2-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]:* longer=*:[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]*:*
pids=    # process ids at the last look, with parent_PID and born_PID of each

if [ -n "${BASH_VERSION-}" ] && command -v bash >/dev/null; then
  kind=bash
  header() { IFS= read -r -N 128 frame; }
  payload() { IFS= read -r -N "$1" sent && text=${sent%$tail} && [ "$text$token" = "$sent" ]; }
  foreign() { case $frame in *"$newline") ;; *) IFS= read -r frame ;; esac; }
  pipe() { eval "{ exec 7<> <(:); } 2>/dev/null"; }
else
  kind=sh
  header() { IFS= read -r frame; }
  payload() {
    text=
    [ "$2" -le "$1" ] || return
    if [ "$1" -gt 2000 ]; then
      text=$(dd bs=65536 count="$1" iflag=fullblock,count_bytes 2>/dev/null; echo x)
      text=${text%x}
    else
      left=$2
      while [ "$left" -gt 0 ]; do
        IFS= read -r line || exit
        text=$text$line$newline
        left=$((left - 1))
      done
    fi
    sent=$text text=${text%?$tail}
    [ "$text$token$newline" = "$sent" ] && whole "$1"
  }
  # Lines end where they should though a byte of one was taken away. Some shells count characters, and cannot tell.
  bytes=$(printf '\303\274')
  case ${#bytes} in 2) whole() { [ "${#sent}" -eq "$1" ]; } ;; *) whole() { :; } ;; esac
  pipe() {
    place "$token" && mkfifo "$placed" && command exec 7<>"$placed"
    set -- $?
    rm -f "$placed"
    return "$1"
  }
  foreign() { :; }
fi
newline='
'

say() { printf '\036ef:%s:%s\n' "$1" "$2"; printf '\036ef:%s:%s\n' "$1" "$2" >&2; }

status() { return "$1"; }

# A name that nothing has, in the first folder that can be written to.
place() {
  for placed in ${2-${TMPDIR-} /tmp /var/tmp /dev/shm /run /}; do
    placed=${placed%/}/.envfarm-$1
    if [ -d "${placed%/*}/" ] && (true >"$placed") 2>/dev/null; then rm -f "$placed"; return; fi
  done
  return 1
}

# Note when a command begins. A variable costs less than a look into /proc.
began() {
  if [ -n "${EPOCHREALTIME-}" ]; then mark=$EPOCHREALTIME; else ticks; mark=$now; fi
}

ticks() {
  read -r now _ </proc/uptime
  now=$((${now%.*} * 100 + 1${now#*.} - 100)) # 08 alone would be octal
}

# Turn the note into ticks since boot, the unit of a process's birth, and rather one tick early than late.
since() {
  [ -n "${EPOCHREALTIME-}" ] || return 0
  ticks
  born=$((now - (${EPOCHREALTIME/./} - ${mark/./}) / 10000 - 1))
}

# Run in a helper.
alone() {
  exec 9>&2 2>/dev/null
  trap : TERM INT HUP QUIT PIPE ALRM USR1 USR2
}

# Before a model's text: give back the locale that the image asks for.
restore() { unset LC_ALL; [ -z "$locale" ] || export "$locale"; }

ended() { printf '\036ef:%s:%s\n' "$1" "$2"; printf '\036ef:%s:%s\n' "$1" "$2" >&9; }

# as TOOL USER COMMAND...: become a user (a name or a number, with :GROUP or without), with that user's HOME.
as() {
  tool=$1 name=${2%%:*} group=${2#"${2%%:*}"} uid= gid= home=/
  group=${group#:}
  shift 2
  while IFS=: read -r a _ b c _ d _; do
    if [ "$a" = "$name" ] || [ "$b" = "$name" ]; then name=$a uid=$b gid=$c home=$d; break; fi
  done </etc/passwd 2>/dev/null
  case $uid$name in
  *[!0-9]*) [ -n "$uid" ] || { echo "no such user: $name" >&2; return 126; } ;;
  *) uid=${uid:-$name} ;;
  esac
  case $group in
  '') groups=--init-groups ;;
  *[!0-9]*) while IFS=: read -r a _ b _; do [ "$a" != "$group" ] || gid=$b; done </etc/group 2>/dev/null ;;
  *) gid=$group ;;
  esac
  gid=${gid:-0}
  [ -z "$group" ] && [ "$name" != "$uid" ] || groups=--clear-groups
  export HOME="$home" USER="$name" LOGNAME="$name"
  case $tool in
  setpriv) exec setpriv --reuid="$uid" --regid="$gid" $groups -- "$@" ;;
  chroot) exec chroot --userspec="$uid:$gid" --skip-chdir / "$@" ;;
  esac
  [ "$name" != "$uid" ] || { echo "this image has no tool that runs a command as uid $uid" >&2; return 126; }
  line=exec
  for a; do line="$line '$(printf %s "$a" | sed "s/'/'\\\\''/g")'"; done
  exec su -p -s /bin/sh "$name" -c "$line"
}

processes() {
  for p in $pids; do unset "parent_$p" "born_$p"; done
  pids=
  set +f
  set -- /proc/[0-9]*
  set -f
  for d; do
    { read -r line <"$d/stat"; } 2>/dev/null || continue
    note "${d#/proc/}" ${line##*) }
  done
}

note() {
  [ "$2" != Z ] && [ "$2" != X ] || return 0
  pids="$pids $1"
  eval "parent_$1=$3 born_$1=${21}"
}

# Whether a process belongs to the running command: it is new, and so is everything between it and us, or it is
# below the command's keeper ($keeper), or below a session's shell that lost its keeper ($orphan).
ours() {
  q=$1
  case " $me $oneshot $keepers " in *" $q "*) return 1 ;; esac
  while :; do
    case $q in "$me" | "$orphan") return 0 ;; esac
    eval "up=\${parent_$q-} at=\${born_$q-}"
    [ -n "$up" ] || return 1
    [ "$up" != "$keeper" ] || return 0
    [ "$at" -ge "$born" ] || return 1
    q=$up
  done
}

# Whether a process came from us. Outside a container /proc shows the whole machine: nothing else may ever be killed.
any() {
  q=$1
  [ "$q" != "$me" ] || return 1
  while :; do
    eval "up=\${parent_$q-}"
    case $up in
    "$me") return 0 ;;
    '' | 0) return 1 ;;
    1) [ "$me" = 1 ] || return 1 ;;
    esac
    q=$up
  done
}

# kill_those PREDICATE: stop, then kill, in passes, until no process is left that the predicate names.
kill_those() {
  round=0
  while [ "$round" -lt 40 ]; do
    round=$((round + 1))
    stopped=
    while :; do
      processes
      fresh=
      for p in $pids; do
        case " $stopped " in *" $p "*) continue ;; esac
        if "$1" "$p"; then fresh="$fresh $p"; fi
      done
      [ -n "$fresh" ] || break
      kill -STOP $fresh 2>/dev/null
      stopped="$stopped$fresh"
    done
    [ -n "$stopped" ] || return 0
    kill -KILL $stopped 2>/dev/null
  done
  return 1
}

alive() {
  [ "$1" != - ] || return 1
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  line=${line##*) }
  case $line in Z* | X*) return 1 ;; esac
}

# Start the shell of session $slot as $text says.
start() {
  current=-
  if ! pipe; then say "$token" d:126; return; fi
  current=$slot
  eval "state=\$state_$slot"
  ( exec 8<>"$state"; alone; eval "$text"; ended "$token" "d:$?" ) </dev/null &
  keeper=$!
  eval "keeper_$slot=$keeper label_$slot=\$token:\${text%%\"\$newline\"*}"
  keepers=" ${keepers# }$keeper "
}

# Make the file of a new session's state, start the session, and serve on: what a redirection of a group replaces, every
# shell keeps as a copy that closes on exec, from 10 on, for as long as the group lasts. No variable reaches it there,
# but its name in /proc does.
stash() {
  copy=10
  while [ -e "/proc/$me/fd/$copy" ]; do copy=$((copy + 1)); done
  umask 0
  if place "$token" "/dev/shm /tmp /var/tmp /run"; then command exec 9<>"$placed"; rm -f "$placed"
  else exec 9</dev/null; fi
  umask 022
  {
    if [ -e "/proc/$me/fd/$copy" ]; then eval "state_$slot=/proc/$me/fd/$copy"; else eval "state_$slot=/dev/null"; fi
    start
    serve
  } 9<&-
}

serve() {
  while header; do
    set -- $frame
    case $1:$4:$5:$3$6$7 in
    *[!@:0-9a-f-]* | $long | $longer) foreign; continue ;;
    "$era":*) ;;
    @*) [ "$2" = hello ] || { foreign; continue; } ;;
    *) foreign; continue ;;
    esac
    op=$2 token=$3 length=$4 lines=$5 slot=$6 id=$7
    case $op in
    run) # a script of the farm's, watched to its end
      payload "$length" "$lines" || { foreign; continue; }
      case $id in -) ;; *) last=$id last_slot=$slot ;; esac
      taken=$token
      began
      say "$token" b
      ( exec 7>&-; alone; eval "$text"; ended "$token" "e:$?" ) </dev/null &
      keeper=$! oneshot=$!
      ;;
    open) # a session: its shell reads commands from a pipe that only we and its keeper hold
      payload "$length" "$lines" || { foreign; continue; }
      began
      eval "old=\${keeper_$slot-}"
      if [ -n "$old" ]; then keepers="${keepers%%" $old "*} ${keepers#*" $old "}"; start
      else
        slots="$slots $slot"
        stash
      fi
      ;;
    send) # a command for a session, passed on unread
      payload "$length" "$lines" || { foreign; continue; }
      case $id in -) ;; *) last=$id last_slot=$slot ;; esac
      taken=$token
      began
      eval "keeper=\$keeper_$slot"
      case $slot in
      "$current") ;;
      *)
        current=-
        { command exec 7<>"/proc/$keeper/fd/7"; } 2>/dev/null || continue
        current=$slot
        ;;
      esac
      printf '\036ef:%s:b\n' "$token" >&2
      case $length in
      ? | ?? | ??? | [123]???) printf %s "$text" >&7 ;;
      *) ( printf %s "$text" >&7 ) 2>/dev/null & ;;
      esac
      ;;
    spool) # bytes for a file in a place that nothing else knows, or more of them
      [ "$id" != - ] || { place "$token"; spooled=$placed; }
      {
        dd bs=65536 count="$length" iflag=fullblock,count_bytes | {
          if [ "$id" = - ]; then set -C; cat >"$spooled"; else cat >>"$spooled"; fi
          rc=$?
          cat >/dev/null
          status "$rc"
        }
      } 2>/dev/null
      rc=$?
      n=0 # a line's end and the token follow the last byte, or some bytes came from elsewhere, or went
      while read -r line; do case $line in "$token" | "$hello") break ;; '') n=$((n + 1)) ;; *) n=2 ;; esac; done
      [ "$n$line" = "1$token" ] || rc=75
      say "$token" "s:$rc:$spooled"
      ;;
    missed) say "$token" "s:75:" ;; # a spool that was not answered before this was not taken
    look) # is the watcher of this session, or of the last script, alive?
      [ "$slot" = - ] || eval "keeper=\$keeper_$slot"
      if alive "$keeper" || alive "$id"; then say "$token" "a:$taken"; else wait "$keeper" 2>/dev/null; say "$token" "g:$?:$taken"; fi
      ;;
    kill) orphan=$id born=$mark; since; kill_those ours; say "$token" "k:$?" ;;
    clear)
      kill_those any
      rc=$?
      # To process 1 of a container, -1 is the container; to any other process it is the whole machine.
      if [ "$rc" != 0 ] && [ "$me" = 1 ]; then kill -KILL -1; rc=0; fi 2>/dev/null
      say "$token" "k:$rc"
      ;;
    list)
      processes
      found=
      for p in $pids; do
        any "$p" || continue
        eval "up=\$parent_$p"
        case " $me $oneshot $keepers " in
        *" $p "*) continue ;;
        *" $up "*) [ "$up" = "$me" ] || continue ;;
        esac
        found="$found $p"
      done
      say "$token" "l:$found"
      ;;
    anew) # a fork's: no command of its origin's is its own, and its log has yet to tell of its sessions
      last=- last_slot=-
      [ "$id" = - ] || say "$token" "r:$id"
      ;;
    hello) # what a farm must know that starts again, or whose stream broke
      era=$1
      found=
      for slot in $slots; do eval "found=\"\$found $slot:\$label_$slot\""; done
      # Some logs drop the CR of a CRLF; this one shows whether they do.
      printf '\036ef:%s:h:%s\r\n' "$token" "$kind:$last:$last_slot$found"
      printf '\036ef:%s:h:%s\r\n' "$token" "$kind:$last:$last_slot$found" >&2
      ;;
    esac
  done
}

say "$1" "ready:$kind:$me"
serve
