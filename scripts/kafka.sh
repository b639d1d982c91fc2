#!/usr/bin/env bash
# A real single-node Kafka (KRaft, no ZooKeeper) from the jars that scripts/setup.sh fetched.
# The integration tests use `prepare` and `run`; people and `make bench` use `start` and `stop`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
conf=$root/tests/kafka
cluster_id=c3RyZWFtZ2F1Z2UtdGVzdA # any 16 bytes in base64; fixed, so that a restart finds its own data
start_deadline=60                 # seconds; 5 on an idle machine

usage() {
  cat >&2 <<'TEXT'
usage: scripts/kafka.sh start DIR [PORT]    start a broker on 127.0.0.1:PORT (9092) with its data in DIR
       scripts/kafka.sh stop DIR            stop it; the data stays
       scripts/kafka.sh prepare DIR PORT [CONTROLLER_PORT [BEHIND_PORT PROXY_PORT]]
                                            write DIR/server.properties, format the storage once
       scripts/kafka.sh prepare-node DIR ID PORT QUORUM
                                            the same for one of several brokers; QUORUM lists all of them, as in
                                            1@127.0.0.1:9093,2@127.0.0.1:9193,3@127.0.0.1:9293
       scripts/kafka.sh run DIR             run a prepared broker in the foreground
PORT + 1 is the controller's unless CONTROLLER_PORT is given. BEHIND_PORT is a second listener for clients that come
through a proxy on PROXY_PORT: they are sent back to the proxy.
TEXT
  exit 2
}

fail() {
  echo "kafka.sh: $*" >&2
  exit 1
}

libs() {
  local target=${CARGO_TARGET_DIR:-target}
  [[ $target = /* ]] || target=$root/$target
  [[ -e $target/kafka/libs/.complete ]] || fail "no Kafka jars in $target/kafka/libs: run make test (or scripts/setup.sh) once"
  echo "$target/kafka/libs"
}

# java MAIN_CLASS ARG...: replaces this shell, so that signals reach the broker itself.
java_exec() {
  local jars
  jars=$(libs) || exit 1 # set -e does not hold where `prepare || fail` called us
  command -v java >/dev/null || fail "no java: run make test (or scripts/setup.sh) once"
  # shellcheck disable=SC2086
  exec java ${KAFKA_JAVA_OPTS:--Xms128m -Xmx512m -XX:+UseSerialGC -Xshare:auto} \
    -Dlog4j2.configurationFile="$conf/log4j2.xml" -Djava.awt.headless=true -cp "$jars/*" "$@"
}

prepare() {
  local dir=$1 port=$2 controller=${3:-$(($2 + 1))}
  local behind=${4:+,PROXIED://127.0.0.1:$4} proxy=${5:+,PROXIED://127.0.0.1:$5}
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  {
    cat "$conf/server.properties"
    echo "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller$behind"
    echo "advertised.listeners=PLAINTEXT://127.0.0.1:$port$proxy"
    echo "controller.quorum.voters=1@127.0.0.1:$controller"
    echo "log.dirs=$dir/data"
  } >"$dir/server.properties"
  format "$dir"
}

prepare_node() {
  local dir=$1 id=$2 port=$3 quorum=$4 controller
  controller=$(tr , '\n' <<<"$quorum" | sed -n "s/^$id@//p")
  [[ -n $controller ]] || fail "no node $id in $quorum"
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  {
    # Of the same key twice the last one holds.
    cat "$conf/server.properties"
    echo "node.id=$id"
    echo "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://$controller"
    echo "advertised.listeners=PLAINTEXT://127.0.0.1:$port"
    echo "controller.quorum.voters=$quorum"
    echo "log.dirs=$dir/data"
    echo "default.replication.factor=3"
    echo "min.insync.replicas=2"
    echo "offsets.topic.replication.factor=3"
    echo "transaction.state.log.replication.factor=3"
    echo "transaction.state.log.min.isr=2"
    # A leader that is gone is replaced soon.
    echo "controller.quorum.election.timeout.ms=1000"
    echo "controller.quorum.fetch.timeout.ms=1500"
  } >"$dir/server.properties"
  format "$dir"
}

format() {
  local dir=$1
  [[ -e $dir/data/meta.properties ]] && return
  (
    export KAFKA_JAVA_OPTS="-Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto"
    java_exec kafka.tools.StorageTool format --cluster-id "$cluster_id" --config "$dir/server.properties"
  ) >"$dir/format.log" 2>&1 || fail "cannot prepare $dir: $(tail -n 3 "$dir/format.log")"
}

run() {
  [[ -e $1/server.properties ]] || fail "$1 is not prepared"
  java_exec kafka.Kafka "$1/server.properties"
}

# A zombie that nobody has reaped yet does not count.
alive() { kill -0 "$1" 2>/dev/null && ! grep -qs '^State:.Z' "/proc/$1/status"; }

running() { [[ -e $1/kafka.pid ]] && alive "$(cat "$1/kafka.pid")"; }

start() {
  local dir=$1 port=${2:-9092} deadline=$((SECONDS + start_deadline))
  if running "$dir"; then
    echo "kafka is already running in $dir, pid $(cat "$dir/kafka.pid")"
    return
  fi
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && fail "port $port is taken"
  prepare "$dir" "$port"
  nohup "$0" run "$dir" >"$dir/kafka.log" 2>&1 </dev/null &
  echo $! >"$dir/kafka.pid"
  until grep -q "Kafka Server started" "$dir/kafka.log"; do
    running "$dir" || fail "the broker ended: $(tail -n 5 "$dir/kafka.log")"
    ((SECONDS < deadline)) || { stop "$dir"; fail "no broker after $start_deadline s, see $dir/kafka.log"; }
    sleep 0.1
  done
  echo "kafka is up on 127.0.0.1:$port, pid $(cat "$dir/kafka.pid"), data and log in $dir"
}

stop() {
  local dir=$1 pid deadline=$((SECONDS + 20))
  if running "$dir"; then
    pid=$(cat "$dir/kafka.pid")
    kill "$pid"
  else
    rm -f "$dir/kafka.pid"
    return
  fi
  while alive "$pid"; do
    if ((SECONDS >= deadline)); then kill -KILL "$pid" 2>/dev/null || true; fi
    sleep 0.1
  done
  rm -f "$dir/kafka.pid"
}

[[ $# -ge 2 ]] || usage
command=$1
shift
case $command in
  start | stop | run) "$command" "$@" ;;
  prepare) [[ $# -ge 2 ]] || usage; prepare "$@" ;;
  prepare-node) [[ $# -eq 4 ]] || usage; prepare_node "$@" ;;
  *) usage ;;
esac
