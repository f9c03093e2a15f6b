#!/usr/bin/env bash
# Lays out a CUDA toolkit in a folder of a Debian machine: the compiler, its headers and the tools that read its output,
# without installing a package. See usage() below.
set -euo pipefail

readonly suite=trixie
readonly packages=(nvidia-cuda-toolkit nvidia-cuda-dev libcudart12 libnvvm4 libcu++-dev libnvfatbin12)
readonly tools=(nvcc ptxas fatbinary cudafe++ nvlink cuobjdump nvdisasm)

usage() {
    cat <<'END'
usage: scripts/cuda-toolkit.sh PREFIX

Downloads the CUDA toolkit that Debian trixie has in non-free (12.4) from the mirror that this machine's apt uses, unpacks
it and lays out PREFIX: PREFIX/bin/nvcc compiles for every architecture of this project. About 1 GB is downloaded into a
temporary folder beside PREFIX and removed again. Needs apt, dpkg and a C++ compiler; neither root nor a changed apt
configuration. Does nothing when PREFIX already works.
END
}

say() { printf '%s\n' "cuda-toolkit: $*" >&2; }

die() {
    say "$*"
    exit 1
}

# works: whether PREFIX compiles what the project needs, including the instructions of sm_90a.
works() {
    local folder status=0
    [[ -x $prefix/bin/nvcc && -x $prefix/bin/cuobjdump && -x $prefix/bin/nvdisasm ]] || return 1
    folder="$(mktemp -d)"
    cat >"$folder/probe.cu" <<'END'
#include <stdint.h>
extern "C" __global__ void probe(int32_t *out) {
#if __CUDA_ARCH_FEAT_SM90_ALL
    asm volatile("wgmma.fence.sync.aligned;");
#endif
    out[threadIdx.x] = __dp4a(out[0], out[1], 0);
}
END
    "$prefix/bin/nvcc" -std=c++17 -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90a,code=sm_90a \
        -fatbin -o "$folder/probe.fatbin" "$folder/probe.cu" >"$folder/log" 2>&1 &&
        "$prefix/bin/cuobjdump" -sass "$folder/probe.fatbin" >"$folder/sass" 2>>"$folder/log" &&
        grep -q 'WARPGROUP' "$folder/sass" && grep -q 'IDP' "$folder/sass" || status=1
    [[ $status == 0 ]] || sed 's/^/  /' "$folder/log" >&2
    rm -rf "$folder"
    return "$status"
}

version() { "$prefix/bin/nvcc" --version | sed -n 's/.*release \([0-9.]*\), V\([0-9.]*\).*/\2/p'; }

# apt with state, lists and sources of its own, so that the machine's stay as they are.
apt_here() { apt-get -c "$work/apt.conf" "$@"; }

# The mirrors that this machine takes Debian itself from, as deb lines for the suite that has the toolkit.
sources() {
    local repository signed_by
    # shellcheck disable=SC2016 # The fields are apt's.
    apt-get indextargets --format '$(LABEL) $(COMPONENT) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk '$1 == "Debian" && $2 == "main" && $3 !~ /-/ { print $4 }' | sort -u |
        while read -r repository; do
            for signed_by in /usr/share/keyrings/debian-archive-keyring.gpg /etc/apt/trusted.gpg.d; do
                [[ -f $signed_by ]] && echo "deb [signed-by=$signed_by] $repository $suite main non-free" && break
            done || echo "deb $repository $suite main non-free"
        done
}

download() {
    mkdir -p "$work"/{state/lists/partial,cache/archives/partial,debs}
    sources >"$work/sources.list"
    [[ -s $work/sources.list ]] || die "this machine's apt knows no mirror of Debian; run 'apt-get update' first."
    cat >"$work/apt.conf" <<END
Dir::State "$work/state";
Dir::State::status "$work/state/status";
Dir::Cache "$work/cache";
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "-";
Dir::Etc::Preferences "-";
Dir::Etc::PreferencesParts "-";
Acquire::Languages "none";
END
    # The sandbox user of apt may not enter a folder that only its owner can.
    [[ $EUID != 0 ]] || echo 'APT::Sandbox::User "root";' >>"$work/apt.conf"
    : >"$work/state/status"
    apt_here update -qq >&2 || die "the package lists of $suite could not be had from this machine's mirror."
    (cd "$work/debs" && apt_here download -qq "${packages[@]}" >&2) ||
        die "the packages ${packages[*]} could not be had from $suite."
}

unpack() {
    local deb
    for deb in "$work"/debs/*.deb; do
        dpkg -x "$deb" "$work/root"
    done
}

# lay_out: moves what compiling needs from the packages' folders to $work/prefix.
lay_out() {
    local to=$work/prefix multiarch root=$work/root tool library name
    multiarch="$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || "${CC:-cc}" -print-multiarch)"
    mkdir -p "$to"/{bin,nvvm,lib64}
    for tool in "${tools[@]}" compute-sanitizer; do
        # /usr/bin/nvcc is a wrapper around a fixed path: the program itself lies in a folder of the toolkit.
        for name in "$root/usr/lib/nvidia-cuda-toolkit/bin/$tool" "$root/usr/bin/$tool"; do
            if [[ -f $name && ! -e $to/bin/$tool ]]; then
                mv "$name" "$to/bin/"
            fi
        done
    done
    [[ -d $root/usr/lib/nvidia-cuda-toolkit/bin/crt ]] && mv "$root/usr/lib/nvidia-cuda-toolkit/bin/crt" "$to/bin/"
    mkdir -p "$to/nvvm/bin"
    mv "$(find "$root" -type f -name cicc | head -n 1)" "$to/nvvm/bin/"
    mv "$(dirname "$(find "$root" -type f -name 'libdevice*.bc' | head -n 1)")" "$to/nvvm/libdevice"
    mv "$root/usr/include" "$to/include"
    # Of the libraries only those that the tools load and that a program with a runtime links: the others take gigabytes.
    for library in libcudart libcudadevrt libnvvm libnvfatbin libcuda.so; do
        find "$root/usr/lib/$multiarch" "$root/usr/lib/nvidia-cuda-toolkit" -name "$library*" -exec cp -a {} "$to/lib64/" \; 2>/dev/null || true
    done
    cat >"$to/bin/nvcc.profile" <<'END'
TOP = $(_HERE_)/..
CICC_PATH = $(TOP)/nvvm/bin
NVVMIR_LIBRARY_DIR = $(TOP)/nvvm/libdevice
LD_LIBRARY_PATH += $(TOP)/lib64:
PATH += $(TOP)/nvvm/bin:$(_HERE_):
INCLUDES += "-isystem" "$(TOP)/include" $(_SPACE_)
LIBRARIES =+ $(_SPACE_) "-L$(TOP)/lib64"
END
}

case ${1:-} in
    '' | -h | --help)
        usage
        exit 0
        ;;
esac
(($# == 1)) || die "takes one argument, the folder to lay the toolkit out in."
prefix="$(realpath -m "$1")"

if works 2>/dev/null; then
    say "$prefix has CUDA $(version) already."
    exit 0
fi
[[ ! -e $prefix || -z $(ls -A "$prefix" 2>/dev/null) || -f $prefix/.laid-out-by-cuda-toolkit.sh ]] ||
    die "$prefix is there, is not empty, and is not a toolkit that works: name another folder."
for need in apt-get dpkg awk; do
    command -v "$need" >/dev/null || die "this machine has no $need: the packages of Debian can only be unpacked on Debian."
done
case "$(dpkg --print-architecture)" in
    amd64 | arm64) ;;
    *) die "Debian has no CUDA toolkit for $(dpkg --print-architecture)." ;;
esac
command -v "${CXX:-c++}" >/dev/null || die "nvcc needs a C++ compiler: install g++ first."

started=$SECONDS
mkdir -p "$(dirname "$prefix")" 2>/dev/null || true
[[ -w $(dirname "$prefix") ]] || die "cannot write to $(dirname "$prefix")."
work="$(mktemp -d "$(dirname "$prefix")/.cuda-toolkit.XXXXXX")"
trap 'rm -rf "$work"' EXIT
download
compressed="$(du -sm "$work/debs" | cut -f1)"
say "downloaded $compressed MB in $((SECONDS - started)) s"
unpack
rm -rf "$work/debs"
lay_out
touch "$work/prefix/.laid-out-by-cuda-toolkit.sh"
rm -rf "$prefix"
mv "$work/prefix" "$prefix"
works || die "the toolkit in $prefix does not compile a probe; what it said is above."
say "$prefix has CUDA $(version): $compressed MB compressed, $(du -sm "$prefix" | cut -f1) MB laid out, $((SECONDS - started)) s"
