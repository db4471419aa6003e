# Commands come in on 0, outputs are 1 and 9, the state's file is 8, and 2 is /dev/null.
# bash keeps what a redirection of a group replaces as a copy that closes on exec, from the number of its source on.
# So they go to 3, 4, 5 and 6, and the groups below move them to 250, 251, 252 and 253, where no child inherits them.
# By the time of the EXIT trap they are where they came from.
exec 3<&0 4>&1 5>&9 6<&8 249</dev/null;
exec 0<&249 1>&2 8<&- 9>&-;
{ { { { {
builtin trap '__envfarm=6; [[ ! -e /proc/self/fd/253 ]] || __envfarm=253; { builtin printf "cd -- %q\n" "$PWD"; builtin umask -p; builtin declare -px; builtin declare -f; } >|/proc/self/fd/$__envfarm' EXIT;
{ builtin printf "cd -- %q\n" "$PWD"; builtin umask -p; builtin declare -px; builtin declare -f; } >|/proc/self/fd/253;
builtin printf '\036ef:%s:r:%s\n' @TOKEN@ "$$" >&251;
while :; do
  for __envfarm in 1; do
    builtin read -r -N 40 -u 250 __envfarm || builtin exit;
    builtin printf '\036ef:%s:b\n' "${__envfarm%% *}" >&251;
    LC_ALL=C builtin read -r -N "${__envfarm#* }" -u 250 __envfarm;
    builtin trap '__envfarm=6; [[ ! -e /proc/self/fd/253 ]] || __envfarm=253; { builtin printf "cd -- %q\n" "$PWD"; builtin umask -p; builtin declare -px; builtin declare -f; } >|/proc/self/fd/$__envfarm' EXIT;
    builtin eval "$__envfarm" 1>&251 2>&252;
  done;
  __envfarm=$?;
  unset -f builtin;
  builtin read -r -N 24 -u 250 __envfarm_end || builtin exit;
  builtin printf '\036ef:%s:e:%s\n' "$__envfarm_end" "$__envfarm" >&251 || builtin exit;
  builtin printf '\036ef:%s:e:%s\n' "$__envfarm_end" "$__envfarm" >&252 || builtin exit;
  { builtin printf "cd -- %q\n" "$PWD"; builtin umask -p; builtin declare -px; builtin declare -f; } >|/proc/self/fd/253;
done;
} 3<&- 4>&- 5>&- 6>&- 249<&-; } 6<&249; } 5<&249; } 4<&249; } 3<&249
