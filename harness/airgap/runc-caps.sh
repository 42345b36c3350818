#!/bin/sh
# An OCI runtime for hosts that grant no CAP_SYS_RESOURCE, where runc would refuse containers that
# need that capability, other resource limits or a lower OOM score. It removes these from the
# container's configuration and runs runc; elsewhere it only runs runc.
# The configuration is written by Go's JSON encoder: no white space between its tokens, and no bare
# quote inside a string, so that what is matched here can only be what it seems.
runc=/usr/sbin/runc.real
[ -x "$runc" ] || runc=/usr/sbin/runc

granted() { # bit 24 of the bounding set: the seventh hexadecimal digit from the right is odd
  ! grep -q '^CapBnd:.*[02468ace]......$' /proc/self/status
}

verb='' bundle=. process='' previous=''
for word; do
  case $previous in
    --bundle | -b) bundle=$word ;;
    --process | -p) process=$word ;;
  esac
  case $word in
    --bundle=*) bundle=${word#*=} ;;
    --process=*) process=${word#*=} ;;
    create | run | exec) verb=${verb:-$word} ;;
  esac
  previous=$word
done

case $verb in
  create | run) configuration=$bundle/config.json ;;
  exec) configuration=$process ;;
  *) configuration='' ;;
esac

if [ -f "$configuration" ] && ! granted; then
  sed -E -i \
    -e 's/"CAP_SYS_RESOURCE",//g; s/,"CAP_SYS_RESOURCE"//g; s/\["CAP_SYS_RESOURCE"\]/[]/g' \
    -e 's/"rlimits":\[[^]]*\],//g; s/,"rlimits":\[[^]]*\]//g' \
    -e 's/"oomScoreAdj":-[0-9]+/"oomScoreAdj":0/g' \
    "$configuration"
fi
exec "$runc" "$@"
