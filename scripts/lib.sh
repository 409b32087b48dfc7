# Sourced by the other scripts: where things live, and how to try again.
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE="$ROOT/.cache"
PHOENIX_VERSION=20.26.1
GOLANGCI_VERSION=v2.15.0
mkdir -p "$CACHE"
if [ -z "${HOME:-}" ]; then export HOME="$CACHE/home"; fi
mkdir -p "$HOME" 2>/dev/null || export HOME="$CACHE/home"

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# emoji_font: can pages show emoji here?
emoji_font() { [ -n "$(fc-list :lang=und-zsye 2>/dev/null)" ]; }

# retry COMMAND...: three tries, for steps that use the network.
retry() {
  local n
  for n in 1 2 3; do
    if "$@"; then return 0; fi
    [ "$n" = 3 ] || { say "try $n of '$1' failed, once more in $((n * 5)) s"; sleep $((n * 5)); }
  done
  return 1
}

# python_at_least MAJOR.MINOR: prints the first Python on PATH that is new
# enough and has venv.
python_at_least() {
  local p
  for p in python3 python3.13 python3.12 python3.11 python3.10; do
    if have "$p" && "$p" -c "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] < tuple(map(int, '$1'.split('.'))))" 2>/dev/null; then
      command -v "$p"
      return 0
    fi
  done
  return 1
}

# apt_install PACKAGE...: installs when root on a Debian-like machine.
apt_install() {
  [ "$(id -u)" = 0 ] && have apt-get || return 1
  export DEBIAN_FRONTEND=noninteractive
  retry apt-get -qq update && retry apt-get -qq install -y --no-install-recommends "$@" >&2
}
