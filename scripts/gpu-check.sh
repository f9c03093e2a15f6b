#!/usr/bin/env bash
# Shows the CUDA kernels on a GPU: builds, tests, measures and sanitizes them; see usage() below.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly root

usage() {
    cat <<'END'
usage: scripts/gpu-check.sh [--out FILE] [--only PART[,PART..]] [--minutes N] [--quick]

On a machine with a GPU, nvcc 12.0 or newer, CMake and a C and C++ compiler; .NET is not needed. The parts, in this order:

  build      into build/gpu
  tests      every test of the kernels, on the GPU
  bench      the kernels, beside ceilings and cuBLASLt, against their bars
  sass       the machine code (scripts/sass-check.sh)
  sanitizer  the tests under compute-sanitizer, tool by tool, as far as time goes

What a part finds is kept in build/gpu/check, and after each part one JSON of all that is there is written: FILE, or
bench/results/gpu-DEVICE-DATE.json. So a part that fails, or that is cut off, loses nothing of the others, and --only runs or repeats
some of them, where one command may not take long. All together end within N minutes, 24 unless told; what there was no time for
is in the JSON. Exit code 1 when something failed; a bar that is missed is no failure. --quick: the memory loops of the
benchmark alone, and memcheck alone.
END
}

say() { printf '%s\n' "gpu-check: $*" >&2; }

die() {
    say "$*"
    exit 2
}

out='' quick='' parts='build,tests,bench,sass,sanitizer' minutes=24
while (($#)); do
    case $1 in
        --out) out="${2:?--out needs a file}" && shift ;;
        --only) parts="${2:?--only needs parts}" && shift ;;
        --minutes) minutes="${2:?--minutes needs a number}" && shift ;;
        --quick) quick=1 ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done
for part in ${parts//,/ }; do
    [[ $part =~ ^(build|tests|bench|sass|sanitizer)$ ]] || die "there is no part $part."
done
[[ $minutes =~ ^[0-9]+$ ]] || die "--minutes takes a whole number."

build="$root/build/gpu"
found="$build/check"
# Programs that share the GPU at a time; but those that measure, which have it to themselves.
readonly at_once=4
# What only says something of the emulator: faults planted in kernels that the library does not hold.
readonly emulator_only='^(faults|faults_.*|atomics|instructions|tensor_copies|wgmma|emulator.*|fake_driver|no_driver|arguments)$'

wanted() { [[ ,$parts, == *,$1,* ]]; }

# Seconds left, less some for the parts that follow; never below 1.
left() {
    local seconds=$((minutes * 60 - SECONDS - $1))
    echo $((seconds > 1 ? seconds : 1))
}

least() { echo $(($1 < $2 ? $1 : $2)); }

tests() {
    local program name
    for program in "$build"/bin/test_cuda_*; do
        name="${program##*/test_cuda_}"
        [[ ! -x $program || $name =~ $emulator_only ]] || echo "$name"
    done
}

# Text for JSON: without what it escapes, and without this machine's path.
text() { sed "s|$root/||g" | tr -d '\\"' | tr -c '[:print:]' ' ' | cut -c1-300 | sed 's/ *$//'; }

# --- Tests and the sanitizer: one program each, and one line of JSON to a file ------------------------------------------

run_test() {
    local name="$1" seconds="$2" status=passed rc=0 started=$SECONDS reason='' kernels
    local log="$found/log.$name"
    rm -f "$found/$name.kernels"
    KRN_CUDA_TEST_DEVICE=driver KRN_CUDA_TEST_KERNELS="$found/$name.kernels" \
        timeout -k 5 "$seconds" "$build/bin/test_cuda_$name" >"$log" 2>&1 || rc=$?
    case $rc in
        0) ;;
        77) status=skipped ;;
        *) status=failed ;;
    esac
    kernels="$( (sort -u "$found/$name.kernels" 2>/dev/null || true) | sed 's/.*/"&"/' | paste -s -d, - | sed 's/,/, /g')"
    ((rc != 124 && rc != 137)) || reason="not finished in $seconds seconds. "
    [[ $status == passed ]] || reason+="$(tail -n 2 "$log" | text)"
    printf '{"test": "%s", "status": "%s", "seconds": %d, "reason": "%s", "kernels": [%s]}\n' \
        "$name" "$status" $((SECONDS - started)) "$reason" "$kernels" >>"$found/tests"
    say "$name: $status${reason:+: $reason}"
}

run_sanitizer() {
    local tool="$1" name="$2" until="$3" status=passed rc=0 reason='' seconds
    local log="$found/log.$tool.$name"
    seconds=$((until - $(date +%s)))
    if ((seconds < 5)); then
        status='not run'
    else
        seconds=$(least "$seconds" 240)
        KRN_CUDA_TEST_DEVICE=driver timeout -k 5 "$seconds" \
            "$sanitizer" --tool "$tool" --error-exitcode 99 "$build/bin/test_cuda_$name" >"$log" 2>&1 || rc=$?
        case $rc in
            0 | 77) ;;
            124 | 137) status='not finished' reason="$seconds seconds" ;;
            *)
                status=failed
                # Where the machine has no access to the GPU that the tool needs, nothing is wrong with a kernel.
                ! grep -q 'Device not supported' "$log" || status='not supported'
                reason="$( (grep -m 2 '=========.*\(Invalid\|Error\|hazard\|Uninit\|ERROR\)' "$log" || tail -n 2 "$log") | text)"
                ;;
        esac
    fi
    printf '{"tool": "%s", "program": "%s", "status": "%s", "reason": "%s"}\n' \
        "$tool" "$name" "$status" "$reason" >>"$found/sanitizer"
    [[ $status == 'not run' ]] || say "$tool $name: $status${reason:+: $reason}"
}

# --- One JSON of what there is ------------------------------------------------------------------------------------------

list() { [[ ! -s $1 ]] || sed '$!s/$/,/; s/^/    /' "$1"; }

count() { (grep -o "$2" "$found/$1" 2>/dev/null || true) | wc -l; }

query() { (nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null || true) | head -n 1 | text; }

write_json() {
    local device driver date commit slug
    device="$(query name)"
    driver="$(query driver_version)"
    device="${device:-unknown}"
    date="$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    commit="$(git -C "$root" rev-parse HEAD 2>/dev/null || true)"
    if [[ -z $out ]]; then
        slug="$(printf '%s' "${device#NVIDIA }" | tr '[:upper:] ' '[:lower:]-' | tr -cd 'a-z0-9-')"
        out="$root/bench/results/gpu-$slug-${date%%T*}.json"
    fi
    mkdir -p "$(dirname "$out")"
    {
        printf '{\n  "schema": "kernels-gpu-check", "schema_version": 1, "created_utc": "%s",\n' "$date"
        printf '  "device": {"name": "%s", "driver": "%s"}, "commit": "%s", "machine_code": "%s",\n' \
            "$device" "$driver" "$commit" "$(cat "$found/sass" 2>/dev/null || echo 'not run')"
        printf '  "tests": [\n'
        list "$found/tests"
        printf '  ],\n  "sanitizer": [\n'
        list "$found/sanitizer"
        printf '  ],\n  "bench":\n'
        cat "$found/bench.json" 2>/dev/null || echo null
        printf '}\n'
    } >"$out.unfinished"
    mv "$out.unfinished" "$out"
}

# --- The parts ----------------------------------------------------------------------------------------------------------

build_it() {
    local generator=() on_error=(-k)
    command -v cmake >/dev/null || die "there is no cmake."
    if command -v ninja >/dev/null; then
        generator=(-G Ninja) on_error=(-k 0)
    fi
    # Compilers may be newer than those that CI knows, and warn of more.
    cmake -S "$root" -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DKRN_WARNINGS_ARE_ERRORS=OFF >&2 ||
        die "it could not be configured."
    # What can be built is: a source that fails costs the programs made of it.
    cmake --build "$build" --parallel "$(getconf _NPROCESSORS_ONLN)" -- "${on_error[@]}" >&2 ||
        say "not all of it could be built."
    # Results belong to what was built.
    rm -rf "$found"
}

test_it() {
    rm -f "$found/tests"
    tests | xargs -P "$at_once" -I {} bash -c 'run_test "$@"' _ {} "$(least "$(left 30)" 240)" || true
    [[ -s $found/tests ]] || say "$build/bin has no test_cuda_ programs."
}

# Folders with cuBLASLt that the loader does not know: beside nvcc, and of Python's packages.
cublaslt_folders() {
    local nvcc folder
    nvcc="$(sed -n 's/^KRN_NVCC:[A-Z]*=//p' "$build/CMakeCache.txt")"
    for folder in "${nvcc%/bin/nvcc}"/lib64 "${nvcc%/bin/nvcc}"/targets/*/lib \
        $(python3 -c 'import site; print("\n".join(p + "/nvidia/*/lib" for p in site.getsitepackages()))' 2>/dev/null || true); do
        ! compgen -G "$folder/libcublasLt.so*" >/dev/null || printf '%s:' "$folder"
    done
}

measure_it() {
    local folders options=(--seconds "$(least "$(left 90)" 720)")
    [[ -z $quick ]] || options+=(--filter memory/)
    rm -f "$found/bench.json" "$found/bench.failed"
    # A case that hangs ends by itself; the limit is for what does not.
    folders="$(cublaslt_folders)"
    LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${folders%:}" \
        timeout -k 10 "$(left 20)" "$build/bin/bench_cuda" --json "$found/bench.json" "${options[@]}" >&2 ||
        echo '"status": "failed"' >"$found/bench.failed"
}

disassemble_it() {
    if timeout "$(left 10)" "$root/scripts/sass-check.sh" "$build" >"$found/log.sass"; then
        echo passed >"$found/sass"
    else
        echo failed >"$found/sass"
    fi
}

sanitize_it() {
    local tools=(memcheck racecheck synccheck initcheck) nvcc tool
    [[ -z $quick ]] || tools=(memcheck)
    nvcc="$(sed -n 's/^KRN_NVCC:[A-Z]*=//p' "$build/CMakeCache.txt")"
    sanitizer="$(command -v compute-sanitizer || true)"
    [[ -n $sanitizer || ! -x ${nvcc%/*}/compute-sanitizer ]] || sanitizer="${nvcc%/*}/compute-sanitizer"
    rm -f "$found/sanitizer"
    if [[ -z $sanitizer ]]; then
        say "there is no compute-sanitizer: that part is left out."
        return
    fi
    for tool in "${tools[@]}"; do
        tests | xargs -P "$at_once" -I {} bash -c 'run_sanitizer "$@"' _ "$tool" {} $(($(date +%s) + $(left 15))) || true
    done
}

if wanted build; then
    build_it
fi
[[ -x $build/bin/bench_cuda || -n $(tests) ]] || die "$build has neither bench_cuda nor tests: they were not built."
grep -q '^const int32_t krn_cuda_image_count = [1-9]' "$build/native/cuda/images.c" ||
    die "the library holds no kernels: nvcc 12.0 or newer was not found (KRN_NVCC, PATH, CUDA_HOME)."
mkdir -p "$found"
sanitizer=''
export root build found sanitizer
export -f run_test run_sanitizer say text least
# What was begun is written down also when this is cut off.
trap write_json EXIT
trap 'exit 143' TERM INT
for part in tests:test_it bench:measure_it sass:disassemble_it sanitizer:sanitize_it; do
    if wanted "${part%%:*}"; then
        "${part##*:}"
        write_json
    fi
done

failed=0
for file in tests sanitizer bench.failed; do
    failed=$((failed + $(count "$file" '"status": "failed"')))
done
[[ $(cat "$found/sass" 2>/dev/null || true) != failed ]] || failed=$((failed + 1))
say "$(count tests '"status": "passed"') tests passed, $failed failures; bars met: $(count bench.json '"met": true'), missed: $(count bench.json '"met": false')"
say "wrote $out; scripts/gpu-status.sh takes it into docs/gpu-status.md"
((failed == 0))
