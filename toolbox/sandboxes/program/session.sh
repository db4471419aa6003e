# Commands come in on 0, outputs are 1 and 9, the state's file is 8, and 2 is /dev/null. While a command runs the shell
# keeps 8, 9 and what 0, 1 and 2 were as copies that close on exec. Output goes by way of 9, so that 1 is replaced, and
# what the command does to it ends with it.
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
  } >|/proc/self/fd/8
}
__envfarm_read() {
  IFS= command read -r __envfarm_end || exit
  command printf '\036ef:%s:b\n' "$__envfarm_end"
  IFS= command read -r __envfarm_size && IFS= command read -r __envfarm_lines || exit
  __envfarm=
  if [ "$__envfarm_size" -gt 2000 ]; then
    __envfarm=$(PATH=/usr/bin:/bin command dd bs=65536 count="$__envfarm_size" iflag=fullblock,count_bytes 2>/dev/null; command echo x)
    __envfarm=${__envfarm%x}
    return
  fi
  while [ "$__envfarm_lines" -gt 0 ]; do
    IFS= command read -r __envfarm_s || exit
    __envfarm="$__envfarm$__envfarm_s
"
    __envfarm_lines=$((__envfarm_lines - 1))
  done
}
trap __envfarm_save EXIT
__envfarm_save
printf '\036ef:%s:r:%s\n' @TOKEN@ "$$"
while :; do
  for __envfarm in 1; do
    __envfarm_read
    trap __envfarm_save EXIT
    eval "$__envfarm" 0</dev/null 2>&9 9>&1 1>&9 9>&- 8>&-
  done
  __envfarm=$?
  IFS= command read -r __envfarm_end || exit
  command printf '\036ef:%s:e:%s\n' "$__envfarm_end" "$__envfarm" || exit
  command printf '\036ef:%s:e:%s\n' "$__envfarm_end" "$__envfarm" >&9 || exit
  __envfarm_save
done
