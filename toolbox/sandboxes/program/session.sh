__envfarm_save() {
  {
    __envfarm_q= __envfarm_s=$PWD
    while case $__envfarm_s in *\'*) true ;; *) false ;; esac; do
      __envfarm_q=$__envfarm_q${__envfarm_s%%\'*}"'\\''"
      __envfarm_s=${__envfarm_s#*\'}
    done
    command printf "cd -- '%s'\numask " "$__envfarm_q$__envfarm_s"
    command umask
    export -p
  } >|/proc/self/fd/204
}
__envfarm_read() {
  IFS= command read -r __envfarm_end <&201 || exit
  command printf '\036ef:%s:b\n' "$__envfarm_end" >&202
  IFS= command read -r __envfarm_size <&201 && IFS= command read -r __envfarm_lines <&201 || exit
  __envfarm=
  if [ "$__envfarm_size" -gt 2000 ]; then
    __envfarm=$(PATH=/usr/bin:/bin dd bs=65536 count="$__envfarm_size" iflag=fullblock,count_bytes 2>/dev/null <&201; command echo x)
    __envfarm=${__envfarm%x}
    return
  fi
  while [ "$__envfarm_lines" -gt 0 ]; do
    IFS= command read -r __envfarm_s <&201 || exit
    __envfarm="$__envfarm$__envfarm_s
"
    __envfarm_lines=$((__envfarm_lines - 1))
  done
}
trap __envfarm_save EXIT
__envfarm_save
printf '\036ef:%s:r:%s\n' @TOKEN@ "$$" >&202
while :; do
  for __envfarm in 1; do
    __envfarm_read
    trap __envfarm_save EXIT
    eval "$__envfarm" 0</dev/null 1>&202 2>&203 201<&- 202>&- 203>&- 204>&-
  done
  __envfarm=$?
  IFS= command read -r __envfarm_end <&201 || exit
  command printf '\036ef:%s:e:%s\n' "$__envfarm_end" "$__envfarm" >&202 || exit
  command printf '\036ef:%s:e:%s\n' "$__envfarm_end" "$__envfarm" >&203 || exit
  __envfarm_save
done
