#!/usr/bin/env bash
# Brings what the tests and benchmarks need and this machine lacks: a C/C++ compiler and make (for
# librdkafka and SQLite), a redis-server binary, Prometheus with its promtool, a browser (Chromium or Chrome),
# Java 17 or later, and the jars of a Kafka server.
# Run it as often as you like: what is there is left alone. `setup.sh build` brings the compiler only, `setup.sh kafka`
# what a Kafka server needs and nothing else.
set -euo pipefail

what=${1:-all}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-target}
[[ $target = /* ]] || target=$root/$target
libs=$target/kafka/libs
pom=$root/tests/kafka/pom.xml

have() { command -v "$1" >/dev/null 2>&1; }

fail() {
  echo "setup: $*" >&2
  exit 1
}

java_is_recent() {
  local version
  have java || return 1
  version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
  [[ -n $version && $version -ge 17 ]]
}

# The mark carries the pom's checksum, so that a new pom fetches anew and a broken download is repeated.
pom_sum() { cksum <"$pom"; }
jars_are_complete() { [[ -e $libs/.complete && $(cat "$libs/.complete") == "$(pom_sum)" ]]; }

as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    fail "not root and no sudo; run as root: $*"
  fi
}

have_browser() {
  local name
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if have "$name"; then return 0; fi
  done
  return 1
}

# The first of the named packages that this release of Debian or Ubuntu offers.
first_offered() {
  local package
  for package in "$@"; do
    if [[ $(apt-cache policy "$package") == *"Candidate: "[!\(]* ]]; then
      echo "$package"
      return
    fi
  done
  fail "none of these packages is offered here: $*"
}

have cargo || fail "please install Rust first: https://www.rust-lang.org/tools/install"

# Java and the browser are packages to be chosen once the package lists are there: these are place holders.
missing=()
needed="a C and C++ compiler, make"
{ have cc && have c++ && have make; } || missing+=(build-essential)
if [[ $what == kafka ]]; then
  needed="Java 17 or later, Maven"
  missing=()
  java_is_recent || missing+=(java)
  jars_are_complete || have mvn || missing+=(maven)
fi
if [[ $what == all ]]; then
  needed="$needed, curl, redis-server, Prometheus with promtool, Chromium or Chrome, Java 17 or later, Maven"
  have curl || missing+=(curl) # for the requests that the README shows
  have redis-server || missing+=(redis-server)
  { have prometheus && have promtool; } || missing+=(prometheus) # for the alert rules and the dashboards
  have_browser || missing+=(chromium) # for the tests of the live page
  java_is_recent || missing+=(java)
  jars_are_complete || have mvn || missing+=(maven)
fi

if [[ ${#missing[@]} -gt 0 ]]; then
  have apt-get || fail "please install: $needed (not found here: ${missing[*]}); then run this again"
  echo "setup: installing ${missing[*]}"
  as_root apt-get update -qq
  packages=()
  for name in "${missing[@]}"; do
    [[ $name == java ]] && name=$(first_offered openjdk-17-jre-headless openjdk-21-jre-headless openjdk-25-jre-headless)
    [[ $name == chromium ]] && name=$(first_offered chromium chromium-browser)
    packages+=("$name")
  done
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
  # These packages start a server as a service, on 6379 and on 9090. Only the binary is wanted.
  for service in redis-server prometheus; do
    [[ " ${packages[*]} " == *" $service "* ]] || continue
    if [[ -d /run/systemd/system ]]; then
      as_root systemctl disable --now "$service"
    else
      as_root service "$service" stop >/dev/null 2>&1 || true
    fi
  done
  [[ $what == build ]] || java_is_recent ||
    fail "java is older than 17 although a newer one was installed; choose it with: sudo update-alternatives --config java"
fi

if [[ $what != build ]] && ! jars_are_complete; then
  echo "setup: fetching the Kafka jars into $libs"
  rm -rf "$libs"
  mkdir -p "$libs"
  mvn -B -q -Dstyle.color=never -f "$pom" dependency:copy-dependencies -Dlibs="$libs" ||
    fail "Maven could not fetch the Kafka jars; is there a way to Maven Central from here?"
  compgen -G "$libs/kafka_2.13-*.jar" >/dev/null || fail "Maven said it was done, but there is no Kafka in $libs"
  pom_sum >"$libs/.complete"
fi
