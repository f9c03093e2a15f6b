#!/usr/bin/env bash
# Builds, tests and runs the project; see usage() below. build.ps1 is its twin for PowerShell.
# No -u: the bash 3.2 of macOS takes an empty array for an unset one.
set -eo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
results="$root/build/test-results"
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

usage() {
    cat <<'EOF'
usage: ./build.sh VERB [arguments]

  build                 build the native library and the C# projects
  test [--sanitizers] [--cross] [--cuda]
                        build and run every test; with --sanitizers the native ones also under ASan + UBSan and TSan,
                        with --cross also those built for 64-bit ARM (under qemu) and for Windows (under wine);
                        with --cuda a CUDA toolkit is laid out where there is no nvcc (scripts/cuda-toolkit.sh: 1 GB)
  pack                  build the NuGet package, into build/packages, with the libraries of every system that this one can compile for
  bindings [--check]    regenerate the C# bindings from the headers, or only say whether they are fresh
  format [--check]      lay out C and C# sources, or only say whether they are
  clean                 remove everything that was built
  help                  print this text, and the verbs of the program `kernels`
  VERB [arguments]      build, then run that verb of `kernels`: bench, info, verify, ...

Missing tools are installed with the system's package manager, as root or through passwordless sudo.
KERNELS_INSTALL=never forbids that.
EOF
}

# Build messages go to stderr: stdout belongs to the program that is run.
say() { printf '%s\n' "$*" >&2; }

die() {
    say "build.sh: $*"
    exit 1
}

# --- Tools ------------------------------------------------------------------------------------------------------------

has_tool() {
    case $1 in
        cc) command -v "${CC:-cc}" || command -v gcc || command -v clang ;;
        ninja) command -v ninja || command -v ninja-build ;;
        openblas) has_library openblas ;;
        # With the library of its thread sanitizer, which distributions pack apart.
        clang) clang -fsanitize=thread -x c -o /dev/null - <<<'int main(void) { return 0; }' ;;
        *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

has_library() {
    if command -v brew; then
        brew list --versions "$1"
    else
        PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep "lib$1[a-z0-9]*\.so"
    fi
}

package_manager() {
    local name
    for name in apt-get dnf zypper pacman brew; do
        if command -v "$name" >/dev/null; then
            echo "$name"
            return
        fi
    done
}

# packages_of MANAGER TOOL...: the packages that hold the tools.
packages_of() {
    local manager=$1 tool
    shift
    for tool in "$@"; do
        case "$manager $tool" in
            "apt-get ninja" | "dnf ninja") echo ninja-build ;;
            "apt-get cc") echo gcc libc6-dev ;;
            "apt-get aarch64-linux-gnu-gcc") echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
            "dnf aarch64-linux-gnu-gcc" | "pacman aarch64-linux-gnu-gcc") echo aarch64-linux-gnu-gcc ;;
            *" qemu-aarch64") echo qemu-user ;;
            "apt-get x86_64-w64-mingw32-gcc") echo gcc-mingw-w64-x86-64-posix ;;
            *" x86_64-w64-mingw32-gcc") echo mingw64-gcc ;;
            "apt-get wine") echo wine wine64 ;;
            *" cc") echo gcc ;;
            "apt-get openblas") echo libopenblas0 ;;
            "apt-get clang") echo clang libclang-rt-dev ;;
            "dnf clang") echo clang compiler-rt ;;
            "zypper openblas") echo libopenblas_pthreads0 ;;
            "dnf openblas") echo openblas-serial ;;
            "dnf clang-format") echo clang-tools-extra ;;
            "zypper clang-format" | "pacman clang-format") echo clang ;;
            *) echo "$tool" ;;
        esac
    done | tr '\n' ' '
}

# tools required|optional TOOL...: installs those that are missing. If it may not, or cannot, one sentence names the
# command to run; that is an error for required tools.
tools() {
    local need=$1 tool manager advice missing=() still=() root_command=() install=() packages=()
    shift
    for tool in "$@"; do
        has_tool "$tool" || missing+=("$tool")
    done
    ((${#missing[@]})) || return 0

    manager="$(package_manager)"
    case $manager in
        apt-get) install=(apt-get install -y --no-install-recommends) ;;
        dnf) install=(dnf install -y) ;;
        zypper) install=(zypper --non-interactive install) ;;
        pacman) install=(pacman -S --noconfirm --needed) ;;
        brew) install=(brew install) ;;
    esac
    if [[ $manager != brew && $EUID != 0 ]]; then
        root_command=(sudo)
    fi
    read -r -a packages <<<"$(packages_of "$manager" "${missing[@]}")"
    install=("${root_command[@]}" "${install[@]}" "${packages[@]}")
    advice="run '${install[*]}'"
    [[ -n $manager ]] || advice="install it with the system's package manager"

    if [[ -n $manager ]] && may_install "${root_command[@]}"; then
        say "installing ${missing[*]}: ${install[*]}"
        if [[ $manager == apt-get ]]; then
            export DEBIAN_FRONTEND=noninteractive
            "${root_command[@]}" apt-get update -qq >&2 || say "apt-get update failed; going on with old package lists"
        fi
        "${install[@]}" >&2 </dev/null || say "'${install[*]}' failed"
        hash -r
    fi

    for tool in "${missing[@]}"; do
        has_tool "$tool" || still+=("$tool")
    done
    ((${#still[@]})) || return 0
    if [[ $need == required ]]; then
        die "missing ${still[*]}: $advice, then run this again."
    fi
    say "going on without ${still[*]}; to have it, $advice."
}

# may_install [sudo]: as root, or through a sudo that asks for no password.
may_install() {
    [[ ${KERNELS_INSTALL:-} != never ]] && { (($# == 0)) || sudo -n true 2>/dev/null; }
}

require_build_tools() {
    command -v dotnet >/dev/null ||
        die "missing dotnet: install the .NET SDK 10 from Microsoft or with the system's package manager."
    tools required cmake ninja cc
}

# use_cuda_toolkit [lay-out]: KRN_NVCC names the compiler of a toolkit that an earlier run, or this one, has laid out, where
# there is no nvcc otherwise. It lies outside the repository: it is large and serves every checkout.
use_cuda_toolkit() {
    local prefix="${XDG_CACHE_HOME:-$HOME/.cache}/kernels/cuda-12.4"
    [[ -z ${KRN_NVCC:-}${CUDA_HOME:-} ]] && ! command -v nvcc >/dev/null || return 0
    if [[ ${1:-} == lay-out ]]; then
        "$root/scripts/cuda-toolkit.sh" "$prefix" || say "going on without kernels for CUDA devices."
    fi
    if [[ -x $prefix/bin/nvcc ]]; then
        export KRN_NVCC="$prefix/bin/nvcc"
    fi
}

# --- Building ---------------------------------------------------------------------------------------------------------

# build_native PRESET: configures if that was never done, or the presets have changed or nvcc has come since, then builds.
# The thread sanitizer is Clang's where that is there: it compiles in half of the time what GCC does, and so both compilers
# are held to the tests.
build_native() (
    cd "$root"
    if [[ $1 == tsan && -z ${CC:-} ]] && has_tool clang; then
        export CC=clang CXX=clang++
    fi
    if [[ ! -f build/$1/build.ninja || CMakePresets.json -nt build/$1/build.ninja ]] ||
        { [[ -n ${KRN_NVCC:-} ]] && grep -q '^KRN_NVCC:.*NOTFOUND$' "build/$1/CMakeCache.txt"; }; then
        cmake --preset "$1" >&2
    fi
    cmake --build --preset "$1" >&2
)

# build_csharp PROJECT-OR-SOLUTION; the native library has been built before.
build_csharp() {
    dotnet msbuild "$root/$1" -restore -p:Configuration=Release -p:SkipNativeBuild=true -verbosity:quiet -nologo >&2
}

run_kernels() {
    dotnet exec "$root/src/Harness/bin/Release/net10.0/kernels.dll" "$@"
}

# --- Verbs ------------------------------------------------------------------------------------------------------------

verb_build() {
    require_build_tools
    use_cuda_toolkit
    build_native release
    build_csharp Kernels.sln
}

# begin PART: says what comes, and how long the part before took.
begin() {
    [[ -z ${part:-} ]] || echo "-- $part: $((SECONDS - part_began)) s"
    part=$1 part_began=$SECONDS
    [[ -z $part ]] || echo "== $part"
}

# native_suite PRESET: runs native tests and remembers in `suites` how that ended.
native_suite() {
    local suite=native-$1 preset=$1 status=0
    begin "$suite"
    (cd "$root" && ctest --preset "$preset" --parallel "$(getconf _NPROCESSORS_ONLN)" \
        --output-junit "$results/$suite.xml") || status=$?
    suites+=("$suite=$status")
}

# cross_preset PRESET TOOL...: builds for another machine; false, and a skipped suite, where a tool is missing.
cross_preset() {
    local preset=$1 tool
    shift
    tools optional "$@"
    for tool in "$@"; do
        if ! has_tool "$tool"; then
            suites+=("native-$preset=skipped: $tool is missing")
            return 1
        fi
    done
    begin "build $preset"
    build_native "$preset"
}

cross_suites() {
    if cross_preset linux-arm64 aarch64-linux-gnu-gcc qemu-aarch64; then
        native_suite linux-arm64
    fi
    if cross_preset win-x64 x86_64-w64-mingw32-gcc wine; then
        # A prefix of its own, made once: programs that start together would each try to make it.
        WINEPREFIX="$root/build/win-x64/wine" WINEDEBUG=-all wineboot --init >/dev/null 2>&1 || true
        native_suite win-x64
    fi
}

# The machine code of the kernels for CUDA devices, where nvcc has compiled them, and the page that says what has run where.
cuda_suite() {
    local status=0
    if compgen -G "$root/build/release/native/cuda/fatbins/*.fatbin" >/dev/null; then
        begin cuda-machine-code
        "$root/scripts/sass-check.sh" || status=$?
        suites+=("cuda-machine-code=$status")
        status=0
        "$root/scripts/gpu-status.sh" --check || status=$?
        suites+=("cuda-gpu-status=$status")
    else
        suites+=("cuda-machine-code=skipped: there is no nvcc 12.0 or newer, so kernels were not compiled for CUDA devices")
    fi
}

# csharp_suites PROJECT...: runs tests in C#; leaves what each said and how it ended in the results. They keep one core busy
# for most of their time, so they run beside the native suites.
csharp_suites() {
    local project suite status
    for project in "$@"; do
        suite="$(basename "$project" .csproj)"
        status=0
        dotnet test "$project" --configuration Release --no-build --results-directory "$results" \
            --logger "trx;LogFileName=$suite.trx" >"$results/$suite.log" 2>&1 || status=$?
        echo "$status" >"$results/$suite.status"
    done
}

verb_test() {
    local presets=(release) cross='' lay_out='' option project suite preset status suites=() projects=("$root"/tests/*/*.csproj)
    for option in "$@"; do
        case $option in
            --sanitizers) presets=(asan-ubsan tsan release) ;;
            --cross) cross=1 ;;
            --cuda) lay_out=lay-out ;;
            *) die "test takes no argument but --sanitizers, --cross and --cuda" ;;
        esac
    done

    require_build_tools
    # castxml: the check that the generated bindings are fresh. OpenBLAS: the peer of the harness.
    begin tools
    tools optional castxml openblas
    if ((${#presets[@]} > 1)); then
        tools optional clang
    fi
    # On one core, while the builds for sanitizers, which have no use for it, take the rest.
    use_cuda_toolkit $lay_out &
    trap wait EXIT
    rm -rf "$results"
    mkdir -p "$results"

    for preset in "${presets[@]}"; do
        begin "build $preset"
        if [[ $preset == release ]]; then
            wait
            use_cuda_toolkit
        fi
        build_native "$preset"
    done
    begin "build C#"
    build_csharp Kernels.sln

    csharp_suites "${projects[@]}" &
    for preset in "${presets[@]}"; do
        native_suite "$preset"
    done
    if [[ -n $cross ]]; then
        cross_suites
    fi
    cuda_suite

    begin same-bits
    status=0
    "$root/eng/same-bits.sh" --junit "$results/same-bits.xml" || status=$?
    suites+=("same-bits=$status")
    begin 'tests in C#'
    wait
    for project in "${projects[@]}"; do
        suite="$(basename "$project" .csproj)"
        cat "$results/$suite.log"
        suites+=("$suite=$(cat "$results/$suite.status" 2>/dev/null || echo 'no end')")
    done

    begin ''
    dotnet "$root/eng/TestSummary.cs" -- "$results" "${suites[@]}"
}

verb_pack() {
    (($# == 0)) || die "pack takes no argument"
    require_build_tools
    tools optional aarch64-linux-gnu-gcc x86_64-w64-mingw32-gcc
    dotnet pack "$root/src/Interop" --configuration Release --output "$root/build/packages"
}

verb_bindings() {
    require_build_tools
    tools required castxml
    build_csharp src/Bindgen/Kernels.Bindgen.csproj
    dotnet exec "$root/src/Bindgen/bin/Release/net10.0/Kernels.Bindgen.dll" --root "$root" "$@"
}

verb_format() {
    local status=0 c_options=() csharp_options=()
    case "$*" in
        '') ;;
        --check)
            c_options=(--dry-run --Werror)
            csharp_options=(--verify-no-changes)
            ;;
        *) die "format takes no argument but --check" ;;
    esac
    tools required clang-format
    find "$root/native" "$root/tests/native" \( -name '*.[ch]' -o -name '*.cpp' -o -name '*.cu' \) -print0 |
        xargs -0 clang-format -i "${c_options[@]}" || status=1
    dotnet format "$root/Kernels.sln" "${csharp_options[@]}" || status=1
    return "$status"
}

verb_clean() {
    rm -rf "$root/build" "$root"/{src,tests}/*/{bin,obj}
}

verb_kernels() {
    require_build_tools
    if [[ $1 == bench ]]; then
        tools optional openblas
    fi
    use_cuda_toolkit
    build_native release
    build_csharp src/Harness/Kernels.Harness.csproj
    run_kernels "$@"
}

case ${1:-} in
    build | test | pack | bindings | format | clean)
        verb=$1
        shift
        "verb_$verb" "$@"
        ;;
    '' | -h | --help)
        usage
        ;;
    help)
        usage
        verb_kernels "$@"
        ;;
    *)
        verb_kernels "$@"
        ;;
esac
