#!/usr/bin/env bash
# Shows the CUDA kernels on a GPU: builds, tests, sanitizes and measures them; see usage() below.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly root

usage() {
    cat <<'END'
usage: scripts/gpu-check.sh [--out FILE] [--quick] [--no-build] [--no-sanitizer] [--no-bench]

On a machine with a GPU, nvcc 12.0 or newer, CMake and a C and C++ compiler; .NET is not needed. Builds into build/gpu, runs every
test of the kernels on the GPU, the small ones also under compute-sanitizer, checks the machine code, measures the kernels against
their bars, and leaves one JSON: FILE, or bench/results/gpu-DEVICE-DATE.json. Exit code 1 when a test or the sanitizer failed;
a bar that is missed is in the JSON and is no failure. --quick leaves out the slower sanitizer tools and all but the memory loops of the benchmark.
END
}

say() { printf '%s\n' "gpu-check: $*" >&2; }

die() {
    say "$*"
    exit 2
}

out='' quick='' build_it=1 sanitize=1 bench=1
while (($#)); do
    case $1 in
        --out) out="${2:?--out needs a file}" && shift ;;
        --quick) quick=1 ;;
        --no-build) build_it='' ;;
        --no-sanitizer) sanitize='' ;;
        --no-bench) bench='' ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done

build="$root/build/gpu"
jobs="$(getconf _NPROCESSORS_ONLN)"
# What only says something of the emulator: faults planted in kernels that the library does not hold.
readonly emulator_only='^(faults|faults_.*|instructions|tensor_copies|wgmma|emulator.*|fake_driver|no_driver|arguments)$'

# --- Build --------------------------------------------------------------------------------------------------------------

if [[ -n $build_it ]]; then
    command -v cmake >/dev/null || die "there is no cmake."
    generator=()
    ! command -v ninja >/dev/null || generator=(-G Ninja)
    cmake -S "$root" -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release >&2
    cmake --build "$build" --parallel "$jobs" >&2
fi
[[ -x $build/bin/bench_cuda ]] || die "$build has no bench_cuda: it was not built."
grep -q '^const int32_t krn_cuda_image_count = [1-9]' "$build/native/cuda/images.c" ||
    die "the library holds no kernels: nvcc 12.0 or newer was not found (KRN_NVCC, PATH, CUDA_HOME)."

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
export KRN_CUDA_TEST_DEVICE=driver
failed=0

tests() {
    local program name
    for program in "$build"/bin/test_cuda_*; do
        name="${program##*/test_cuda_}"
        [[ $name =~ $emulator_only ]] || echo "$name"
    done
}

# Text for JSON: without what it escapes, and without this machine's path.
text() { sed "s|$root/||g" | tr -d '\\"' | tr '\n\t' '  ' | cut -c1-300; }

# --- Tests --------------------------------------------------------------------------------------------------------------

while read -r name; do
    status=passed rc=0 started=$SECONDS
    KRN_CUDA_TEST_KERNELS="$work/$name.kernels" timeout 300 "$build/bin/test_cuda_$name" >"$work/log" 2>&1 || rc=$?
    case $rc in
        0) ;;
        77) status=skipped ;;
        *) status=failed failed=$((failed + 1)) ;;
    esac
    kernels="$( (sort -u "$work/$name.kernels" 2>/dev/null || true) | sed 's/.*/"&"/' | paste -s -d, - | sed 's/,/, /g')"
    reason=''
    [[ $status == passed ]] || reason="$(tail -n 2 "$work/log" | text)"
    printf '{"test": "%s", "status": "%s", "seconds": %d, "reason": "%s", "kernels": [%s]}\n' \
        "$name" "$status" $((SECONDS - started)) "$reason" "$kernels" >>"$work/tests"
    say "$name: $status${reason:+: $reason}"
done < <(tests)
[[ -s $work/tests ]] || die "$build/bin has no test_cuda_ programs."

# --- Sanitizer ----------------------------------------------------------------------------------------------------------

touch "$work/sanitizer"
sanitizer="$(command -v compute-sanitizer || true)"
nvcc="$(sed -n 's/^KRN_NVCC:[A-Z]*=//p' "$build/CMakeCache.txt")"
[[ -n $sanitizer || ! -x ${nvcc%/*}/compute-sanitizer ]] || sanitizer="${nvcc%/*}/compute-sanitizer"
if [[ -n $sanitize && -n $sanitizer ]]; then
    tools=(memcheck racecheck synccheck initcheck)
    [[ -z $quick ]] || tools=(memcheck)
    while read -r name; do
        for tool in "${tools[@]}"; do
            rc=0 status=passed reason=''
            timeout 300 "$sanitizer" --tool "$tool" --error-exitcode 99 "$build/bin/test_cuda_$name" >"$work/log" 2>&1 || rc=$?
            case $rc in
                0 | 77) ;;
                124) status="not finished" ;;
                *) status=failed failed=$((failed + 1)) reason="$(grep -m 2 '=========.*\(Invalid\|Error\|hazard\|Uninit\|ERROR\)' "$work/log" | text || true)" ;;
            esac
            printf '{"tool": "%s", "program": "%s", "status": "%s", "reason": "%s"}\n' "$tool" "$name" "$status" "$reason" >>"$work/sanitizer"
            say "$tool $name: $status${reason:+: $reason}"
        done
    done < <(tests)
elif [[ -n $sanitize ]]; then
    say "there is no compute-sanitizer: that part is left out."
fi

# --- Machine code -------------------------------------------------------------------------------------------------------

sass=passed
"$root/scripts/sass-check.sh" "$build" >"$work/sass" || {
    sass=failed
    failed=$((failed + 1))
}

# --- Benchmark ----------------------------------------------------------------------------------------------------------

options=()
[[ -z $quick ]] || options=(--filter memory/)
if [[ -n $bench ]]; then
    "$build/bin/bench_cuda" --json "$work/bench.json" "${options[@]}" >&2 || {
        failed=$((failed + 1))
        echo null >"$work/bench.json"
    }
else
    echo null >"$work/bench.json"
fi

# --- One JSON -----------------------------------------------------------------------------------------------------------

device="$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1 || true)"
driver="$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)"
device="${device:-unknown}"
commit="$(git -C "$root" rev-parse HEAD 2>/dev/null || true)"
date="$(date -u +%Y-%m-%dT%H:%M:%SZ)"
if [[ -z $out ]]; then
    slug="$(printf '%s' "${device#NVIDIA }" | tr '[:upper:] ' '[:lower:]-' | tr -cd 'a-z0-9-')"
    out="$root/bench/results/gpu-$slug-${date%%T*}.json"
fi
list() { sed '$!s/$/,/; s/^/    /' "$1"; }
{
    printf '{\n  "schema": "kernels-gpu-check", "schema_version": 1, "created_utc": "%s",\n' "$date"
    printf '  "device": {"name": "%s", "driver": "%s"}, "commit": "%s", "machine_code": "%s",\n' \
        "$(printf '%s' "$device" | text)" "$(printf '%s' "$driver" | text)" "$commit" "$sass"
    printf '  "tests": [\n'
    list "$work/tests"
    printf '  ],\n  "sanitizer": [\n'
    list "$work/sanitizer"
    printf '  ],\n  "bench":\n'
    cat "$work/bench.json"
    printf '}\n'
} >"$out"
say "$(grep -c '"status": "passed", "seconds"' "$work/tests" || true) tests passed, $failed failures; bars met: $(grep -o '"met": true' "$out" | wc -l), missed: $(grep -o '"met": false' "$out" | wc -l)"
say "wrote $out; scripts/gpu-status.sh takes it into docs/gpu-status.md"
((failed == 0))
