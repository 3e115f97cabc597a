#!/bin/sh
# Throughput of the network interface beside a bare Homing stream, and beside yggdrasil where it is installed: one run, the
# ways taking turns, on one machine with two network namespaces and a cable between them.
#
#   sudo bench/tun/run.sh [SECONDS [ROUNDS]]       defaults: 5 s, 3 rounds; HOMING_BIN names the binary
#
# Needs root, ip, iperf3, python3. yggdrasil: apt-get install yggdrasil. Prints medians in Mbit/s, ratios, and the
# round trip of a ping. Removes what it made, whatever happens.
set -eu
seconds=${1:-5} rounds=${2:-3}
root=$(cd "$(dirname "$0")/../.." && pwd)
homing=${HOMING_BIN:-$root/target/release/homing}
work=$(mktemp -d) one=homing-bench-$$-a two=homing-bench-$$-b pids=

end() {
  for pid in $pids; do kill "$pid" 2>/dev/null || true; done
  sleep 1
  ip netns del "$one" 2>/dev/null || true
  ip netns del "$two" 2>/dev/null || true
  rm -rf "$work"
}
trap end EXIT
trap 'exit 1' INT TERM

on() { space=$1; shift; ip netns exec "$space" "$@"; }
bg() { "$@" >>"$work/log" 2>&1 & pids="$pids $!"; }
h() { space=$1; shift; HOMING_HOME=$work/$space on "$space" "$homing" "$@"; }
hbg() { space=$1; shift; export HOMING_HOME="$work/$space"; bg ip netns exec "$space" "$homing" "$@"; unset HOMING_HOME; }
field() { python3 -c "import json,sys; print(json.load(sys.stdin)$1)"; }
until_ok() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.3; done; echo "does not happen: $*" >&2; exit 1; }

for space in "$one" "$two"; do ip netns add "$space"; ip -n "$space" link set lo up; done
ip link add veth0 netns "$one" type veth peer name veth0 netns "$two"
ip -n "$one" addr add 10.99.0.1/24 dev veth0; ip -n "$two" addr add 10.99.0.2/24 dev veth0
for space in "$one" "$two"; do ip -n "$space" link set veth0 up; done
ip -n "$one" route add default via 10.99.0.2; ip -n "$two" route add default via 10.99.0.1

hbg "$two" daemon run --hostname far --tun --set gateway.enabled=false --listen 10.99.0.2:41641
until_ok h "$two" info
ticket=$(h "$two" info --ticket)
hbg "$one" daemon run --hostname near --tun --set gateway.enabled=false --listen 10.99.0.1:41641 --peer "$ticket"
until_ok h "$one" resolve far
h "$one" handshake far >/dev/null
id=$(h "$one" info --json | field '["node_id"]')
until_ok h "$two" approve "$id"
h "$one" wait trusted far --timeout 30s >/dev/null
far=$(h "$two" info --json | field '["address"]')
until_ok on "$one" ping -6 -c 1 -W 1 "$far"

# The bare stream: TCP through forward and expose.
bg ip netns exec "$two" iperf3 -s -p 5201
h "$two" expose 5201 >/dev/null
hbg "$one" forward 127.0.0.1:5301 far:5201
ways="cable stream tun"
if command -v yggdrasil >/dev/null; then
  yggdrasil -genconf -json >"$work/y1"; yggdrasil -genconf -json >"$work/y2"
  python3 - "$work" <<'PY'
import json, sys
for name, listen, peers in (("y1", ["tcp://10.99.0.1:9900"], []), ("y2", [], ["tcp://10.99.0.1:9900"])):
    path = f"{sys.argv[1]}/{name}"
    config = json.load(open(path))
    config.update(Listen=listen, Peers=peers, MulticastInterfaces=[], AdminListen="none", IfName="ygg0")
    json.dump(config, open(path, "w"))
PY
  bg ip netns exec "$one" yggdrasil -useconffile "$work/y1"
  bg ip netns exec "$two" yggdrasil -useconffile "$work/y2"
  ygg=$(yggdrasil -useconffile "$work/y2" -address)
  until_ok on "$one" ping -6 -c 1 -W 1 "$ygg"
  ways="$ways yggdrasil"
fi
sleep 2
measure() {
  case $1 in
    cable) target="-c 10.99.0.2 -p 5201" ;;
    stream) target="-c 127.0.0.1 -p 5301" ;;
    tun) target="-6 -c $far -p 5201" ;;
    yggdrasil) target="-6 -c $ygg -p 5201" ;;
  esac
  # shellcheck disable=SC2086
  on "$one" timeout $((seconds + 30)) iperf3 $target -t "$seconds" -J | field '["end"]["sum_received"]["bits_per_second"]' >>"$work/rate-$1" || echo 0 >>"$work/rate-$1"
}
for _ in $(seq "$rounds"); do for way in $ways; do measure "$way"; done; done
for way in $ways; do
  case $way in
    cable) to=10.99.0.2 ;; tun) to=$far ;; yggdrasil) to=$ygg ;; *) continue ;;
  esac
  on "$one" ping -n -i 0.05 -c 40 -W 2 "$to" | sed -n 's/^rtt.*= [^/]*\/\([^/]*\)\/.*/\1/p' >"$work/ping-$way"
done
h "$one" status | grep interface || true
python3 - "$work" "$seconds" "$rounds" $ways <<'PY'
import os, statistics, sys
work, seconds, rounds, ways = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
rate = {w: statistics.median(float(l) / 1e6 for l in open(f"{work}/rate-{w}")) for w in ways}
load = os.getloadavg()[0]
print(f"{seconds} s, median of {rounds} rounds, {os.cpu_count()} cores, load {load:.1f}")
print(f"{'way':<10} {'Mbit/s':>8} {'of stream':>10} {'ping ms':>8}")
for way in ways:
    path = f"{work}/ping-{way}"
    ping = open(path).read().strip() if os.path.exists(path) else ""
    print(f"{way:<10} {rate[way]:>8.0f} {rate[way] / max(rate['stream'], 1e-9):>10.2f} {ping:>8}")
if "yggdrasil" in rate:
    print(f"tun / yggdrasil: {rate['tun'] / max(rate['yggdrasil'], 1e-9):.2f}")
PY
