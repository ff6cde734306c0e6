# Sourced by the other scripts, which set $root: finds a Python, and makes the virtual environment that they use.
#
# set_up NAME [GROUP...] leaves in $venv a folder with this project (editable) and the named
# dependency groups of pyproject.toml installed. It stays in .cache/ and is made anew only when
# something that went into it has changed. Needs nothing but Python 3.11+ and, the first time,
# a package index.
# shellcheck shell=bash disable=SC2154 # root is set by the script

say() { printf '%s: %s\n' "${0##*/}" "$1" >&2; }

# Sets $base_python to the first Python that is new enough, and $python_version to its 3.N.
find_python() {
  local candidate found='' path
  for candidate in ${LAMBDASCOPE_PYTHON:-python3 python python3.14 python3.13 python3.12 python3.11}; do
    path=$(command -v "$candidate" 2>/dev/null) || continue
    # Launchers of version managers are on PATH for versions that are not installed: ask each one.
    python_version=$("$path" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    if "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      base_python=$path
      return
    fi
    found="$found, $path is $python_version"
  done
  found=${found#, }
  say "needs Python 3.11 or newer (found: ${found:-none}); install one, or set LAMBDASCOPE_PYTHON=/path/to/python3"
  exit 1
}

# The requirements of the named dependency groups, one in a line.
requirements_of() {
  "$base_python" - "$root/pyproject.toml" "$@" <<'PYTHON'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    groups = tomllib.load(file)["dependency-groups"]
for name in sys.argv[2:]:
    print(*groups[name], sep="\n")
PYTHON
}

# What the environment is made of; another value means that it has to be made again.
environment_key() {
  "$base_python" - "$root/pyproject.toml" "$root" "$base_python" "$@" <<'PYTHON'
import hashlib
import sys

content = open(sys.argv[1], "rb").read()
print(hashlib.sha256(content + repr((sys.version, sys.argv[2:])).encode()).hexdigest())
PYTHON
}

set_up() {
  local name=$1 key log
  shift
  find_python
  venv=$root/.cache/$name-$python_version
  log=$root/.cache/$name.log
  key=$(environment_key "$@")
  mkdir -p "$root/.cache"
  if command -v flock >/dev/null; then
    exec 8>"$root/.cache/.lock"
    flock 8 # two runs at once: the second waits and then finds the environment there
  fi
  if [[ ! -f $venv/.key || $(<"$venv/.key") != "$key" ]] || ! "$venv/bin/python" -c '' 2>/dev/null; then
    say "setting up .cache/${venv##*/} with $base_python (Python $python_version), once"
    rm -rf "$venv"
    make_environment "$@" >"$log" 2>&1 || { complain "$log" && exit 1; }
    echo "$key" >"$venv/.key"
  fi
  # Not inherited by what runs now, which would keep the lock.
  command -v flock >/dev/null && exec 8>&-
  return 0
}

make_environment() {
  local requirements=()
  while IFS= read -r line; do requirements+=("$line"); done < <(requirements_of "$@")
  export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
  "$base_python" -m venv "$venv" &&
    "$venv/bin/python" -m pip install --quiet --editable "$root" "${requirements[@]}" &&
    # A first run would time the compiler otherwise; Lambda's layers come compiled as well.
    "$venv/bin/python" -m compileall -q "$root/src" "$root/extension/lambdascope_extension"
}

complain() {
  if grep -q 'ensurepip is not' "$1"; then
    say "$base_python cannot make a virtual environment (Debian and Ubuntu: apt install python3-venv)"
  else
    say "set-up failed: $( (grep -aE '^(ERROR|error)' "$1" || cat "$1") | tail -n 1) (all of it: $1)"
  fi
}
