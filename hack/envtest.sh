#!/usr/bin/env bash
# A real Kubernetes API server and etcd on this machine, without containers.
#
#   hack/envtest.sh find        print the folder of the binaries that `up` and the tests use
#   hack/envtest.sh build       make sure that there are some: builds Kubernetes 1.20 if need be
#   hack/envtest.sh up [DIR]    start etcd, kube-apiserver and kube-controller-manager on loopback,
#                               with kaito's CRDs; the kubeconfig is DIR/kubeconfig
#   hack/envtest.sh down [DIR]  stop them
#
# KUBEBUILDER_ASSETS names a folder with kube-apiserver and etcd of any version (and, for garbage
# collection, kube-controller-manager). Without it: what `build` left in the user's cache.
# `build` needs root and apt on Debian 12 or what derives from it; it takes about six minutes on two
# cores and 1.3 GB of disk, the latter only while it runs. What it builds differs from Kubernetes 1.20
# as released in one thing: compiled by a newer Go, its schema validation takes an empty string in a
# custom resource for null, and refuses it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/kaito/envtest
PYTHON=${PYTHON:-.venv/bin/python}
COMMANDS=(kube-apiserver kube-controller-manager kube-scheduler)
VERSION=1.20.2

control_plane() { "$PYTHON" -m tests.integration.control_plane "$@"; }
fail() { echo "hack/envtest.sh: $*" >&2; exit 1; }
step() { echo "[$SECONDS s] $*"; }

install_tools() {
  local policy=
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # Packages must not start their daemons here.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  apt-get install -y -qq --no-install-recommends etcd-server golang-1.19-go dpkg-dev patch >/dev/null
  [ -z "$policy" ] || rm -f "$policy"
}

# Debian's sources of Kubernetes, from the mirror that the machine uses, without changing its lists.
fetch_source() { # folder
  local mirror
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' 'Origin: Debian' | head -n 1)
  [ -n "$mirror" ] || fail "apt knows no mirror of Debian 12 (bookworm)"
  mkdir -p "$1/apt/lists/partial" "$1/apt/cache/archives/partial"
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main" >"$1/apt/sources.list"
  cat >"$1/apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$1/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$1/apt/lists";
Dir::Cache "$1/apt/cache";
APT::Sandbox::User "root";
CONF
  (
    cd "$1/apt"
    APT_CONFIG=$1/apt/apt.conf apt-get update -qq
    APT_CONFIG=$1/apt/apt.conf apt-get source -qq --download-only kubernetes
    apt-get download -qq -o APT::Sandbox::User=root golang-github-modern-go-reflect2-dev
    mkdir -p "$1/go/src/k8s.io"
    dpkg-source -x kubernetes_*.dsc "$1/go/src/k8s.io/kubernetes" >/dev/null 2>&1
    # The copy of reflect2 in the sources reads maps wrongly since Go 1.18; Debian's own is newer.
    dpkg-deb -x golang-github-modern-go-reflect2-dev_*.deb reflect2
    rm -f "$1"/go/src/k8s.io/kubernetes/vendor/github.com/modern-go/reflect2/*.{go,s}
    cp reflect2/usr/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} \
      "$1/go/src/k8s.io/kubernetes/vendor/github.com/modern-go/reflect2/"
  )
}

# The definitions of the API, the one generated file that the sources lack.
generate_openapi() { # folder
  local inputs roots
  roots=$(for staged in staging/src/k8s.io/*/; do echo "vendor/k8s.io/$(basename "$staged")/"; done)
  # shellcheck disable=SC2086
  inputs=$(grep -rl --include='*.go' '+k8s:openapi-gen=' -R pkg cmd plugin $roots |
    grep -vE 'vendor/k8s.io/(code-generator|sample-apiserver)/|/testdata/|_test.go' |
    xargs -n 1 dirname | LC_ALL=C sort -u | sed 's#^#k8s.io/kubernetes/#' | paste -sd,)
  go build -o "$1/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
  "$1/openapi-gen" -i "$inputs" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
    -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$1/violations"
  cmp "$1/violations" api/api-rules/violation_exceptions.list
}

compile() { # folder of the sources, folder for the binaries
  local flags="-s -w" package packages=()
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    package=k8s.io/kubernetes/vendor/$package
    flags+=" -X $package.gitVersion=v$VERSION -X $package.gitMajor=1 -X $package.gitMinor=20"
    flags+=" -X $package.gitTreeState=clean"
  done
  for package in "${COMMANDS[@]}"; do packages+=("./cmd/$package"); done
  nice go build -tags providerless -trimpath -ldflags "$flags" -o "$2/" "${packages[@]}"
}

build() {
  if control_plane find >/dev/null 2>&1; then
    echo "already there: $(control_plane find)"
    return
  fi
  [ -z "${KUBEBUILDER_ASSETS:-}" ] || fail "KUBEBUILDER_ASSETS has no kube-apiserver and etcd: $KUBEBUILDER_ASSETS"
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    fail "building Kubernetes needs root and apt; instead, set KUBEBUILDER_ASSETS (setup-envtest downloads some)"
  local scratch
  mkdir -p "$CACHE/bin"
  scratch=$(mktemp -d "$CACHE/src.XXXXXX")
  # shellcheck disable=SC2064
  trap "chmod -R u+w '$scratch'; rm -rf '$scratch'" EXIT
  step "Building Kubernetes $VERSION from Debian's sources, about six minutes; only the first time"
  install_tools
  step "sources"
  fetch_source "$scratch"
  (
    export PATH=/usr/lib/go-1.19/bin:$PATH GO111MODULE=off GOFLAGS='' CGO_ENABLED=0 GOBIN=''
    export GOPATH=$scratch/go GOCACHE=$scratch/cache
    cd "$scratch/go/src/k8s.io/kubernetes"
    step "API definitions"
    generate_openapi "$scratch"
    step "compiling"
    mkdir "$scratch/bin"
    compile "$scratch" "$scratch/bin"
  )
  mv "$scratch"/bin/* "$CACHE/bin/"
  step "done: $(control_plane find)"
}

case ${1:-} in
  find) control_plane find ;;
  build) build ;;
  up) build && control_plane up "${2:-$CACHE/run}" ;;
  down) control_plane down "${2:-$CACHE/run}" ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
esac
