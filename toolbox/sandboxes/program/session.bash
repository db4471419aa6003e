# Commands come in on 201, outputs are 202 and 203, the state's file is 204; 0, 1 and 2 are /dev/null.
# bash keeps what a redirection of a group replaces as a copy that closes on exec, from the number of its source on.
# So the groups below move the four to 250, 251, 252 and 253, where no child inherits them.
# By the time of the EXIT trap they are where they came from.
exec 3<&201 4>&202 5>&203 6<&204 249</dev/null;
exec 201<&- 202>&- 203>&- 204<&-;
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
