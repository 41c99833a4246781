#!/bin/sh
# Run a command by two MPI ranks on two hosts that are network namespaces of this machine, each with a
# name and an address of its own, joined by a cable of a given speed. They share cores and files.
# Needs root, iproute2 and Open MPI.
# Usage: sh scripts/two_hosts.sh [--rate 1gbit] COMMAND...
set -eu
A=pvm-a B=pvm-b SELF=$(realpath "$0") RATE=''

on() {  # host, command...: become that command there, under that host's name
    host=$1
    shift
    exec ip netns exec "$host" unshare --uts sh -c 'hostname "$0" && exec "$@"' "$host" "$@"
}

if [ "${1:-}" = --agent ]; then  # mpirun calls this in ssh's place: address, then a shell's command line
    shift 2
    on $B sh -c "$*"
fi
if [ "${1:-}" = --rate ]; then
    RATE=$2
    shift 2
fi
[ $# -gt 0 ] || { sed -n '2,$s/^# //p' "$SELF" >&2; exit 2; }

clean() { for host in $A $B; do ip netns del $host 2>/dev/null || true; done; }
clean
trap clean EXIT
ip netns add $A
ip netns add $B
ip -n $A link add eth0 type veth peer name eth0 netns $B
for pair in $A:10.77.0.1 $B:10.77.0.2; do
    host=${pair%%:*}
    ip -n "$host" addr add "${pair#*:}/24" dev eth0
    ip -n "$host" link set lo up
    ip -n "$host" link set eth0 up
    [ -z "$RATE" ] || tc -n "$host" qdisc add dev eth0 root tbf rate "$RATE" burst 256kb latency 20ms
done
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
(on $A mpirun -n 2 --bind-to none --host 10.77.0.1,10.77.0.2 --mca plm_rsh_agent "sh $SELF --agent" \
    --mca btl tcp,self --mca btl_tcp_if_include eth0 --mca oob_tcp_if_include eth0 "$@") &
MPIRUN=$!
trap 'kill -TERM $MPIRUN' INT TERM
while kill -0 $MPIRUN 2>/dev/null; do  # a signal ends `wait`, not mpirun
    if wait $MPIRUN; then CODE=0; else CODE=$?; fi
done
exit $CODE
